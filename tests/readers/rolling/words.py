"""What the model says in these tests, made from what it was sent."""

import re

from linmem_langgraph.readers._rolling.prompt import UNCHANGED, WRITE
from linmem_langgraph.readers.base import NOTHING
from tests.http1 import Request
from tests.model_server import ModelServer, said

_ENTRY = re.compile(r"^\[(\d+)[^\]]*\] (.*(?:\n    .*)*)", re.MULTILINE)
_NOTE = re.compile(r"\n\nNOTE on positions (\d+) to (\d+):\n((?:    .*\n)+)\n")


def entries(message: str) -> list[tuple[int, str]]:
    """The position and the text of each entry of the part in a message."""
    memory = message.removeprefix("MEMORY:\n").partition("\n\n")[0]
    return [(int(position), text.replace("\n    ", " ")) for position, text in _ENTRY.findall(memory)]


def note(message: str) -> list[str]:
    """The lines of the note in a message."""
    found = _NOTE.search(message)
    lines = [line.removeprefix("    ") for line in found[3].splitlines()] if found else []
    return [] if lines == ["(empty)"] else lines


def span(message: str) -> tuple[int, int] | None:
    """What the note in a message is about."""
    found = _NOTE.search(message)
    return (int(found[1]), int(found[2])) if found else None


def question_of(message: str) -> str | None:
    """The question in a message, on its line."""
    found = re.search(r"^Question: (.*)", message, re.MULTILINE)
    return found[1] if found else None


def asks_for_a_note(message: str) -> bool:
    return message.endswith(f"\n{WRITE}")


def everything(message: str) -> str:
    """The note and all entries, a line each."""
    # Brackets in a text would name positions.
    told = [f"{text.translate(str.maketrans('[]', '()'))} [{position}]" for position, text in entries(message)]
    return "\n".join([*note(message), *told]) or (UNCHANGED if asks_for_a_note(message) else NOTHING)


def positions(message: str) -> str:
    """As `everything`, but for the texts."""
    named = re.findall(r"\[\d+\]", everything(message))
    return " ".join(named) or (UNCHANGED if asks_for_a_note(message) else NOTHING)


def calls(server: ModelServer) -> list[str]:
    """What the model was asked, in that order: the last messages."""
    return [said(request) for request in server.asked("read")]


def notes(server: ModelServer) -> list[str]:
    """The calls that ask for a note."""
    return [message for message in calls(server) if asks_for_a_note(message)]


def is_note(request: Request) -> bool:
    return request.path.endswith("/chat/completions") and asks_for_a_note(said(request))


def shown(message: str) -> list[int]:
    """The positions of the entries in a message."""
    return [position for position, _ in entries(message)]
