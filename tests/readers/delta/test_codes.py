"""Codes, their decoding, and keys."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linmem_langgraph.embeddings import LexicalEmbeddings
from linmem_langgraph.readers._delta import codes as module
from linmem_langgraph.readers._delta import keys as keys_module
from linmem_langgraph.readers._delta.codes import CROWDED, Codes, codes
from linmem_langgraph.readers._delta.keys import GRID, Vectors, centre, centred, on_grid, unit
from linmem_langgraph.readers._delta.state import empty
from linmem_langgraph.readers._embedder import Embedder
from linmem_langgraph.readers.delta import named_rule
from linmem_langgraph.records import MemoryRecord


def names(number: int) -> list[str]:
    return [f"key{place}" for place in range(number)]


def test_a_code_depends_on_its_key_alone() -> None:
    assert np.array_equal(codes(["b", "a", "b"], 64), codes(["a", "b"], 64)[[1, 0, 1]])
    assert not np.array_equal(*codes(["a", "b"], 64))
    # Written into files by earlier versions: it may never change.
    assert codes(["k"], 16)[0].tolist() == [-1, -1, -1, 1, 1, 1, 1, 1, -1, -1, 1, 1, -1, 1, 1, 1]


def test_codes_are_signs_without_a_pattern() -> None:
    drawn = codes(names(2_000), 512)
    assert set(np.unique(drawn)) == {-1, 1}
    assert np.abs(drawn.mean(axis=0)).max() < 0.12
    products = drawn[:200] @ drawn[200:].T / 512
    assert abs(products.mean()) < 0.001
    assert products.std() == pytest.approx(512**-0.5, rel=0.02)


def test_while_there_is_room_each_record_is_heard_alone() -> None:
    keys, signs = names(100), 256
    own = np.random.default_rng(0).normal(size=(100, 3))
    state = codes(keys, signs).T @ own
    memory = Codes(signs)

    found = memory.scores(keys, memory.decoded(keys, state))

    assert np.corrcoef(found.ravel(), own.ravel())[0, 1] > 0.99
    plain = codes(keys, signs) @ state / signs
    assert np.corrcoef(plain.ravel(), own.ravel())[0, 1] < 0.9


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 3)), min_size=1, max_size=8))
def test_what_is_kept_of_codes_changes_nothing(steps: list[tuple[int, int]]) -> None:
    """Lists of keys that grow, shrink and change, as reads with `until` and updates make them."""
    state, memory = np.random.default_rng(1).normal(size=(8, 5)), Codes(8)
    for number, changed in steps:
        keys = [*names(number)[: number // 2], *(f"{name}:{changed}" for name in names(number)[number // 2 :])]
        if keys:
            fresh = Codes(8)
            assert np.array_equal(memory.decoded(keys, state), fresh.decoded(keys, state))
            assert np.array_equal(memory.scores(keys, state), codes(keys, 8) @ state)


def test_many_records_are_neither_decoded_nor_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK", 7)
    keys, memory = names(8 * CROWDED + 1), Codes(8)
    state = np.random.default_rng(1).normal(size=(8, 5))

    scores = memory.scores(keys, memory.decoded(keys, state)[:, 0])

    assert np.allclose(scores, codes(keys, 8) @ state[:, 0] / (1.1 * len(keys)))
    assert memory._keys == []


def test_vectors_are_units_on_a_grid() -> None:
    vectors = on_grid(np.array([[3.0, 4.0], [0.0, 0.0], [1e-9, 0.0]]))
    assert np.allclose(vectors, np.array([[0.6, 0.8], [0, 0], [1, 0]]), atol=1 / GRID)
    assert np.array_equal(vectors * GRID, np.rint(vectors * GRID))


def test_a_key_is_relative_to_what_went_before_and_to_nothing_later() -> None:
    vectors = on_grid(np.random.default_rng(0).normal(size=(30, 5)) + 2)
    whole = centred(vectors, np.zeros(5), 0)

    expected = [unit(vectors[place] - vectors[:place].sum(axis=0) / (place + 8)) for place in range(30)]
    assert np.allclose(whole, np.stack(expected), atol=1 / GRID)
    assert np.array_equal(centred(vectors[:11], np.zeros(5), 0), whole[:11])
    assert np.array_equal(centred(vectors[11:], vectors[:11].sum(axis=0), 11), whole[11:])
    assert np.allclose(centre(vectors.sum(axis=0), 30), vectors.sum(axis=0) / 38)


@pytest.mark.parametrize(("rule", "relative"), [("least_squares", False), ("hebbian", True), ("delta", True)])
def test_a_query_is_relative_to_the_mean_where_keys_are(rule: str, relative: bool) -> None:
    vectors = on_grid(np.random.default_rng(0).normal(size=(30, 5)) + 2)
    state = empty(named_rule(rule, {}), 8, 5)
    state.write([MemoryRecord(text="x", key=str(number)) for number in range(30)], vectors)
    expected = unit(vectors[0] - vectors.sum(axis=0) / 38) if relative else vectors[0]
    assert np.allclose(state.query(3 * vectors[0]), expected, atol=2 / GRID)


def test_only_the_latest_vectors_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys_module, "_KEPT", 3)
    vectors = Vectors(Embedder(LexicalEmbeddings(64)))
    records = [MemoryRecord(text=f"thing{number}", key=str(number)) for number in range(5)]
    assert np.array_equal(vectors.of(records)[4:], vectors.of(records[4:]))
    assert [*vectors._kept] == ["2", "3", "4"]
