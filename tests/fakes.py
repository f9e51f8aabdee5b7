"""Embeddings that fail, wait or are of another size: for the faults no real one shows when asked."""

from threading import Event

from linmem_langgraph.embeddings import LexicalEmbeddings


class SwitchableEmbeddings(LexicalEmbeddings):
    """Lexical, and failing while `fails` is set."""

    def __init__(self, dimensions: int = 256) -> None:
        super().__init__(dimensions)
        self.fails = False

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        if self.fails:
            raise RuntimeError("the embedding server is out of memory")
        return super().embed_documents(texts)


class WaitingEmbeddings(LexicalEmbeddings):
    """Lexical; embedding of records waits until `go` is set, and then fails if `fails` is."""

    def __init__(self, dimensions: int = 256) -> None:
        super().__init__(dimensions)
        self.go = Event()
        self.waiting = Event()
        self.fails = False

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.waiting.set()
        assert self.go.wait(60)
        if self.fails:
            raise RuntimeError("waited too long")
        return super().embed_documents(texts)


class CountingEmbeddings(LexicalEmbeddings):
    """Lexical; counts the records it has embedded."""

    def __init__(self, dimensions: int = 256) -> None:
        super().__init__(dimensions)
        self.documents = 0

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.documents += len(texts)
        return super().embed_documents(texts)
