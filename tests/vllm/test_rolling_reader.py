"""`RollingReader` with a real server: each segment is read once, by calls that do not grow with the memory."""

from collections.abc import Iterator

import pytest
from langgraph.store.memory import InMemoryStore

from evals.vllm_cpu.server import VllmServer
from linmem_langgraph import Memory, RollingReader
from linmem_langgraph.vllm import ChatVLLM
from tests.model_server import said
from tests.proxy import Proxy
from tests.readers.rolling.words import asks_for_a_note, note, shown
from tests.vllm.reading import asked

SEGMENT, NOTE = 600, 200
"""Tokens, which are bytes here."""


@pytest.fixture
def proxy(vllm_server: VllmServer) -> Iterator[Proxy]:
    """The model's own words come through: they mean nothing, and are what is noted."""
    with Proxy(vllm_server.base_url) as proxy:
        yield proxy


@pytest.mark.parametrize("clips", [1, 25, 100])
@pytest.mark.parametrize("standing", [False, True])
def test_calls_are_segments(proxy: Proxy, clips: int, standing: bool) -> None:
    reader = RollingReader(
        ChatVLLM(base_url=proxy.base_url), standing=standing, segment_tokens=SEGMENT, note_tokens=NOTE, max_tokens=16
    )
    namespace = (f"{clips} clips", f"{standing}")
    with Memory(reader, store=InMemoryStore()) as memory:
        memory.write(namespace, [f"Somebody lifts crate {at} off the cart and looks into it." for at in range(clips)])
        memory.flush()
        before = len(asked(proxy, "read"))
        reading = memory.read(namespace, "Who lifts crate 3?")
    calls = [said(request) for request in asked(proxy, "read")]
    assert len(calls) - before == (1 if standing else len(calls))
    assert [asks_for_a_note(call) for call in calls] == [True] * (len(calls) - 1) + [False]
    assert [position for call in calls for position in shown(call)] == [*range(clips)]
    assert max(len("\n".join(note(call))) for call in calls) <= NOTE
    assert all(len(shown(call)) in (9, 10) for call in calls[:-1])
    assert reading.usage.prompt_tokens < (1 if standing else len(calls)) * (SEGMENT + NOTE + 3_000)
