"""A model that keeps in this process what it has read."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.store.memory import InMemoryStore
from pydantic import PrivateAttr

from linmem_langgraph import Memory, RollingReader
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.records import Usage
from tests.readers.rolling.conftest import SEGMENT, clips


class KeepingModel(BaseChatModel):
    """Keeps every prompt; once it `asked`, it waits until it `may` answer."""

    _asked: Event = PrivateAttr(default_factory=Event)
    _may: Event = PrivateAttr(default_factory=Event)
    _kept: dict[str, list[str]] = PrivateAttr(default_factory=dict)

    @property
    def _llm_type(self) -> str:
        return "keeping"

    def prime(self, messages: Sequence[BaseMessage], *, cache_salt: str) -> Usage:
        raise NotImplementedError

    def forget(self, cache_salt: str) -> None:
        self._kept.pop(cache_salt, None)

    def get_num_tokens(self, text: str) -> int:
        return len(text)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        *,
        cache_salt: str = "",
        **kwargs: Any,
    ) -> ChatResult:
        self._asked.set()
        self._may.wait(60)
        self._kept.setdefault(cache_salt, []).append(messages[-1].text)
        return ChatResult(generations=[ChatGeneration(message=AIMessage("[0]"))])


@pytest.mark.parametrize("standing", [False, True])
def test_what_is_forgotten_during_a_read_is_in_no_state(namespace: Namespace, standing: bool) -> None:
    model, store = KeepingModel(), InMemoryStore()
    with Memory(RollingReader(KeepingModel()), store=store) as writer:
        writer.write(namespace, clips(6))
    with Memory(RollingReader(model, standing=standing, segment_tokens=SEGMENT), store=store) as memory:
        with ThreadPoolExecutor(1) as pool:
            reading = pool.submit(memory.read, namespace, "?")
            assert model._asked.wait(60)
            memory.forget(namespace, "k1")
            model._may.set()
            reading.result(60)
        assert not [prompt for prompts in model._kept.values() for prompt in prompts if "clip1 " in prompt]
        memory.read(namespace, "?")
        assert len(model._kept) == 1
