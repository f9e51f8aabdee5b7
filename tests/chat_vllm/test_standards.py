"""LangChain's own tests of a chat model."""

from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_tests.unit_tests import ChatModelUnitTests

from linmem_langgraph.vllm import ChatVLLM
from tests.chat_vllm.server import URL


class TestStandards(ChatModelUnitTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatVLLM

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "tiny"}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        settings = {"VLLM_API_KEY": "key", "VLLM_BASE_URL": URL}
        return settings, {"model": "tiny"}, {"openai_api_key": "key", "openai_api_base": URL}
