"""The benchmark of state reuse, as far as it needs no server: what is asked, and what is made of the answers."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.outputs import ChatGeneration, LLMResult

from evals.bench.state_reuse import busy, concurrency, household, load, m3_schedule, small_cache, texts, writes
from evals.bench.state_reuse.answers import counted
from evals.bench.state_reuse.cases import cases
from evals.bench.state_reuse.load import Load
from evals.bench.state_reuse.recorded import Parting, Recorder, Token, parting, partings
from evals.bench.state_reuse.scale import Scale
from evals.bench.state_reuse.servers import counter
from evals.bench.state_reuse.stand import Stand
from evals.bench.timing import compare
from evals.benchmarks.household import load as load_household
from linmem_langgraph.readers.base import NOTHING
from linmem_langgraph.records import Reading, Usage
from linmem_langgraph.transcript import render


def test_records_are_the_same_each_time_and_about_as_long_as_wanted() -> None:
    made = texts.records(5_000, seed="a", length=100)
    assert made == texts.records(5_000, seed="a", length=100)
    assert 5_000 <= len(render(made)) < 5_000 + 120
    assert {len(record.text) for record in made} <= {99, 100}
    assert [record.position for record in made] == list(range(len(made)))
    assert len({record.text for record in made}) == len(made)
    assert texts.records(5_000, seed="b", length=100) != made


def test_a_longer_memory_begins_with_the_shorter_one_and_more_of_it_follows_on() -> None:
    made = texts.records(5_000, seed="a", length=100)
    assert texts.records(2_000, seed="a", length=100) == made[: len(texts.records(2_000, seed="a", length=100))]
    assert texts.records(1, seed="a", length=100, first=7) == [made[7]]


def test_cases_grow_and_ask_as_of_positions_that_are_there() -> None:
    memories = cases(200, 45, seed=1)
    asked = [ask for memory in memories for ask in memory]
    assert [ask.number for ask in asked] == list(range(200))
    for memory in memories:
        assert all(before.records <= after.records for before, after in pairwise(memory))
    assert all(1 <= ask.records <= 45 for ask in asked)
    assert all(ask.until is None or 0 <= ask.until < ask.records for ask in asked)
    kinds = {(ask.until is None, ask.flushed) for ask in asked}
    assert len(kinds) == 4
    assert cases(200, 45, seed=1) == memories != cases(200, 45, seed=2)


def test_a_schedule_asks_each_video_in_order_of_until_and_no_question_twice() -> None:
    asked = m3_schedule.schedule(videos=20, clips=60, questions=12, reads=3)
    assert [len(reads) for reads in asked] == [36] * 20
    for video, reads in enumerate(asked):
        assert [read.until for read in reads] == sorted(read.until for read in reads)
        assert {read.video for read in reads} == {video}
        assert all(0 <= read.until < 60 for read in reads)
    assert len({read.question for reads in asked for read in reads}) == 720


def test_quick_is_smaller_in_everything_it_changes() -> None:
    whole, quick = Scale().model_dump(), Scale.quick().model_dump()
    assert quick.keys() == whole.keys()
    assert all(quick[name] <= whole[name] for name in whole)


def used(prompt: int = 10, cached: int = 5) -> Usage:
    return Usage(prompt_tokens=prompt, cached_tokens=cached, completion_tokens=1)


def test_lanes_run_in_their_order_and_shared_ones_run_each_read_once() -> None:
    done: list[int] = []

    def read(number: int) -> load.Read:
        def act() -> Usage:
            done.append(number)
            return used(number, 0)

        return act

    found = load.run([[read(1), read(2)], [read(10), read(20)]])
    assert [number for number in done if number < 10] == [1, 2]
    assert [number for number in done if number >= 10] == [10, 20]
    assert (len(found.each), found.usage.prompt_tokens) == (4, 33)
    done.clear()
    assert len(load.run(load.shared([read(number) for number in range(50)], 8)).each) == 50
    assert sorted(done) == list(range(50))


def test_a_failing_read_fails_the_run() -> None:
    def fail() -> Usage:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        load.run([[fail]])


def test_loads_add_up() -> None:
    both = load.joined([Load(2.0, [0.5, 1.5], used(100, 80)), Load(1.0, [1.0], used(100, 90))])
    assert (both.wall, both.rate, both.p50, both.cached) == (3.0, 1.0, 1000, 85)
    assert Load(1.0, [0.1], Usage()).cached == 0


def test_a_pair_is_prepared_before_it_is_timed() -> None:
    calls: list[tuple[str, int]] = []

    def noting(who: str) -> Callable[[int], None]:
        return lambda run: calls.append((who, run))

    compare(noting("ours"), noting("theirs"), 1, before=noting("before"))
    assert calls == [("before", 0), ("theirs", 0), ("ours", 0), ("before", 1), ("ours", 1), ("theirs", 1)]


def said(*letters: tuple[str, float]) -> list[Token]:
    return [Token(*letter) for letter in letters]


def test_answers_part_where_they_first_differ_by_the_margin_of_the_computed_one() -> None:
    reused, computed = said(("a", 1.0), ("b", 0.3), ("c", 2.0)), said(("a", 1.0), ("x", 0.008), ("y", 2.0))
    assert parting(reused, reused) is None
    found = parting(reused, computed)
    assert found == Parting(place=1, reused="b", computed="x", margin=0.008)
    assert found.is_tie
    assert not Parting(place=1, reused="b", computed="x", margin=0.0102).is_tie


@pytest.mark.parametrize(("reused", "computed"), [("ab", "a"), ("a", "ab")])
def test_a_shorter_answer_is_another_one(reused: str, computed: str) -> None:
    found = parting(said(*((letter, 1.0) for letter in reused)), said(*((letter, 1.0) for letter in computed)))
    assert found is not None
    assert (found.place, found.margin, found.is_tie) == (1, 1.0, False)


def heard(recorder: Recorder, question: str, *answer: tuple[str, float], name: str = "linear_read") -> None:
    run, messages = uuid4(), [SystemMessage("Read."), HumanMessage(question)]
    content = [
        {"token": token, "top_logprobs": [{"logprob": -1.5 - margin}, {"logprob": -1.5}]} for token, margin in answer
    ]
    message = AIMessage("", response_metadata={"logprobs": {"content": content}})
    recorder.on_chat_model_start({}, [messages], run_id=run, name=name)
    recorder.on_llm_end(LLMResult(generations=[[ChatGeneration(message=message)]]), run_id=run)


def test_answers_to_the_same_prompts_are_compared() -> None:
    reused, computed = Recorder(), Recorder()
    heard(reused, "Where?", ("a", 0.5))
    heard(computed, "Where?", ("b", 0.5))
    heard(reused, "Who?", ("c", 0.5))
    heard(reused, "no read", ("d", 0.5), name="another")
    with pytest.raises(ValueError, match="1 prompts went to one of the servers only"):
        partings(reused, computed)
    heard(computed, "Who?", ("c", 0.25))
    assert partings(reused, computed) == [Parting(place=0, reused="a", computed="b", margin=0.5)]
    assert reused.answers[("system", "Read."), ("human", "Who?")] == said(("c", 0.5))


def test_a_difference_that_is_no_tie_misses_the_target() -> None:
    tie, other = (Parting(place=0, reused="a", computed="b", margin=margin) for margin in (0.0, 0.5))
    rows = {row.what: row for row in counted("x", 100, used(100, 80), [tie, other])}
    assert {name: row.ours for name, row in rows.items()} == {
        "x: equal": 98,
        "x: near-ties": 1,
        "x: different otherwise": 1,
        "x: prompt tokens from state": 80,
    }
    assert rows["x: different otherwise"].met is False
    assert counted("x", 100, used(), [tie])[2].met is True


def test_reads_beside_a_prime_are_measured_against_those_alone() -> None:
    stand = Stand(Scale(), {}, Path())
    steps = busy.Primed(reads=[0.1, 0.2, 0.3], beside=[9.0], alone=[8.0])
    piece = busy.Primed(reads=[1.0], beside=[8.0], alone=[7.0])
    rows = {row.what: row for row in busy.outcome(stand, [0.05, 0.05], steps, piece).rows}
    times = rows["times the p50 alone"]
    assert (times.ours, times.theirs, times.met) == (4.0, 20.0, True)
    assert (rows["prime beside reads"].ours, rows["prime beside reads"].theirs) == (9.0, 8.0)


def test_the_schedules_wall_time_holds_the_primes() -> None:
    ours, theirs = Load(6.0, [1.0], used(100, 90)), Load(50.0, [5.0], used(100, 0))
    found = m3_schedule.outcome(Stand(Scale(), {}, Path()), 4.0, ours, theirs, (200, 160))
    rows = {row.what: row for row in found.rows}
    assert (rows["all of it"].ours, rows["all of it"].ratio, rows["all of it"].met) == (10.0, 5.0, True)
    assert (rows["from state, by the readings"].ours, rows["from state, by the server's counters"].ours) == (90, 80)
    assert rows["from state, by the server's counters"].met is False


def test_more_reads_and_shorter_ones_are_better() -> None:
    cell = concurrency.Cell(8, 16, Load(1.0, [0.1] * 40, used()), Load(2.0, [0.4] * 20, used()))
    reads, p95 = concurrency.compared(cell)
    assert (reads.what, reads.ours, reads.theirs, reads.ratio) == ("8 in flight, 16 memories: reads", 40, 10, 4)
    assert [p95.ours, p95.theirs, p95.ratio] == pytest.approx([100, 400, 4])


def test_a_small_cache_must_count_as_the_server_does_and_be_no_slower() -> None:
    ours, theirs = Load(4.0, [0.5] * 8, used(900, 300)), Load(2.0, [0.5] * 8, used(900, 0))
    found = [Parting(place=0, reused="a", computed="b", margin=margin) for margin in (0.0, 0.5)]
    rows = small_cache.outcome(Stand(Scale(), {}, Path()), ours, theirs, (900, 301), found).rows
    assert {row.what: row.met for row in rows if row.target} == {
        "reads": False,
        "answers that differ, near-ties aside": False,
        "prompt tokens: readings, server's counter": True,
        "cached tokens: readings, server's counter": False,
    }


def test_writes_and_puts_take_turns() -> None:
    calls: list[tuple[str, int]] = []
    acts = {name: lambda run, name=name: calls.append((name, run)) for name in ("write", "put")}
    times = writes.timed(acts, range(2), after=lambda: calls.append(("after", 0)))
    assert {name: len(found) for name, found in times.items()} == {"write": 2, "put": 2}
    assert [name for name, _ in calls] == ["put", "after", "write", "after", "write", "after", "put", "after"]


def test_the_parts_of_a_write_add_up_to_it() -> None:
    times = {"write": [5.0, 5.0], "put": [2.0, 4.0], "puts": [3.0, 3.0]}
    assert sum(row.ours for row in writes.parts("folder", times)) == 5
    p50, p99 = writes.compared("folder", times, writes.NO_SLOWER)
    assert p50.ratio == pytest.approx(5 / 3)
    assert p50.met is False
    assert p99.met is True


def test_as_right_on_the_server_as_here() -> None:
    samples, others = load_household(None).samples[:100], household.further(50)[1]

    def reading(text: str) -> Reading:
        return Reading(text=text, usage=Usage(prompt_tokens=10, cached_tokens=8), reader="linear")

    gold = {
        each.id: reading(f"[3] It was so. {each.answer}." if each.answerable else NOTHING)
        for each in (*samples, *others)
    }
    one, two, other = samples[0].id, samples[1].id, others[0].id
    wrong = {each: reading("x") for each in (one, two, other)}
    found = household.outcome(samples, others, {**gold, **wrong}, gold, gold)
    right, difference, right_of_others, of_others, here, computed, cached = found.rows
    assert (right.ours, right.theirs, right.n) == (98, 100, 100)
    assert (difference.ours, difference.met) == (2, False)
    assert (right_of_others.ours, right_of_others.theirs, right_of_others.n) == (98, 100, 50)
    assert (of_others.ours, of_others.met) == (2, False)
    assert (here.ours, computed.ours, computed.met) == (3, 3, False)
    assert (cached.ours, cached.met) == (80, True)
    assert all(row.met is not False for row in household.outcome(samples, others, gold, gold, gold).rows)


def test_further_households_are_others_of_the_same_size() -> None:
    bundled, (memories, samples) = load_household(None), household.further(1_008)
    assert len(samples) == 1_008
    assert not {*bundled.memories} & {*memories}
    assert not {sample.id for sample in bundled.samples} & {sample.id for sample in samples}
    told, known = ({tuple(r.text for r in each) for each in of.values()} for of in (memories, bundled.memories))
    assert not told & known
    assert {each[-1].position for each in (*memories.values(), *bundled.memories.values())} == {59}


def test_counters_are_read_from_prometheus_text() -> None:
    metrics = (
        "# HELP vllm:prefix_cache_hits_total Hits.\n"
        'vllm:prefix_cache_hits_total{engine="0",model_name="a b"} 465808.0\n'
        'vllm:prefix_cache_hits_total{engine="1"} 1e+06\n'
        'external_vllm:prefix_cache_hits_total{engine="0"} 7.0\n'
        "vllm:prefix_cache_queries_total 12.0\n"
    )
    assert counter(metrics, "vllm:prefix_cache_hits_total") == 1_465_808
    assert counter(metrics, "vllm:prefix_cache_queries_total") == 12
    assert counter(metrics, "vllm:other_total") == 0
