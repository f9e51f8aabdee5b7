"""What a run will cost, and what it has cost."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from evals.benchmarks.m3_bench import read_annotations
from evals.cli import app
from evals.config import Price, ReaderConfig, RunConfig, config_hash
from evals.cost import Prefill, estimate, money, prefill, spent
from evals.judge import judge
from evals.predict import predict
from evals.reads import ANSWER, READS, frame, standing
from evals.report import report
from evals.rows import Tokens, added
from evals.samples import Sample
from tests.evals.support import jsonl, run_config, shared, write_household
from tests.model_server import ModelServer

PRICE = {"prompt": 2.0, "cached": 0.5, "completion": 8.0}


def sample(until: int | None, number: int = 0, memory: str = "house") -> Sample:
    return Sample(id=f"{memory}_{number}", memory=memory, question="Where is Anna?", answer="here", until=until)


def clips(one: Sample) -> int:
    assert one.until is not None
    return one.until + 1


@given(st.lists(st.integers(0, 30), min_size=1, max_size=12))
def test_in_order_each_clip_is_read_once_and_no_order_is_better(bounds: list[int]) -> None:
    listed = [sample(until, number) for number, until in enumerate(bounds)]

    found = prefill(listed, sorted(listed, key=clips), clips)

    assert found.ordered == max(bounds) + 1
    assert found.ordered <= found.unordered <= found.alone == sum(bounds) + len(bounds)


def test_what_was_read_further_is_of_no_use_to_a_question_about_before() -> None:
    listed = [sample(9), sample(4), sample(6)]

    assert prefill(listed, sorted(listed, key=clips), clips) == Prefill(alone=22, unordered=10 + 5 + 2, ordered=10)


def test_where_an_earlier_memory_is_no_beginning_of_a_later_one_nothing_goes_on() -> None:
    listed = [sample(9), sample(4), sample(9), sample(6)]

    found = prefill(listed, sorted(listed, key=clips), clips, grows=False)

    assert found == Prefill(alone=32, unordered=10 + 5 + 7, ordered=10 + 5 + 7)


def test_m3_bench_robot_in_the_order_of_a_run(tmp_path: Path) -> None:
    annotations = shared("m3bench", "robot.json")
    samples = read_annotations(annotations, Counter())
    (tmp_path / "robot.json").write_bytes(annotations.read_bytes())
    (tmp_path / "memories").mkdir()
    for memory in {one.memory for one in samples}:
        last = max(one.until or 0 for one in samples if one.memory == memory)
        told = [{"text": "Somebody is there.", "position": clip} for clip in range(last + 1)]
        (tmp_path / "memories" / f"{memory}.jsonl").write_text(jsonl(told))

    config = run_config(None, benchmark={"name": "m3_bench", "data": tmp_path}, controls=[])
    (main,) = estimate(config, tmp_path / "run")

    assert (main.questions, main.clips) == (1_276, Prefill(alone=63_914, unordered=11_165, ordered=6_770))


@pytest.fixture
def server() -> Iterator[ModelServer]:
    def says(message: str) -> str:
        if message.startswith("MEMORY:"):
            return "The mug is on the shelf [1]."
        return "Action: [Search]\nContent: the mug"

    with ModelServer(says=says) as one:
        one.tokens = lambda text: len(text.encode()) // 4 + 1
        yield one


@pytest.fixture
def config(server: ModelServer, tmp_path: Path) -> RunConfig:
    told = {clip: [f"Anna puts the mug on shelf {clip}."] for clip in range(6)}
    samples = [sample(until, number, memory) for memory in ("a", "b") for number, until in enumerate((3, 1, 5))]
    data = write_household(tmp_path / "data", {"a": told, "b": told}, samples)
    at = {"base_url": server.base_url}
    return run_config(
        data,
        reader={"name": "linear", "options": {**at, "max_tokens": 100}, "price": PRICE},
        controller={"model": "vllm:", "options": at, "price": PRICE},
        controls=["blind"],
        protocol="m3",
        max_rounds=4,
        ranking=0,
    )


def test_an_estimate_counts_what_is_left_in_the_order_of_the_run(config: RunConfig, tmp_path: Path) -> None:
    main, blind = estimate(config, tmp_path / "run")

    assert (main.arm, main.questions, main.searches) == ("main", 6, (6, 18))
    assert main.clips == Prefill(alone=2 * 12, unordered=2 * (4 + 2 + 2), ordered=2 * 6)
    assert (blind.arm, blind.questions, blind.reader) == ("blind", 6, (Tokens(), Tokens()))
    assert main.money is not None
    assert blind.money is not None
    assert main.money[0] < main.money[1]
    assert blind.money < main.money
    assert not (tmp_path / "run").exists()


SEGMENTS = {"segment_tokens": 30}
READERS: dict[str, dict[str, object]] = {
    "linear": {},
    "hybrid": {**SEGMENTS, "budget_tokens": 60, "embeddings": "lexical", "mode": "routed"},
    "rolling": {**SEGMENTS, "note_tokens": 16},
}


@pytest.mark.parametrize("reader", READERS)
def test_an_estimate_s_most_is_not_below_what_a_run_takes(config: RunConfig, tmp_path: Path, reader: str) -> None:
    options = {**config.reader.options, **READERS[reader]}
    config = config.model_copy(update={"reader": ReaderConfig(name=reader, options=options, price=config.reader.price)})
    main, _ = estimate(config, tmp_path / "run")

    rows = [row for row in predict(config, tmp_path / "run") if row.arm == "main"]

    assert {row.searches for row in rows} == {3}
    controller, used = added(row.controller for row in rows), added(row.reader for row in rows)
    assert sum(row.searches for row in rows) == main.searches[1]
    assert 0.3 * main.controller[1].prompt < controller.prompt <= main.controller[1].prompt
    assert 0.3 * main.reader[1].prompt < used.prompt <= main.reader[1].prompt
    assert used.completion <= main.reader[1].completion
    assert (spent(config, "main", controller, used) or 0) <= (main.money or (0, 0))[1]
    assert estimate(config, tmp_path / "run") == []


SEGMENT, BUDGET, NOTE = 4_000, 12_000, 1_000
"""Of the readers themselves."""


@given(memory=st.integers(0, 200_000))
def test_a_hybrid_read_takes_no_more_of_a_larger_memory(memory: int) -> None:
    taken = READS["hybrid"](memory, {})
    assert taken.cached == min(memory, BUDGET)
    assert taken.prompt <= READS["hybrid"](10**9, {}).prompt
    assert (taken == READS["linear"](memory, {})) == (memory <= BUDGET)
    assert READS["hybrid"](memory, {"mode": "whole"}) == READS["linear"](memory, {})


@given(segments=st.integers(1, 50))
def test_a_rolling_read_takes_each_segment_and_each_note_once(segments: int) -> None:
    memory = segments * SEGMENT
    taken = READS["rolling"](memory, {})
    assert taken.prompt == memory + (segments - 1) * NOTE + segments * frame()
    assert taken.completion == (segments - 1) * NOTE + ANSWER
    kept = {"standing": True}
    assert READS["rolling"](memory, kept) == READS["rolling"](min(segments, 2) * SEGMENT, kept)
    assert standing(ReaderConfig(name="rolling", options=kept), memory) == taken
    assert standing(ReaderConfig(name="rolling"), memory) == Tokens()


def test_direct_reads_for_a_ranking_are_counted(config: RunConfig, tmp_path: Path) -> None:
    assert config.benchmark.data is not None
    told = {clip: [f"Anna puts the mug on shelf {clip}."] for clip in range(6)}
    asked = [sample(None, number).model_copy(update={"evidence": (number,)}) for number in range(3)]
    data = write_household(tmp_path / "ranked", {"house": told}, asked)
    ranked = config.model_copy(
        update={
            "benchmark": config.benchmark.model_copy(update={"data": data}),
            "max_rounds": 1,
            "ranking": 5,
            "controls": (),
        }
    )

    (before,) = estimate(ranked, tmp_path / "run")
    rows = predict(ranked, tmp_path / "run")

    assert before.searches == (0, 0)
    assert before.reader[0] == before.reader[1]
    used = added(row.reader for row in rows)
    assert 0.3 * before.reader[0].prompt < used.prompt <= before.reader[0].prompt
    assert used.completion > 0


def test_a_dry_run_after_a_kill_counts_what_is_whole(config: RunConfig, tmp_path: Path) -> None:
    predict(config, tmp_path / "run")
    file = tmp_path / "run" / "predictions.jsonl"
    content = file.read_bytes()
    file.write_bytes(content[:-20])

    assert sum(cost.questions for cost in estimate(config, tmp_path / "run")) == 1
    assert file.read_bytes() == content[:-20]


def test_what_was_answered_is_not_counted_again(config: RunConfig, tmp_path: Path) -> None:
    predict(config.model_copy(update={"limit": 2}), tmp_path / "run")

    main, blind = estimate(config, tmp_path / "run")

    assert (main.questions, blind.questions) == (2, 2)
    assert main.clips == Prefill(alone=12, unordered=12, ordered=12)


def test_without_prices_no_money_is_named(config: RunConfig, tmp_path: Path) -> None:
    free = run_config(config.benchmark.data, controls=["blind"])

    assert [cost.money for cost in estimate(free, tmp_path / "run")] == [None, None]
    assert spent(free, "main", Tokens(prompt=5), Tokens()) is None


def test_money_is_for_what_was_read_anew_what_was_cached_and_what_was_written() -> None:
    used = Tokens(prompt=1_000_000, cached=400_000, completion=10_000)

    assert money(used, Price.model_validate(PRICE)) == pytest.approx(0.6 * 2 + 0.4 * 0.5 + 0.01 * 8)
    assert money(used, Price(prompt=2, completion=8)) == pytest.approx(2 + 0.01 * 8)


def test_a_price_changes_no_row(config: RunConfig) -> None:
    reader = config.reader.model_copy(update={"price": None})
    controller = config.controller.model_copy(update={"price": None})
    free = config.model_copy(update={"reader": reader, "controller": controller, "compared": {"other": config.reader}})
    other = free.model_copy(update={"compared": {"other": reader}})

    assert config_hash(free, "main", "") == config_hash(config, "main", "")
    assert config_hash(free, "other", "") == config_hash(other, "other", "")


def test_a_report_says_what_was_spent(config: RunConfig, server: ModelServer, tmp_path: Path) -> None:
    model = {"model": "vllm:tiny", "options": {"base_url": server.base_url}, "price": PRICE}
    judged = run_config(
        config.benchmark.data,
        **{**config.model_dump(exclude={"name", "benchmark", "judge"}), "judge": {"kind": "model", "model": model}},
    )
    server.says = "Action: [Answer]\nContent: on the shelf"
    rows = predict(judged, tmp_path / "run")
    server.says = "yes"
    grades = judge(judged, tmp_path / "run")
    assert all(grade.tokens.prompt > 0 for grade in grades)

    report(judged, tmp_path / "run")

    prices, written = Price.model_validate(PRICE), (tmp_path / "run" / "report.md").read_text()
    for arm in ("main", "blind"):
        of_arm = [row for row in rows if row.arm == arm]
        parts = [*(row.controller for row in of_arm), *(row.reader for row in of_arm)]
        parts += [grade.tokens for grade in grades if grade.arm == arm]
        assert f"| {sum(money(used, prices) for used in parts):,.2f} |" in written


def test_a_dry_run_prints_and_asks_nothing(config: RunConfig, server: ModelServer, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(json.dumps(config.model_dump(mode="json")))

    done = CliRunner().invoke(app, ["predict", "--config", str(file), "--out", str(tmp_path / "run"), "--dry-run"])

    assert done.exit_code == 0, done.output
    assert "6 to 18" in done.output
    assert "24" in done.output
    assert not server.requests
    assert not (tmp_path / "run").exists()
