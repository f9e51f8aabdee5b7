"""What the model says in these tests, made from what it was sent."""

import re

NOTHING = "Nothing in memory matches."

_ENTRY = re.compile(r"^\[(\d+)[^\]]*\] (.*(?:\n    .*)*)", re.MULTILINE)
_FINDING = re.compile(r"^Positions (\d+) to (\d+): (.*)$", re.MULTILINE)


def entries(message: str) -> list[tuple[int, str]]:
    """The position and the text of each entry of the memory in a message."""
    memory = message.removeprefix("MEMORY:\n").rpartition("\nQuestion: ")[0]
    return [(int(position), text.replace("\n    ", " ")) for position, text in _ENTRY.findall(memory)]


def findings(message: str) -> list[tuple[int, int, str]]:
    """The first and last position and the words of each finding in a message."""
    return [(int(first), int(last), words) for first, last, words in _FINDING.findall(message)]


def question_of(message: str) -> str:
    """What follows memory or findings."""
    return message.rpartition("\nQuestion: ")[2]


def everything(message: str) -> str:
    """All entries, or all findings, one after the other."""
    if message.startswith("FINDINGS:\n"):
        return " ".join(words for _, _, words in findings(message)) or NOTHING
    # Brackets in a text would name positions.
    told = (f"{text.translate(str.maketrans('[]', '()'))} [{position}]" for position, text in entries(message))
    return "\n".join(told) or NOTHING


def positions(message: str) -> str:
    """As `everything`, but for the texts."""
    return " ".join(re.findall(r"\[\d+\]", everything(message))) or NOTHING
