"""What is remembered (`MemoryRecord`) and what a read gives back (`Reading`)."""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StrictInt,
    StrictStr,
    ValidationError,
    field_validator,
    model_validator,
)

from linmem_langgraph.errors import RecordError

MAX_TEXT = 100_000
"""The longest text of one record, in characters."""

MAX_POSITION = 2**53 - 1
"""The largest position: exact in JSON and in every index."""


def _check_characters(text: str) -> None:
    if "\x00" in text:
        raise ValueError(f"NUL character at offset {text.index(chr(0))}: remove it, no store keeps it")
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise ValueError(
            f"lone surrogate {text[exc.start]!r} at offset {exc.start}: decode the text as UTF-8 with errors='replace'"
        ) from None


def clean(text: str) -> str:
    """`text` as a record can hold it, if it is not empty or too long."""
    return text.replace("\x00", "\ufffd").encode(errors="replace").decode().strip()


class MemoryRecord(BaseModel):
    """One remembered text: a caption, an utterance, a fact.

    Args:
        text: 1 to 100,000 characters, without NUL and lone surrogates, not only white space.
        position: place in time, an integer from 0: clip, session or turn number. Many records may share one.
            None = the next one, assigned when the record is written.
        key: identity within the namespace; writing a key again replaces its record. None = made when the record is
            written: from the content if it has a position, so that writing it again changes nothing; else random.
        kind: free label; "episodic" (what happened) and "semantic" (what holds) are the usual ones.
        created_at: when it happened, if the caller knows.
        metadata: JSON values by name; reads can filter on them.

    Raises:
        pydantic.ValidationError: a value is not as above.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: StrictStr
    position: StrictInt | None = Field(default=None, ge=0, le=MAX_POSITION)
    key: StrictStr | None = Field(default=None, min_length=1, max_length=512)
    kind: StrictStr = Field(default="episodic", min_length=1, max_length=64)
    created_at: datetime | None = None
    metadata: dict[str, JsonValue] = Field(default_factory=dict)

    @field_validator("text")
    @classmethod
    def _valid_text(cls, text: str) -> str:
        if not text.strip():
            raise ValueError("the text is empty: leave the record out")
        if len(text) > MAX_TEXT:
            raise ValueError(
                f"the text has {len(text):,} characters, a record holds at most {MAX_TEXT:,}: split it into several"
            )
        _check_characters(text)
        return text

    @field_validator("key", "kind")
    @classmethod
    def _valid_label(cls, label: str | None) -> str | None:
        if label is not None:
            _check_characters(label)
        return label

    @model_validator(mode="after")
    def _valid_metadata(self) -> "MemoryRecord":
        try:
            encoded = json.dumps(self.metadata, allow_nan=False, ensure_ascii=False)
        except ValueError as exc:
            raise ValueError(f"metadata must be JSON: {exc}") from None
        if len(encoded) > MAX_TEXT:
            raise ValueError(f"metadata takes {len(encoded):,} characters of JSON, at most {MAX_TEXT:,} fit")
        for value in _parts(self.metadata):
            if isinstance(value, str):
                try:
                    _check_characters(value)
                except ValueError as exc:
                    raise ValueError(f"metadata has a {exc}") from None
            elif isinstance(value, int) and not -(2**63) <= value < 2**63:
                raise ValueError(f"metadata has the integer {value}, which does not fit 64 bits: store it as text")
        return self


def is_key(key: object) -> bool:
    """Whether a record could have this key."""
    try:
        _check_characters(key if isinstance(key, str) and key else "\x00")
    except ValueError:
        return False
    return True


def _parts(value: Any) -> list[Any]:
    """The names and plain values in a JSON value."""
    if isinstance(value, dict):
        return [*value, *(part for child in value.values() for part in _parts(child))]
    if isinstance(value, list):
        return [part for child in value for part in _parts(child)]
    return [value]


def as_record(value: "MemoryRecord | str") -> MemoryRecord:
    """`value` as a record; a plain string becomes one with every default.

    Raises:
        RecordError: it is neither, or the string is not a valid text.
    """
    if isinstance(value, MemoryRecord):
        return value
    if not isinstance(value, str):
        raise RecordError(f"a record is a MemoryRecord or a string, not {type(value).__name__}: {value!r:.80}")
    try:
        return MemoryRecord(text=value)
    except ValidationError as exc:
        raise RecordError(f"cannot remember {value!r:.80}: {exc.errors()[0]['msg']}") from exc


class ScoredRecord(BaseModel):
    """A record a reading rests on; `score` is the reader's, higher is closer, None where it gives none."""

    model_config = ConfigDict(frozen=True)

    record: MemoryRecord
    score: float | None = None


class Usage(BaseModel):
    """What a read cost a language model, in tokens; all zero where none was called."""

    model_config = ConfigDict(frozen=True)

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0


def total(usages: Iterable[Usage]) -> Usage:
    """What they come to together."""
    each = list(usages)
    return Usage(
        prompt_tokens=sum(usage.prompt_tokens for usage in each),
        cached_tokens=sum(usage.cached_tokens for usage in each),
        completion_tokens=sum(usage.completion_tokens for usage in each),
    )


class Reading(BaseModel):
    """What a read returns.

    `text` is what the agent's model sees; `records` are those it rests on, best first where they have scores;
    `seconds` is wall time; `reader` is the reader's name. `model` is the language model that wrote the text, None if
    the text is the records' transcript; `invented` is how many positions it named that are not in the memory it read.
    """

    model_config = ConfigDict(frozen=True)

    text: str
    records: tuple[ScoredRecord, ...] = ()
    usage: Usage = Usage()
    seconds: float = 0.0
    reader: str
    model: str | None = None
    invented: int = 0


class ForgetReceipt(BaseModel):
    """What a `forget` removed, checked after the deed: nothing in `forgotten` is left in log or index.

    Args:
        forgotten: the keys that were in the log and are gone.
        unknown: the keys that were asked for and were not there.
        from_log: how many records went from the log.
        from_index: how many entries went from the reader's derived state.
        scrubbed: for a folder: whether the log's files hold no copy either; False while another program reads them, and
            then until the next `forget` or close.
        reader: the reader whose derived state was cleaned.
        forgotten_at: when, UTC.
    """

    model_config = ConfigDict(frozen=True)

    namespace: tuple[str, ...]
    forgotten: tuple[str, ...]
    unknown: tuple[str, ...]
    from_log: int
    from_index: int
    scrubbed: bool
    reader: str
    forgotten_at: datetime
