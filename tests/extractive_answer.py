"""What a reader without a model says in the place of one whose weights are random: whole records, and where they stand.

`rewrite` is for a proxy in front of a model server: the server does its work and counts its tokens, only its words are
replaced. So whatever is tested about a reading is decided by what was sent.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from linmem_langgraph.embeddings import content_words

# Where the memory, or what was found in its parts, begins in a user message; and the question.
MEMORY, FINDINGS = "MEMORY:\n", "FINDINGS:\n"
QUESTION = "\nQuestion: "
NOTHING = "Nothing in memory matches."

_RECORD = re.compile(r"\[(\d+)(?: [^\]]+)?\] (.*)", re.DOTALL)
_QUOTED = re.compile(r'"(.*?)" \[(\d+)\]')
_INDENT = "\n    "


class Quote(NamedTuple):
    """The text of a record, on one line, and its position."""

    text: str
    position: int


def answer(user_message: str, *, limit: int = 5, complete: bool = False) -> str:
    """The records that share a content word with the question, each as `"text" [position]`, a line a record.

    Args:
        user_message: `MEMORY`, a transcript, `QUESTION` and a question; or `FINDINGS`, earlier answers, and those two.
        limit: how many at most; those that share most words come first, and of equals the earlier one.
        complete: every record, in the order of the memory, whatever the question and the limit.

    Raises:
        ValueError: it is no such message.
    """
    quotes, question = _read(user_message)
    if not complete:
        wanted = content_words(question)
        shared = {quote: len(wanted & content_words(quote.text)) for quote in quotes}
        quotes = sorted(filter(shared.get, quotes), key=lambda quote: -shared[quote])[:limit]
    return "\n".join(f'"{quote.text}" [{quote.position}]' for quote in quotes) or NOTHING


def rewrite(asked: Any, answered: Any, *, limit: int = 5, complete: bool = False) -> Any:
    """`answered`, or an event of a stream, with the words of `answer`; for `Fault("rewrite", rewrite=rewrite)`.

    Usage stays as the server gave it, and so does whatever answers no question about a memory: a prime, the models.
    """
    if not asked or asked.get("max_tokens") == 1 or not (message := _user_message(asked)):
        return answered
    said = answer(message, limit=limit, complete=complete)
    return {**answered, "choices": [_choice(choice, said) for choice in answered["choices"]]}


def _choice(choice: dict[str, Any], said: str) -> dict[str, Any]:
    if "message" in choice:
        return {**choice, "message": {**choice["message"], "content": said}, "finish_reason": "stop"}
    if choice.get("finish_reason"):  # the last event of a stream has all words, those before it have none
        return {**choice, "delta": {**choice["delta"], "content": said}, "finish_reason": "stop"}
    return {**choice, "delta": {**choice["delta"], "content": ""}}


def _user_message(asked: dict[str, Any]) -> str | None:
    """The last message, if it is the user's and about a memory."""
    last = (asked.get("messages") or [{}])[-1]
    about = last.get("role") == "user" and str(last["content"]).startswith((MEMORY, FINDINGS))
    return last["content"] if about else None


def _read(user_message: str) -> tuple[list[Quote], str]:
    given, found, asked = user_message.partition(QUESTION)
    if not found or not given.startswith((MEMORY, FINDINGS)):
        raise ValueError(f"neither {MEMORY!r} nor {FINDINGS!r}, then {QUESTION!r}: {user_message[:200]!r}")
    # Later lines of the question are indented, as those of a record are; then come orders to the model.
    question = re.split(r"\n(?!    )", asked)[0]
    read = _records if given.startswith(MEMORY) else _findings
    return list(read(given)), question


def _records(given: str) -> Iterator[Quote]:
    transcript = given.removeprefix(MEMORY).rstrip("\n")
    for entry in re.split(r"\n(?!    )", transcript) if transcript else []:
        record = _RECORD.fullmatch(entry)
        if record is None:
            raise ValueError(f"not an entry of a transcript: {entry[:200]!r}")
        yield Quote(_plain(record[2].replace(_INDENT, " ")), int(record[1]))


def _findings(given: str) -> Iterator[Quote]:
    for text, position in _QUOTED.findall(given):
        yield Quote(text, int(position))


def _plain(text: str) -> str:
    """Without brackets: only the position is in some, so that no text names another one."""
    return text.translate(str.maketrans("[]", "()"))
