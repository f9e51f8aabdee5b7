"""What the laws are tried on. Few words, so that texts repeat and scores tie; names of every kind."""

import string

from hypothesis import strategies as st

from linmem_langgraph.records import MemoryRecord

WORDS = ("anna", "bert", "mug", "red", "blue", "shelf", "kitchen", "咖啡")
LAST = 6

texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join)
positions = st.integers(0, LAST)
kinds = st.sampled_from(["episodic", "semantic"])
metadata = st.dictionaries(st.sampled_from(["who", "loud"]), st.sampled_from(["anna", "bert", True, 3]), max_size=2)


def records(*, first: int = 0, last: int = LAST, max_size: int = 10) -> st.SearchStrategy[list[MemoryRecord]]:
    """Records at positions from `first` to `last`; equal ones among them."""
    places = st.integers(first, last)
    one = st.builds(MemoryRecord, text=texts, position=places, kind=kinds, metadata=metadata)
    return st.lists(one, max_size=max_size)


# Anything a store could trip over: separators, wildcards, escapes, look-alikes, prefixes of each other.
labels = st.one_of(
    st.sampled_from(["a", "a.b", "a%2Eb", "a%b", "%", "%linmem", ".", "..", "a b", " a", "*", "[a]", "?", "a/b", "A"]),
    st.sampled_from(
        ["é", "e\u0301", "ﬁ", "fi", "\u202e", "anna@example.org", "user-1", "user-10", "'", '"', "\\", "a\nb"]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6).filter(lambda label: bool(label.strip())),
)
namespaces = st.lists(labels, min_size=1, max_size=4).map(tuple).filter(lambda namespace: namespace[0] != "langgraph")


@st.composite
def different_namespaces(draw: st.DrawFn) -> list[tuple[str, ...]]:
    """Two to four namespaces; often one is below, or its text a beginning of, another."""
    found = [draw(namespaces)]
    for _ in range(draw(st.integers(1, 3))):
        base = draw(st.sampled_from([namespace for namespace in found if namespace]))
        letter = draw(st.sampled_from(string.ascii_lowercase + ".%"))
        near = st.sampled_from([(*base, "below"), (*base[:-1], base[-1] + letter), (letter, *base), base[:-1]])
        found.append(draw(st.one_of(namespaces, near)))
    return list(dict.fromkeys(namespace for namespace in found if namespace and namespace[0] != "langgraph"))


store_labels = labels.filter(lambda label: "." not in label and "\x00" not in label)

values = st.fixed_dictionaries(
    {"text": texts},
    optional={"n": st.integers(-5, 5), "loud": st.booleans(), "tags": st.lists(texts, max_size=2), "none": st.none()},
)
"""Of a store's items."""


@st.composite
def different_store_namespaces(draw: st.DrawFn) -> list[tuple[str, ...]]:
    """`different_namespaces` as stores take them: without dots."""
    found = draw(different_namespaces().filter(lambda namespaces: len(namespaces) > 1))
    return list(dict.fromkeys(tuple(label.replace(".", "-").replace("\x00", "0") for label in each) for each in found))
