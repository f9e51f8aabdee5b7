"""Which positions a model's words name."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linmem_langgraph.readers._linear.prompt import named_positions

KNOWN = range(20)

numbers = st.integers(0, 30)
dates = st.sampled_from(["", " 2023-05-08T13:56", " 2023-05-08T13:56+00:00", " 2023-05-08T13:56:59.123-11:30"])
single = st.tuples(numbers, dates).map(lambda named: (named[0], named[0], f"{named[0]}{named[1]}"))
dashes = st.sampled_from(["-", " - ", "\u2013", " \u2013 ", " to "])
ranges = (
    st.tuples(numbers, dates, dashes, numbers, dates)
    .filter(lambda named: not named[1] or named[2] != "-")  # see test_a_dash_may_follow_a_date
    .map(lambda named: (named[0], named[3], "".join(map(str, named))))
)
separators = st.sampled_from([",", ", ", " , ", ";", " and ", " & ", "  ", "\n"])
openings = st.sampled_from(["[", "[ ", "[position ", "[Positions ", "[positions\n"])


@given(st.lists(single | ranges, min_size=1, max_size=5), st.lists(separators, min_size=4, max_size=4), openings)
def test_whatever_is_named_is_read(items: list[tuple[int, int, str]], between: list[str], opening: str) -> None:
    written = [items[0][2]]
    for (_, item), gap in zip(pairwise([text for _, _, text in items]), between, strict=False):
        written += [gap, item]
    text = f"Anna lives in Oslo {opening}{''.join(written)}]. So it is."
    # A range that runs backwards names nothing.
    expected = dict.fromkeys(p for first, last, _ in items for p in range(first, last + 1) if p in KNOWN)
    named, invented = named_positions(text, KNOWN)
    assert named == list(expected)
    assert invented == {end for first, last, _ in items for end in (first, last)} - set(KNOWN)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[3]", [3]),
        ("[3, 17]", [3, 17]),
        ("[17, 3]", [17, 3]),
        ("[3] and [3] again", [3]),
        ("[3-5]", [3, 4, 5]),
        ("[3\u20135]", [3, 4, 5]),
        ("[3 to 5]", [3, 4, 5]),
        ("[3 2023-05-08T13:56]", [3]),
        ("[3 2023-05-08T13:56, 4 2023-05-08T13:57+02:00]", [3, 4]),
        ("[3 2023-05-08T13:56 - 5 2023-05-08T13:58]", [3, 4, 5]),
        ("[3 and 5]", [3, 5]),
        ("[3][4] [5]", [3, 4, 5]),
        ("[[3]]", [3]),
        ("[3\n, 4]", [3, 4]),
        ("[ 3 ]", [3]),
        ("[007]", [7]),
        ("[Position 3]", [3]),
        ("[\u0663]", [3]),  # an Arabic-Indic three is a three
    ],
)
def test_ways_to_name_positions(text: str, named: list[int]) -> None:
    assert named_positions(text, KNOWN) == (named, set())


def test_a_dash_may_follow_a_date() -> None:
    assert named_positions("[3 2023-05-08T13:56-5 2023-05-08T13:58]", KNOWN) == ([3, 4, 5], set())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3",
        "(3)",
        "[]",
        "[ ]",
        "[Anna]",
        "[sic]",
        "[3, Anna]",
        "[Anna, 3]",
        "[3rd]",
        "[3.5]",
        "[3,]",
        "[,3]",
        "[3,,4]",
        "[-3]",
        "[+3]",
        "[3:56]",
        "[0x3]",
        "[1e3]",
        "[3%]",
        "[\u00b3]",
        "[\u2462]",
        "[position]",
        "[2023-05-08]",
        "[2023-05-08T13:56]",
        "[3",
        "3]",
        "]3[",
        "{3}",
        "\uff3b3\uff3d",
        "[" + "9" * 17 + "]",
        "[" + "9" * 5_000 + "]",
        "[1-" + "9" * 17 + "]",
    ],
)
def test_brackets_around_anything_else_name_nothing(text: str) -> None:
    assert named_positions(text, KNOWN) == ([], set())


@pytest.mark.parametrize(
    ("text", "named", "invented"),
    [
        ("[99]", [], {99}),
        ("[99] [99, 99]", [], {99}),
        ("[99, 3, 98]", [3], {98, 99}),
        ("[18-99]", [18, 19], {99}),
        ("[0-9007199254740991]", [*KNOWN], {9007199254740991}),
        ("[9999999999999998-9999999999999999]", [], {9999999999999998, 9999999999999999}),
        ("[20-30]", [], {20, 30}),
    ],
)
def test_what_is_not_there_is_told_apart(text: str, named: list[int], invented: set[int]) -> None:
    assert named_positions(text, KNOWN) == (named, invented)


def test_a_range_names_only_what_there_is() -> None:
    assert named_positions("[1-9]", [1, 4, 9, 12]) == ([1, 4, 9], set())
    assert named_positions("[2-8]", [1, 4, 9, 12]) == ([4], {2, 8})
    assert named_positions("[3]", []) == ([], {3})


@given(st.text(st.sampled_from("[]0123456789 ,;-\u2013to.and&:T+positn\n\u0663")))
def test_any_words_are_read(text: str) -> None:
    named, invented = named_positions(text, KNOWN)
    assert len(named) == len(set(named))
    assert set(named) <= set(KNOWN)
    assert not invented & set(KNOWN)
    if not re.search(r"\[[^\[\]]*\d[^\[\]]*\]", text):
        assert (named, invented) == ([], set())


# A reading of quadratic time would take hours for each of these.
@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "text",
    [
        "[" * 500_000,
        "]" * 500_000,
        "[" + "1" * 500_000,
        "[" + "1," * 250_000,
        "[" + "1," * 250_000 + "x]",
        "[1" + " " * 500_000 + "x]",
        "[1" + " " * 500_000 + "2]",
        "[" + ("1" + " " * 99) * 5_000 + "x]",
        "[positions" + " " * 500_000 + "]",
        "[1 2023-05-08T" + "1" * 500_000 + "x]",
        "[1 2023-05-08T" + "1-" * 250_000 + "x]",
        "[1" + "-" * 500_000 + "]",
        "[1 to" + " to" * 150_000 + "]",
        "[3]" * 150_000,
        "[0-19]" * 80_000,
    ],
    ids=lambda text: f"{text[:16]!r}",
)
def test_no_words_take_long_to_read(text: str) -> None:
    named_positions(text, KNOWN)
