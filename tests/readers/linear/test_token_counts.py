"""Token counts: asked of the server once for each record, and kept."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langgraph.store.memory import InMemoryStore

from linmem_langgraph import ConfigError, Memory, MemoryRecord, ReaderUnavailable, transcript
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.readers._linear.token_counts import TokenCounts
from tests.model_server import MODEL, ModelServer, tokens
from tests.readers.linear.conftest import Remember

CONTEXT, ANSWER = 2_400, 40


class Counter:
    """Counts, and remembers what it was asked."""

    counts = True

    def __init__(self, name: str = MODEL, fails_at: int = 0) -> None:
        self.name, self.asked, self.calls = name, list[str](), 0
        self._fails_at = fails_at

    async def count(self, texts: Sequence[str]) -> list[int]:
        self.calls += 1
        if self.calls == self._fails_at:
            raise ReaderUnavailable("gone")
        self.asked += texts
        return [tokens(text) for text in texts]


def counted(server: ModelServer) -> list[str]:
    """The records' lines that the server has counted; the frame of the prompts is no record."""
    return [body["prompt"] for body in server.bodies("count") if body["prompt"].startswith("[")]


def fill(memory: Memory, namespace: Namespace, *texts: str) -> list[str]:
    keys = memory.write(namespace, [f"{text:<200}|" for text in texts])
    memory.flush()
    return keys


def test_each_record_is_counted_once(server: ModelServer, remember: Remember, namespace: Namespace) -> None:
    server.context = CONTEXT
    memory = remember(max_tokens=ANSWER)
    fill(memory, namespace, *"abcdef")
    memory.read(namespace, "?")
    fill(memory, namespace, "g")
    memory.read(namespace, "?", until=3)
    memory.read(namespace, "?", filter={"kind": "episodic"})
    assert sorted(counted(server)) == [transcript.render_record(record) for record in memory.records(namespace)]


def test_what_is_later_than_until_is_not_counted(server: ModelServer, remember: Remember, namespace: Namespace) -> None:
    server.context = CONTEXT
    memory = remember(max_tokens=ANSWER, prime="off")
    fill(memory, namespace, *"abcdefgh")
    memory.read(namespace, "?", until=4)
    assert sorted(counted(server)) == [transcript.render_record(record) for record in memory.records(namespace)[:5]]


def test_a_memory_that_fits_is_not_counted(server: ModelServer, memory: Memory, namespace: Namespace) -> None:
    fill(memory, namespace, *"abcdef")
    memory.read(namespace, "?")
    assert counted(server) == []


@pytest.mark.parametrize("kept", [True, False])
def test_counts_survive_in_a_folder(
    server: ModelServer, remember: Remember, namespace: Namespace, tmp_path: Path, kept: bool
) -> None:
    server.context, store = CONTEXT, InMemoryStore()
    for _ in range(2):
        memory = remember(max_tokens=ANSWER, path=tmp_path / "linear" if kept else None, store=store)
        fill(memory, namespace, "new")
        if not memory.records(namespace)[3:]:
            fill(memory, namespace, *"abc")
        memory.read(namespace, "?")
        memory.close()
    assert sorted(tmp_path.rglob("*")) == ([tmp_path / "linear", tmp_path / "linear" / "tokens.sqlite"] if kept else [])
    assert len(counted(server)) == (5 if kept else 9)
    assert len(set(counted(server))) == 5


def test_a_changed_record_is_counted_again(server: ModelServer, remember: Remember, namespace: Namespace) -> None:
    server.context = CONTEXT
    memory = remember(max_tokens=ANSWER, prime="off")
    keys = fill(memory, namespace, *"abcde")
    memory.read(namespace, "?")
    server.clear()
    memory.write(namespace, MemoryRecord(text="changed", key=keys[1]))
    memory.read(namespace, "?")
    assert counted(server) == ["[1] changed\n"]


def test_forgetting_drops_the_counts(server: ModelServer, remember: Remember, namespace: Namespace) -> None:
    server.context = CONTEXT
    memory = remember(max_tokens=ANSWER, prime="off")
    keys = fill(memory, namespace, *"abcdef")
    memory.read(namespace, "?")
    assert memory.forget(namespace, [keys[0], "absent"]).from_index == 1
    assert memory.forget(namespace).from_index == 5
    assert memory.forget(namespace).from_index == 0
    assert memory.forget((*namespace, "other")).from_index == 0


def test_rebuilding_counts_anew(server: ModelServer, remember: Remember, namespace: Namespace) -> None:
    server.context = CONTEXT
    memory = remember(max_tokens=ANSWER)
    fill(memory, namespace, *"abcdef")
    server.clear()
    memory.rebuild(namespace)
    assert len(counted(server)) == 6
    assert server.asked("prime")


