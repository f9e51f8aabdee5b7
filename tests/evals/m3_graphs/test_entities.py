"""Who is who: transitive, in a fixed order, as of what is remembered; and tags are whole."""

from hypothesis import given
from hypothesis import strategies as st

from evals.m3_graphs.entities import about, as_characters, characters
from linmem_langgraph import MemoryRecord

NAMES = [f"{kind}_{number}" for number in range(12) for kind in ("face", "voice")]
PAIRS = st.lists(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3), max_size=12)


def told(groups: list[list[str]]) -> list[MemoryRecord]:
    """Everybody is met in the first clip; then an equivalence a clip."""
    first = MemoryRecord(text="All.", position=0, metadata={"appears": list(NAMES)})
    return [
        first,
        *(
            MemoryRecord(
                text=f"Equivalence: {', '.join(f'<{name}>' for name in group)}", position=position, kind="equivalence"
            )
            for position, group in enumerate(groups, start=1)
        ),
    ]


@given(PAIRS)
def test_equivalences_are_transitive_and_everybody_is_one_character(groups: list[list[str]]) -> None:
    found = characters(told(groups))
    owner = {name: name for name in NAMES}
    for group in groups:
        same = {owner[name] for name in group}
        owner = {name: min(same) if root in same else root for name, root in owner.items()}
    wanted = {frozenset(name for name in NAMES if owner[name] == root) for root in owner.values()}
    assert {frozenset(group) for group in found.values()} == wanted
    assert list(found) == [f"character_{number}" for number in range(len(wanted))]
    assert sorted(name for group in found.values() for name in group) == sorted(NAMES)


@given(PAIRS, st.integers(0, 12))
def test_what_comes_later_changes_nothing(groups: list[list[str]], until: int) -> None:
    records = told(groups)
    known = [record for record in records if (record.position or 0) <= until]
    assert characters(known) == characters(told(groups[:until]))


def test_they_are_numbered_as_they_are_told_and_then_as_they_are_met() -> None:
    records = told([["face_8", "voice_7"], ["face_1", "voice_0"], ["face_11", "voice_7"]])
    found = list(characters(records).values())
    assert found[:4] == [("face_8", "voice_7", "face_11"), ("face_1", "voice_0"), ("face_0",), ("voice_1",)]


def test_who_was_not_met_is_nobody() -> None:
    records = [
        MemoryRecord(text="<face_1> sits.", position=0, metadata={"appears": ["face_1"], "entities": ["face_1"]}),
        MemoryRecord(text="Equivalence: <face_1>, <face_99>", position=1, kind="equivalence"),
        MemoryRecord(text="Odd.", position=2, metadata={"appears": "face_3", "entities": [1]}),
    ]
    assert characters(records) == {"character_0": ("face_1",)}
    assert [about(record) for record in records] == [{"face_1"}, set(), set()]


def test_tags_are_replaced_as_a_whole() -> None:
    known = {"character_0": ("face_1", "voice_0"), "character_1": ("face_15",)}
    text = "<face_1> and <face_15> meet <voice_0>, <face_2>, <character_7>, <face_1x>, face_1 and < face_1>."
    assert as_characters(text, known) == (
        "<character_0> and <character_1> meet <character_0>, <face_2>, <character_7>, <face_1x>, face_1 and < face_1>."
    )
