"""What the Chroma reader does beyond the suite: ranking, healing, refusing."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from langgraph.store.memory import InMemoryStore
from langgraph.store.sqlite import SqliteStore

from linmem_langgraph import ChromaReader, ConfigError, Memory, MemoryRecord, ReaderUnavailable
from linmem_langgraph.embeddings import LexicalEmbeddings
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.readers._chroma.index import collection_name
from tests.fakes import CountingEmbeddings, SwitchableEmbeddings

CLIPS = {
    0: ["Anna puts the red mug on the shelf", "Anna says good morning"],
    1: ["Bert takes the red mug", "the dog barks"],
    2: ["Carl hangs a coat on the rack"],
    4: ["Bert washes the red mug in the sink", "water runs"],
}


def lexical(path: Path, **options: Any) -> Memory:
    return Memory(ChromaReader(path, embeddings=LexicalEmbeddings(256), **options), store=InMemoryStore())


def remember_clips(memory: Memory, namespace: Namespace) -> None:
    memory.write(namespace, [MemoryRecord(text=text, position=clip) for clip, texts in CLIPS.items() for text in texts])


def collection(memory: Memory, namespace: Namespace) -> Any:
    assert isinstance(memory.reader, ChromaReader)
    memory.flush()
    return memory.reader._source.client().get_collection(collection_name(namespace), embedding_function=None)


# Ranking


def test_the_text_is_in_log_order_and_the_records_are_best_first(tmp_path: Path, namespace: Namespace) -> None:
    with lexical(tmp_path) as memory:
        remember_clips(memory, namespace)
        reading = memory.read(namespace, "Bert washes mug sink", limit=2)
        assert reading.text == "[1] Bert takes the red mug\n[4] Bert washes the red mug in the sink"
        assert [hit.record.position for hit in reading.records] == [4, 1]
        scores = [hit.score or 0.0 for hit in reading.records]
        assert scores == sorted(scores, reverse=True)
        assert all(-1 <= score <= 1.0001 for score in scores)


def test_by_position_reads_all_of_the_best_positions(tmp_path: Path, namespace: Namespace) -> None:
    with lexical(tmp_path, by="position") as memory:
        remember_clips(memory, namespace)
        reading = memory.read(namespace, "Bert washes mug sink", limit=1)
        assert reading.text == "[4] Bert washes the red mug in the sink\n[4] water runs"
        assert len({hit.score for hit in reading.records}) == 1
        assert {hit.record.position for hit in memory.read(namespace, "red mug", limit=3).records} == {0, 1, 4}
        assert memory.read(namespace, "mug sink", limit=1, filter={"position": {"$lt": 4}}).records


def test_neighbours_come_along_without_a_score(tmp_path: Path, namespace: Namespace) -> None:
    with lexical(tmp_path, by="position", neighbours=1) as memory:
        remember_clips(memory, namespace)
        reading = memory.read(namespace, "dog barks", limit=1)
        assert {hit.record.position: hit.score is None for hit in reading.records} == {1: False, 0: True, 2: True}
        assert {hit.record.position for hit in memory.read(namespace, "dog barks", limit=1, until=1).records} == {0, 1}
        assert {hit.record.position for hit in memory.read(namespace, "dog", limit=1, exclude=[2]).records} == {0, 1}


def test_a_threshold_leaves_out_what_is_far(tmp_path: Path, namespace: Namespace) -> None:
    with lexical(tmp_path, threshold=0.5) as memory:
        remember_clips(memory, namespace)
        reading = memory.read(namespace, "the dog barks", limit=5)
        assert reading.text == "[1] the dog barks"
        assert memory.read(namespace, "telescope", limit=5).records == ()


def test_the_readers_own_limit(tmp_path: Path, namespace: Namespace) -> None:
    with lexical(tmp_path, limit=2) as memory:
        remember_clips(memory, namespace)
        assert len(memory.read(namespace, "mug").records) == 2
        assert len(memory.read(namespace, "mug", limit=3).records) == 3


@pytest.mark.parametrize("rounds", range(3))
def test_of_equally_near_records_the_same_are_read_however_they_were_written(
    tmp_path: Path, namespace: Namespace, rounds: int
) -> None:
    records = [MemoryRecord(text="the red mug", position=place, key=f"k{place}") for place in range(12)]
    readings = []
    with lexical(tmp_path) as memory:
        for place, order in enumerate([records, records[::-1], records[rounds::3] + records]):
            here = (*namespace, str(place))
            for record in order:
                memory.write(here, record)
                memory.flush()
            readings.append([hit.record.key for hit in memory.read(here, "red mug", limit=3).records])
    assert readings[0] == readings[1] == readings[2]


def test_nothing_is_missing_among_many_equal_records(tmp_path: Path, namespace: Namespace) -> None:
    count = 2_000
    with lexical(tmp_path) as memory:
        memory.write(namespace, [MemoryRecord(text="nothing happens", position=place) for place in range(count)])
        assert len(memory.read(namespace, "nothing happens", limit=count).records) == count
        left = memory.read(namespace, "nothing happens", limit=10, exclude=range(count - 10))
        assert {hit.record.position for hit in left.records} == set(range(count - 10, count))
        assert len(memory.read(namespace, "nothing", limit=10, until=2).records) == 3


def test_nothing_is_missing_after_much_was_forgotten(tmp_path: Path, namespace: Namespace) -> None:
    with lexical(tmp_path) as memory:
        keys = memory.write(namespace, [f"Anna reads page{place} of book{place % 7}" for place in range(1_200)])
        memory.flush()
        memory.forget(namespace, keys[:1_150])
        assert len(memory.read(namespace, "Anna reads", limit=100).records) == 50


def test_many_seen_positions_are_no_problem(tmp_path: Path, namespace: Namespace) -> None:
    with lexical(tmp_path, by="position") as memory:
        remember_clips(memory, namespace)
        assert memory.read(namespace, "mug", exclude=range(50_000)).records == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("", "x"),
        ("a b", "y"),
        ("chroma:document", "q"),
        ("é'\"", True),
        ("a.b", "v"),
        ("n", None),
        ("l", [1]),
    ],
)
def test_any_metadata_can_be_filtered_on(tmp_path: Path, namespace: Namespace, name: str, value: Any) -> None:
    with lexical(tmp_path) as memory:
        memory.write(
            namespace,
            [MemoryRecord(text="Anna", metadata={name: value}), MemoryRecord(text="Anna 2", metadata={"o": 1})],
        )
        assert memory.read(namespace, "Anna", filter={name: value}).text.startswith("[0] Anna")
        memory.flush()


# Healing


def test_the_index_comes_back_when_its_folder_was_deleted(
    open_memory: Callable[..., Memory], folder: Path, namespace: Namespace
) -> None:
    memory = open_memory()
    memory.write(namespace, [f"Anna reads page{place}" for place in range(30)])
    before = memory.read(namespace, "page7", limit=40)
    shutil.rmtree(folder / "chroma")
    after = memory.read(namespace, "page7", limit=40)
    assert (after.text, after.records) == (before.text, before.records)
    shutil.rmtree(folder / "chroma")
    memory.write(namespace, "Bert reads page30")
    memory.flush()
    assert len(memory.read(namespace, "page30", limit=40).records) == 31
    memory.close()
    shutil.rmtree(folder / "chroma")
    assert len(open_memory().read(namespace, "page30", limit=40).records) == 31


@pytest.mark.parametrize("reopened", [True, False])
def test_lost_entries_come_back(open_memory: Callable[..., Memory], namespace: Namespace, reopened: bool) -> None:
    memory = open_memory()
    keys = memory.write(namespace, [f"Anna reads page{place}" for place in range(10)])
    held = collection(memory, namespace)
    held.delete(ids=keys[3:6])
    if reopened:
        memory.close()
        memory = open_memory()
    else:
        memory.rebuild(namespace)
    assert len(memory.read(namespace, "page", limit=20).records) == 10
    assert memory.read(namespace, "page4", limit=1).text == "[4] Anna reads page4"


def test_entries_that_do_not_belong_are_removed(open_memory: Callable[..., Memory], namespace: Namespace) -> None:
    memory = open_memory()
    memory.write(namespace, "Anna reads")
    collection(memory, namespace).upsert(ids=["stranger"], embeddings=[[1.0] * 256], metadatas=[{"position": 0}])
    memory.close()
    memory = open_memory()
    assert memory.read(namespace, "Anna", limit=5).text == "[0] Anna reads"
    assert collection(memory, namespace).count() == 1


def test_healing_embeds_only_what_is_missing(tmp_path: Path, namespace: Namespace) -> None:
    embeddings, store = CountingEmbeddings(), InMemoryStore()
    with Memory(ChromaReader(tmp_path, embeddings=embeddings), store=store) as memory:
        keys = memory.write(namespace, [f"page{place}" for place in range(20)])
        collection(memory, namespace).delete(ids=keys[:2])
    embeddings.documents = 0
    with Memory(ChromaReader(tmp_path, embeddings=embeddings), store=store) as memory:
        assert len(memory.read(namespace, "page", limit=30).records) == 20
        assert embeddings.documents == 2
        memory.read(namespace, "page")
        assert embeddings.documents == 2
        memory.rebuild(namespace)
        assert embeddings.documents == 22


def test_a_write_whose_indexing_fails_is_kept_and_heals(tmp_path: Path, namespace: Namespace) -> None:
    embeddings = SwitchableEmbeddings()
    with Memory(ChromaReader(tmp_path, embeddings=embeddings), store=InMemoryStore()) as memory:
        memory.write(namespace, "Anna sleeps")
        memory.flush()
        embeddings.fails = True
        key = memory.write(namespace, "Bert reads")[0]
        with pytest.raises(ReaderUnavailable, match="out of memory"):
            memory.flush()
        assert [record.key for record in memory.records(namespace)][1] == key
        with pytest.raises(ReaderUnavailable, match="out of memory"):
            memory.read(namespace, "Bert")
        embeddings.fails = False
        assert memory.read(namespace, "Bert", limit=1).text == "[1] Bert reads"
        memory.flush()


def test_the_vector_size_is_remembered_when_another_reader_healed_first(tmp_path: Path, namespace: Namespace) -> None:
    failing, store = SwitchableEmbeddings(), InMemoryStore()
    failing.fails = True
    with Memory(ChromaReader(tmp_path, embeddings=failing), store=store) as first:
        first.write(namespace, "Anna sleeps")
        with pytest.raises(ReaderUnavailable):
            first.flush()
        healing = SwitchableEmbeddings()
        with Memory(ChromaReader(tmp_path, embeddings=healing), store=store) as second:
            assert second.read(namespace, "Anna").text
        failing.fails = False
        assert first.read(namespace, "Anna").text
        assert collection(first, namespace).metadata["dimension"] == 256


def test_forgetting_while_an_update_runs_leaves_nothing(tmp_path: Path, namespace: Namespace) -> None:
    with lexical(tmp_path) as memory:
        for place in range(20):
            keys = memory.write(namespace, [f"page{place}", f"leaf{place}"])
            memory.forget(namespace, keys[:1])
        assert set(collection(memory, namespace).get()["ids"]) == {record.key for record in memory.records(namespace)}


def test_reading_while_the_index_is_rebuilt(tmp_path: Path, namespace: Namespace) -> None:
    stop = Event()
    with lexical(tmp_path) as memory, ThreadPoolExecutor(3) as pool:
        memory.write(namespace, [f"Anna reads page{place}" for place in range(100)])
        memory.flush()

        def read() -> None:
            while not stop.is_set():
                assert len(memory.read(namespace, "Anna page7", limit=3).records) == 3

        readers = [pool.submit(read) for _ in range(2)]
        try:
            for _ in range(15):
                memory.rebuild(namespace)
        finally:
            stop.set()
        for reader in readers:
            reader.result()


# Another embedding


class OtherEmbeddings(LexicalEmbeddings):
    """Another class, so another name."""


@pytest.mark.parametrize("other", [OtherEmbeddings(256), LexicalEmbeddings(128)], ids=["name", "dimension"])
def test_an_index_of_another_embedding_is_refused_until_it_is_rebuilt(
    open_memory: Callable[..., Memory], namespace: Namespace, other: LexicalEmbeddings
) -> None:
    memory = open_memory()
    memory.write(namespace, ["Anna sleeps", "Bert reads"])
    memory.close()
    memory = open_memory(embeddings=other)
    for _ in range(2):
        with pytest.raises(
            ConfigError, match=r"LexicalEmbeddings:256.*rebuild\(.*or use the embedding it was built with"
        ):
            memory.read(namespace, "Anna")
    memory.write(namespace, "Carl cooks")
    with pytest.raises(ConfigError, match="rebuild"):
        memory.flush()
    memory.rebuild(namespace)
    assert memory.read(namespace, "cooks", limit=1).text == "[2] Carl cooks"
    assert len(memory.read(namespace, "Anna", limit=9).records) == 3
    assert collection(memory, namespace).metadata["dimension"] == other.dimensions


def test_a_hidden_change_of_dimension_is_refused_until_it_is_rebuilt(tmp_path: Path, namespace: Namespace) -> None:
    def reader(size: int) -> ChromaReader:
        embeddings = LexicalEmbeddings(size)
        return ChromaReader(tmp_path, embeddings=embeddings.embed_documents)

    store = InMemoryStore()
    with Memory(reader(256), store=store) as memory:
        memory.write(namespace, "Anna sleeps")
        memory.flush()
    with Memory(reader(64), store=store) as memory:
        with pytest.raises(ConfigError, match=r"256 dimensions.*64.*rebuild"):
            memory.read(namespace, "Anna")
        memory.write(namespace, "Bert reads")
        with pytest.raises(ConfigError, match=r"256 dimensions.*64.*rebuild"):
            memory.flush()
        memory.rebuild(namespace)
        assert memory.read(namespace, "reads", limit=1).text == "[1] Bert reads"


@pytest.mark.parametrize("whole", [True, False])
def test_forgetting_needs_no_embedding(open_memory: Callable[..., Memory], namespace: Namespace, whole: bool) -> None:
    memory = open_memory()
    keys = memory.write(namespace, ["Anna sleeps", "Bert reads"])
    memory.close()
    memory = open_memory(embeddings=LexicalEmbeddings(128))
    receipt = memory.forget(namespace, None if whole else keys[:1])
    assert (receipt.from_log, receipt.from_index) == ((2, 2) if whole else (1, 1))


def test_one_log_read_by_two_configurations(tmp_path: Path, namespace: Namespace) -> None:
    with SqliteStore.from_conn_string(str(tmp_path / "log.sqlite")) as store:
        store.setup()
        one = ChromaReader(tmp_path / "one", embeddings=LexicalEmbeddings(256))
        other = ChromaReader(tmp_path / "other", embeddings=LexicalEmbeddings(64), by="position", neighbours=1)
        with Memory(one, store=store) as first, Memory(other, store=store) as second:
            remember_clips(first, namespace)
            assert first.read(namespace, "dog barks", limit=1).text == "[1] the dog barks"
            assert {hit.record.position for hit in second.read(namespace, "dog barks", limit=1).records} == {0, 1, 2}
            second.write(namespace, "the dog sleeps")
            assert first.read(namespace, "dog sleeps", limit=1).text == "[5] the dog sleeps"


# Clients


def test_one_client_a_folder(tmp_path: Path, namespace: Namespace) -> None:
    first, second = (ChromaReader(tmp_path / "chroma", embeddings=LexicalEmbeddings(256)) for _ in range(2))
    assert first._source is second._source
    assert first._source.client() is second._source.client()
    with Memory(second, store=InMemoryStore()) as memory:
        first.close()
        memory.write(namespace, "Anna sleeps")
        assert memory.read(namespace, "Anna").text == "[0] Anna sleeps"


def test_closing_twice_takes_nothing_from_another_reader(tmp_path: Path) -> None:
    first, second = (ChromaReader(tmp_path, embeddings=LexicalEmbeddings(256)) for _ in range(2))
    first.close()
    first.close()
    third = ChromaReader(tmp_path, embeddings=LexicalEmbeddings(256))
    assert third._source is second._source
    second.close()
    third.close()


def test_telemetry_is_off(tmp_path: Path) -> None:
    reader = ChromaReader(tmp_path, embeddings=LexicalEmbeddings(256))
    settings = reader._source.client().get_settings()
    assert settings.anonymized_telemetry is False
    assert not settings.chroma_otel_collection_endpoint
    reader.close()


def test_without_a_path_the_index_is_temporary(namespace: Namespace) -> None:
    reader = ChromaReader(embeddings=LexicalEmbeddings(256))
    assert reader._temporary is not None
    path = Path(reader._temporary.name)
    with Memory(reader, store=InMemoryStore()) as memory:
        memory.write(namespace, "Anna sleeps")
        assert memory.read(namespace, "Anna").text == "[0] Anna sleeps"
        assert path.exists()
    assert not path.exists()


def test_a_folder_that_cannot_be_written_is_an_unavailable_reader(tmp_path: Path, namespace: Namespace) -> None:
    (tmp_path / "file").write_text("mine")
    with Memory(
        ChromaReader(tmp_path / "file" / "chroma", embeddings=LexicalEmbeddings(256)), store=InMemoryStore()
    ) as memory:
        memory.write(namespace, "Anna sleeps")
        with pytest.raises(ReaderUnavailable, match=str(tmp_path)):
            memory.read(namespace, "Anna")
        with pytest.raises(ReaderUnavailable):
            memory.flush()
        assert len(memory.records(namespace)) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": "clip"}, "'clip'.*'record' or 'position'"),
        ({"limit": 0}, "limit is 0"),
        ({"neighbours": -1}, "neighbours -1"),
        ({"embeddings": "minilm"}, "'minilm'.*LangChain Embeddings"),
        ({"client": object()}, "path or a client"),
    ],
)
def test_a_bad_option_is_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ChromaReader(tmp_path, **options)


@pytest.mark.parametrize("again", [False, True])
def test_an_index_that_is_deleted_while_it_is_written_is_made_anew(tmp_path: Path, again: bool) -> None:
    reader = ChromaReader(tmp_path / "chroma", embeddings=LexicalEmbeddings(256))
    with Memory(reader, store=InMemoryStore()) as memory:
        memory.write(("users", "anna"), "anna reads")
        memory.flush()
        with reader._source.changing():
            shutil.rmtree(tmp_path / "chroma")
            if again:
                (tmp_path / "chroma").mkdir()
        assert memory.read(("users", "anna"), "anna").records
        memory.write(("users", "anna"), "anna sleeps")
        assert len(memory.read(("users", "anna"), "anna").records) == 2
        memory.flush()