def test_without_tokenize_bytes_are_counted(server: ModelServer, remember: Remember, namespace: Namespace) -> None:
    server.context, server.tokenizes, server.refuses_long_prompts = 6_000, False, False
    memory = remember(max_tokens=ANSWER, prime="off")
    fill(memory, namespace, *map(str, range(90)))
    memory.read(namespace, "?")
    assert len(server.asked("read")) > 1


def test_a_server_without_tokenize_is_left_alone(server: ModelServer, remember: Remember, namespace: Namespace) -> None:
    server.context, server.tokenizes, server.refuses_long_prompts = 6_000, False, False
    memory = remember(max_tokens=ANSWER, prime="off")
    fill(memory, namespace, *map(str, range(90)))
    memory.read(namespace, "?")
    memory.read(namespace, "?")
    with pytest.raises(TimeoutError):
        server.wait_until(lambda: len(server.asked("count")) > 1 + 8, seconds=1)


def test_an_estimate_is_not_kept(server: ModelServer, remember: Remember, namespace: Namespace, tmp_path: Path) -> None:
    server.context, server.tokenizes, server.refuses_long_prompts, store = 6_000, False, False, InMemoryStore()
    memory = remember(max_tokens=ANSWER, prime="off", path=tmp_path / "linear", store=store)
    fill(memory, namespace, *map(str, range(90)))
    memory.read(namespace, "?")
    server.wait_until(lambda: not server.under_way("count"))
    server.clear()
    server.tokenizes = True
    remember(max_tokens=ANSWER, prime="off", path=tmp_path / "linear", store=store).read(namespace, "?")
    assert len(counted(server)) == 90


# The counts alone


@given(
    st.lists(
        st.tuples(
            st.sampled_from([("a",), ("a", "b"), ("a\0b",), ("1:a",)]),
            st.dictionaries(st.sampled_from(["k", "k2", "\0"]), st.sampled_from(["x", "yy", "zzz"]), min_size=1),
            st.sampled_from(["m", "n"]),
        ),
        max_size=8,
    )
)
async def test_a_count_is_of_one_record_of_one_namespace_for_one_model(
    steps: list[tuple[Namespace, dict[str, str], str]],
) -> None:
    counts, known = TokenCounts(None), dict[tuple[Namespace, str], tuple[str, str]]()
    for namespace, lines, model in steps:
        counter = Counter(model)
        found = await counts.of(namespace, lines, counter)
        assert found == {key: tokens(line) for key, line in lines.items()}
        expected = [line for key, line in lines.items() if known.get((namespace, key)) != (line, model)]
        assert counter.asked == expected
        known |= {(namespace, key): (line, model) for key, line in lines.items()}
    for namespace in {namespace for namespace, _ in known}:
        assert counts.forget(namespace, None) == sum(owner == namespace for owner, _ in known)
    counts.close()


async def test_what_was_counted_before_a_failure_is_kept(tmp_path: Path) -> None:
    counts, counter = TokenCounts(tmp_path), Counter(fails_at=3)
    lines = {f"k{place}": f"line {place}" for place in range(1_200)}
    with pytest.raises(ReaderUnavailable):
        await counts.of(("a",), lines, counter)
    found = await counts.of(("a",), lines, counter)
    assert list(found) == list(lines)
    assert len(counter.asked) == 1_200
    counts.close()


async def test_the_file_holds_no_text_no_key_and_no_namespace(tmp_path: Path) -> None:
    counts = TokenCounts(tmp_path)
    await counts.of(("secret-namespace",), {"secret-key": "secret-text"}, Counter())
    assert counts.forget(("secret-namespace",), ["other"]) == 0
    counts.close()
    content = (tmp_path / "tokens.sqlite").read_bytes()
    assert b"secret" not in content
    assert content


async def test_a_file_that_is_damaged_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokens.sqlite").write_bytes(b"not a database" * 100)
    counts = TokenCounts(tmp_path)
    with pytest.raises(ConfigError, match=r"tokens\.sqlite cannot be used .*: delete it, it is made again"):
        await counts.of(("a",), {"k": "line"}, Counter())
    counts.close()


async def test_the_counts_of_two_readers_of_one_folder_are_shared(tmp_path: Path) -> None:
    one, other, counter = TokenCounts(tmp_path), TokenCounts(tmp_path), Counter()
    for counts in (one, other, one):
        await counts.of(("a",), {"k": "line"}, counter)
    assert counter.asked == ["line"]
    one.close()
    other.close()
