"""The values in a pickled memory graph, put together without running it.

Unpickling is code execution, so nothing here unpickles: the opcodes that a graph needs are interpreted, every other one
is refused. An object becomes a `Made`, whose fields are what the file says; no class of this process is touched.

What is put together is hardly larger than the file: strings and numbers are copied out of it once, floats in a row stay
an array, and what the file refers to many times is one object. Whoever reads it on must not unroll what is shared:
`evals.m3_graphs.graph` counts.
"""

import io
import math
import pickletools
import re
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

import numpy as np

from linmem_langgraph.errors import UnsafeFile

GRAPH, NODE = "VideoGraph", "VideoGraph.Node"

_CLASSES = {(module, name) for module in ("mmagent.videograph", "videograph") for name in (GRAPH, NODE)}
_NUMPY = {
    *((f"{core}.multiarray", name) for core in ("numpy.core", "numpy._core") for name in ("_reconstruct", "scalar")),
    *((f"{core}.numeric", "_frombuffer") for core in ("numpy.core", "numpy._core")),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
}

_NUMBERS = re.compile(rb"(?:G.{8})+", re.DOTALL)
_DTYPES = re.compile(r"[<>|=]?(f[248]|[iu][1248])")
_DIMENSIONS = 2

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict}
_LITERALS = {
    *("BININT", "BININT1", "BININT2", "LONG1"),
    *("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_NEEDED = {
    *("PROTO", "FRAME", "STOP", "MEMOIZE", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET", "MARK", "TUPLE"),
    *("APPEND", "APPENDS", "SETITEM", "SETITEMS", "GLOBAL", "STACK_GLOBAL", "NEWOBJ", "REDUCE", "BUILD"),
    *_CONSTANTS,
    *_EMPTY,
    *_LITERALS,
    *_TUPLES,
}

_OPCODES = {opcode.code.encode("latin-1"): opcode for opcode in pickletools.opcodes}


class Named(NamedTuple):
    """A class or function that the file names, which is not looked up."""

    module: str
    name: str


class Made:
    """An object the file describes: what of, and its fields once they were given; those of an array are the array."""

    __slots__ = ("fields", "of")

    def __init__(self, of: Named) -> None:
        self.of = of
        self.fields: Any = None


class _Mark:
    pass


_MARK = _Mark()


def values(content: bytes, file: str) -> Any:
    """The value that is pickled: numbers, strings, bytes, None, lists, tuples, dicts and `Made`s.

    In a list, a `numpy.ndarray` (length,) stands for so many numbers.

    Raises:
        UnsafeFile: the content is not such a pickle, or not only; the message has opcode and offset.
    """
    return _Machine(content, file).run()


class _Machine:
    def __init__(self, content: bytes, file: str) -> None:
        self._content, self._file, self._stream = content, file, io.BytesIO(content)
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._at, self._name = 0, "nothing"

    def run(self) -> Any:
        while True:
            self._at = self._stream.tell()
            code = self._stream.read(1)
            if code == b"G":
                self._numbers()
                continue
            opcode = _OPCODES.get(code)
            self._name = opcode.name if opcode else repr(code)
            if opcode is None:
                self._refuse("the file is cut off" if not code else "it is no opcode")
            if opcode.name not in _NEEDED:
                self._refuse("a memory graph does not need it")
            try:
                argument = opcode.arg.reader(self._stream) if opcode.arg else None
            except (ValueError, OverflowError, UnicodeDecodeError, MemoryError) as exc:
                self._refuse(f"its argument cannot be read ({str(exc)[:80]})")
            if opcode.name == "STOP":
                return self._end()
            self._do(opcode.name, argument)

    def _end(self) -> Any:
        value = self._pop()
        if self._stack:
            self._refuse("there is more than one value")
        if self._stream.tell() != len(self._content):
            self._refuse(f"{len(self._content) - self._stream.tell():,} bytes follow")
        return value

    def _numbers(self) -> None:
        """Floats one after the other, as an array; one alone as a number."""
        self._name = "BINFLOAT"
        found = _NUMBERS.match(self._content, self._at)
        if found is None:
            self._refuse("it is cut off")
        count = (found.end() - self._at) // 9
        rows = np.frombuffer(self._content, np.uint8, 9 * count, self._at).reshape(count, 9)[:, 1:]
        numbers = np.ascontiguousarray(rows).view(">f8")[:, 0].astype(np.float64)
        self._stack.append(numbers if count > 1 else numbers.item())
        self._stream.seek(found.end())

    def _do(self, name: str, argument: Any) -> None:
        stack = self._stack
        match name:
            case "PROTO":
                if argument not in range(2, 6) or self._at:
                    self._refuse(f"protocol {argument!r} at this place; 2 to 5 at the beginning are read")
            case "FRAME":
                pass
            case "MEMOIZE":
                self._memo[len(self._memo)] = self._one(self._top())
            case "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = self._one(self._top())
            case "BINGET" | "LONG_BINGET":
                if argument not in self._memo:
                    self._refuse(f"nothing is kept as {argument}")
                stack.append(self._memo[argument])
            case "MARK":
                stack.append(_MARK)
            case "APPEND":
                item = self._top()
                stack.pop()
                self._list().append(item)
            case "APPENDS":
                items = self._since_mark()
                self._list().extend(items)
            case "SETITEM":
                given, key = self._pop(), self._pop()
                self._set([key, given])
            case "SETITEMS":
                self._set(list(map(self._one, self._since_mark())))
            case "TUPLE":
                stack.append(tuple(map(self._one, self._since_mark())))
            case "GLOBAL":
                module, _, attribute = argument.partition(" ")
                self._named(module, attribute)
            case "STACK_GLOBAL":
                attribute, module = self._pop(), self._pop()
                self._named(module, attribute)
            case "NEWOBJ":
                arguments, of = self._pop(), self._pop()
                if not isinstance(of, Named) or of not in _CLASSES or not isinstance(arguments, tuple) or arguments:
                    self._refuse("it makes something else than a graph or a node")
                stack.append(Made(of))
            case "REDUCE":
                arguments, of = self._pop(), self._pop()
                stack.append(self._reduced(of, arguments))
            case "BUILD":
                fields = self._pop()
                self._build(fields)
            case _ if name in _CONSTANTS:
                stack.append(_CONSTANTS[name])
            case _ if name in _EMPTY:
                stack.append(_EMPTY[name]())
            case _ if name in _LITERALS:
                stack.append(bytes(argument) if isinstance(argument, bytearray) else argument)
            case _:
                stack.append(tuple([self._pop() for _ in range(_TUPLES[name])][::-1]))

    def _named(self, module: Any, attribute: Any) -> None:
        if not isinstance(module, str) or not isinstance(attribute, str):
            self._refuse("it names no module and class")
        if (module, attribute) not in _CLASSES | _NUMPY:
            self._refuse(f"{module[:60]}.{attribute[:60]} is no part of a memory graph")
        self._stack.append(Named(module, attribute))

    def _set(self, pairs: list[Any]) -> None:
        made = self._top()
        if not isinstance(made, dict) or len(pairs) % 2:
            self._refuse("there is no dict with a value for each key")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            # Anything else could take for ever to hash.
            if not isinstance(key, str | int) and not (
                isinstance(key, tuple) and len(key) <= _DIMENSIONS and all(isinstance(part, int) for part in key)
            ):
                self._refuse(f"a key is a {type(key).__name__}")
            made[key] = value

    def _reduced(self, of: Any, arguments: Any) -> Any:
        """What numpy would make."""
        if not isinstance(of, Named) or of not in _NUMPY or not isinstance(arguments, tuple):
            self._refuse("it calls something")
        match of.name, arguments:
            case "dtype", (str(kind), *_) if _DTYPES.fullmatch(kind):
                made = Made(of)
                made.fields = kind
                return made
            case "_reconstruct", (Named("numpy", "ndarray"), *_):
                return Made(of)
            case "scalar", (Made() as kind, bytes(content)):
                return self._array((), kind, content).item()
            case "_frombuffer", (bytes(content), Made() as kind, tuple(shape), "C" | "F" as order):
                made = Made(of)
                made.fields = self._array(shape, kind, content, order)
                return made
        return self._refuse(f"{of.name} with these arguments is no array of numbers")

    def _build(self, fields: Any) -> None:
        made = self._pop()
        match made, fields:
            case (
                Made(of=Named(name="_reconstruct"), fields=None),
                (1, tuple(shape), Made() as kind, bool(fortran), bytes(content)),
            ):
                made.fields = self._array(shape, kind, content, "F" if fortran else "C")
            case Made(of=Named(name="dtype")), (3, "<" | ">" | "|" | "=" as order, *_) if isinstance(made.fields, str):
                made.fields = order + made.fields.lstrip("<>|=")
            case Made(of=Named(name="VideoGraph" | "VideoGraph.Node"), fields=None), dict():
                made.fields = fields
            case _:
                self._refuse("it sets fields of something else than a new graph, node or array")
        self._stack.append(made)

    def _array(self, shape: Any, kind: Made, content: bytes, order: Any = "C") -> np.ndarray:
        if kind.of.name != "dtype" or not isinstance(kind.fields, str) or not _DTYPES.fullmatch(kind.fields):
            self._refuse("an array is not of numbers")
        if len(shape) > _DIMENSIONS or not all(type(part) is int and part >= 0 for part in shape):
            self._refuse("an array has no shape of one or two dimensions")
        dtype = np.dtype(kind.fields)
        if not content:
            return np.zeros(0, dtype)
        if math.prod(shape) * dtype.itemsize != len(content):
            self._refuse(f"an array of {len(content):,} bytes has another shape than it says")
        return np.frombuffer(content, dtype).reshape(shape, order=order)

    def _list(self) -> list[Any]:
        top = self._top()
        if not isinstance(top, list):
            self._refuse("there is no list to add to")
        return top

    def _since_mark(self) -> list[Any]:
        for place in range(len(self._stack) - 1, -1, -1):
            if self._stack[place] is _MARK:
                items = self._stack[place + 1 :]
                del self._stack[place:]
                return items
        return self._refuse("there is no mark")

    def _top(self) -> Any:
        if not self._stack or self._stack[-1] is _MARK:
            self._refuse("there is no value")
        return self._stack[-1]

    def _pop(self) -> Any:
        top = self._one(self._top())
        self._stack.pop()
        return top

    def _one(self, value: Any) -> Any:
        """Anything but floats in a row, which only a list can have."""
        if isinstance(value, np.ndarray):
            self._refuse("floats in a row are in no list")
        return value

    def _refuse(self, why: str) -> NoReturn:
        raise UnsafeFile(f"{self._file} is refused: {self._name} at byte {self._at}: {why}")
