"""What a trace, a cache and a dump of the chat model tell, and that the key is in none."""

import pickle
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.load import dumps

from linmem_langgraph.vllm import ChatVLLM
from tests.chat_vllm.server import QUESTION, URL, Server, reply, search_memory


def test_a_trace_names_the_provider_and_the_model(server: Server, make: Callable[..., ChatVLLM]) -> None:
    traced: list[Any] = []

    class Tracer(BaseCallbackHandler):
        def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
            traced.append(kwargs)

    model = make(temperature=0.5, max_tokens=9, api_key="secret")
    model.served_model()
    answer = model.invoke(QUESTION, {"callbacks": [Tracer()]}, stop=["\n"])
    [run] = traced
    told = {name: value for name, value in run["metadata"].items() if name.startswith("ls_")}
    assert told == {
        "ls_integration": "langchain_chat_model",
        "ls_provider": "vllm",
        "ls_model_name": "tiny",
        "ls_model_type": "chat",
        "ls_temperature": 0.5,
        "ls_max_tokens": 9,
        "ls_stop": ["\n"],
    }
    assert run["invocation_params"]["base_url"] == URL
    assert "secret" not in repr(traced)
    assert (answer.response_metadata["model_provider"], answer.response_metadata["model_name"]) == ("vllm", "tiny")
    assert model._llm_type == "vllm-chat"


def test_a_cache_tells_servers_from_each_other(server: Server, make: Callable[..., ChatVLLM]) -> None:
    cache = InMemoryCache()
    assert make(model="tiny", cache=cache).invoke(QUESTION).text == "On the table."
    server.reply = reply("In the sink.")
    assert make(model="tiny", cache=cache).invoke(QUESTION).text == "On the table."
    for other in ({"base_url": "http://other.test/v1"}, {"extra_body": {"cache_salt": "a"}}):
        assert make(model="tiny", cache=cache, **other).invoke(QUESTION).text == "In the sink."


@pytest.mark.parametrize("from_settings", [False, True])
def test_the_key_is_not_written_down(monkeypatch: pytest.MonkeyPatch, from_settings: bool) -> None:
    if from_settings:
        monkeypatch.setenv("VLLM_API_KEY", "secret-key")
    model = ChatVLLM(model="tiny") if from_settings else ChatVLLM(model="tiny", api_key="secret-key")
    written = [
        *(repr(model), str(model), repr(model.model_dump()), model.model_dump_json(), dumps(model)),
        *(repr(model.lc_secrets), repr(model.lc_attributes), repr(model._identifying_params)),
        *(repr(model._get_invocation_params()), model._get_llm_string(), repr(model._get_ls_params())),
        repr(model.bind_tools([search_memory])),
    ]
    assert not [text for text in written if "secret-key" in text]
    assert model.root_client.api_key == "secret-key"
    with pytest.raises(TypeError, match="cannot pickle"):
        pickle.dumps(model)
