"""Lexical vectors."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linmem_langgraph.embeddings import LexicalEmbeddings, content_words


def similarity(one: str, other: str) -> float:
    first, second = LexicalEmbeddings().embed_documents([one, other])
    return float(np.dot(first, second))


@given(st.text(max_size=30))
def test_every_text_has_a_unit_vector(text: str) -> None:
    vector = np.array(LexicalEmbeddings(64).embed_query(text))
    assert vector.shape == (64,)
    assert np.isfinite(vector).all()
    assert np.linalg.norm(vector) == pytest.approx(1)


def test_a_vector_depends_on_its_text_alone() -> None:
    embeddings = LexicalEmbeddings()
    alone = embeddings.embed_documents(["the red mug"])[0]
    assert embeddings.embed_documents(["a blue coat", "the red mug", "the red mug"])[1:] == [alone, alone]
    assert embeddings.embed_query("the red mug") == alone


def test_another_process_gives_the_same_vector() -> None:
    code = "from linmem_langgraph.embeddings import LexicalEmbeddings as E; print(E(64).embed_query('Ännas mug, 咖啡'))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "99"}
    )
    assert done.stdout.strip() == str(LexicalEmbeddings(64).embed_query("Ännas mug, 咖啡"))


@pytest.mark.parametrize(
    ("query", "closer", "farther"),
    [
        ("where is the telescope", "the telescope stands in the attic", "where is the one that he had"),
        ("painting", "she paints a landscape", "she eats an apple"),
        ("Anna's MUG", "anna has a mug", "bert has a coat"),
        ("the red mug", "the red mug", "the red mugs and cups"),
    ],
)
def test_rare_and_related_words_count(query: str, closer: str, farther: str) -> None:
    assert similarity(query, closer) > similarity(query, farther) + 0.05


def test_too_few_dimensions_are_refused() -> None:
    with pytest.raises(ValueError, match="dimensions is 63"):
        LexicalEmbeddings(63)


def test_content_words() -> None:
    assert content_words("Where did ANNA put the red_mug?") == {"anna", "put", "red", "mug"}
