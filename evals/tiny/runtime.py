"""linmem-tiny in this process, without torch: onnxruntime, a token at a time, and its state as a value.

A state can be kept, saved to a file, loaded, and any number of questions can go on from it.
"""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

from evals.tiny.language import END
from linmem_langgraph.errors import UnsafeFile

FORMAT = 1
FILES = ("step.onnx", "model.safetensors", "tokenizer.json")

Array = NDArray[np.float32]


class State(NamedTuple):
    """What a model has made of the tokens it has read.

    Args:
        tokens: how many.
        transcript: what tells them from others, see `followed_by`.
        logits: of the token that comes next, (vocabulary,).
        parts: what the step takes and gives, in its order.
    """

    tokens: int
    transcript: str
    logits: Array
    parts: tuple[Array, ...]

    @property
    def bytes(self) -> int:
        """How large the parts are."""
        return sum(part.nbytes for part in self.parts)


class Runtime:
    """A model in a folder that `evals.tiny.publish` wrote.

    Raises:
        FileNotFoundError: it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fingerprint = sha256(b"".join(sha256((folder / name).read_bytes()).digest() for name in FILES)).hexdigest()
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        options = onnxruntime.SessionOptions()
        # A step is too small to share out.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(folder / "step.onnx", options, ["CPUExecutionProvider"])
        self._shapes = {put.name: put.shape for put in self._session.get_inputs()[2:]}
        self._end = self.tokenizer.token_to_id(END)

    def empty(self) -> State:
        """Before any token."""
        parts = (
            np.zeros([size if isinstance(size, int) else 0 for size in shape], np.float32)
            for shape in self._shapes.values()
        )
        return State(0, "", np.zeros(0, np.float32), tuple(parts))

    def read(self, state: State, tokens: Sequence[int]) -> State:
        """The state after more tokens."""
        logits, parts = state.logits, [*state.parts]
        for place, token in enumerate(tokens, state.tokens):
            logits, *parts = self._step(token, place, parts)
        *_, transcript = state.transcript, *followed_by(state.transcript, tokens)
        return State(state.tokens + len(tokens), transcript, logits, tuple(parts))

    def write(self, state: State, most: int) -> list[int]:
        """The likeliest token, and the likeliest after it, until the end or `most` of them."""
        said, logits, parts = list[int](), state.logits, [*state.parts]
        while len(said) < most and (token := int(logits.argmax())) != self._end:
            said.append(token)
            logits, *parts = self._step(token, state.tokens + len(said) - 1, parts)
        return said

    def save(self, state: State, file: Path) -> None:
        """Write a state to a file, whole or not at all, by way of one whose name begins with its name."""
        about = {"format": FORMAT, "model": self.fingerprint, "tokens": state.tokens, "transcript": state.transcript}
        named = dict(zip(self._shapes, state.parts, strict=True))
        content = BytesIO()
        np.savez(content, about=np.array(json.dumps(about)), logits=state.logits, **named)
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f"{file.name}.{uuid4().hex}.new")
        try:
            with partial.open("wb") as stream:
                stream.write(content.getbuffer())
                stream.flush()
                os.fsync(stream.fileno())
            with suppress(FileNotFoundError):  # forgotten meanwhile
                partial.replace(file)
        finally:
            partial.unlink(missing_ok=True)

    def load(self, file: Path) -> State:
        """A state from a file; of which transcript it is, it says.

        Raises:
            UnsafeFile: it is damaged, of a later format, or another model's.
        """
        try:
            with np.load(BytesIO(file.read_bytes()), allow_pickle=False) as content:
                about: dict[str, Any] = json.loads(str(content["about"]))
                logits, parts = content["logits"], tuple(content[name] for name in self._shapes)
            found = {name: about[name] for name in ("format", "model")}
            state = State(int(about["tokens"]), str(about["transcript"]), logits, parts)
        except Exception as exc:
            raise UnsafeFile(f"{file} is not a state ({type(exc).__name__}: {exc}): delete it") from exc
        wanted = {"format": FORMAT, "model": self.fingerprint}
        if different := next((name for name in wanted if wanted[name] != found[name]), None):
            raise UnsafeFile(
                f"{file} has the {different} {found[different]!r}, and this is {wanted[different]!r}: delete it"
            )
        if not all(map(_fits, parts, self._shapes.values())):
            raise UnsafeFile(f"{file} is not a state of this model: delete it")
        return state

    def _step(self, token: int, place: int, parts: Sequence[Array]) -> list[Array]:
        fed = dict(zip(self._shapes, parts, strict=True))
        fed |= {"token": np.array([token]), "place": np.array([place])}
        found: list[Array] = self._session.run(None, fed)
        return found


def followed_by(transcript: str, tokens: Sequence[int]) -> Iterator[str]:
    """What tells a transcript from others, after each further token: the SHA-256 of what it was, and of the token."""
    for token in tokens:
        transcript = sha256(f"{transcript}:{token}".encode()).hexdigest()
        yield transcript


def _fits(part: Array, shape: Sequence[int | str]) -> bool:
    """Whether a part has its shape; a size with a name can be any."""
    return (
        part.dtype == np.float32
        and part.ndim == len(shape)
        and all(isinstance(wanted, str) or size == wanted for size, wanted in zip(part.shape, shape, strict=True))
    )
