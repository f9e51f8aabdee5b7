"""What the M3-Agent loop tells its controller. A config may name a YAML file with other wordings."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from linmem_langgraph.errors import ConfigError


class Prompts(BaseModel):
    """The wordings of one protocol.

    Args:
        system: the system message; `{question}` is replaced where it occurs.
        instruction: added before every round but the last.
        final: added in the last round, which must answer.
        empty: added when the controller's turn was empty or could not be read; unused by the m3 protocol.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    system: str
    instruction: str
    final: str
    empty: str = "Your last turn was empty. Search memory, or answer."


TOOL_CALLS = Prompts(
    system=(
        "You answer a question from a long-term memory that you can only reach with your search tool. Search before "
        "you answer. Look for one thing at a time; when the question needs several facts, find them one after the "
        "other, and use what you found to word the next search. Where records disagree, the later position holds. "
        "Answer briefly, with the fact alone. If memory does not tell after several different searches, say: not in "
        "memory."
    ),
    instruction="",
    final="No more searches are possible. Answer the question now, briefly, from what the searches have shown.",
)

M3 = Prompts(
    system=(
        "You answer a question about a video from what a memory search returns to you.\n"
        "<question>{question}</question>\n"
        "The memory holds what was seen and heard in each clip. People are named by tags such as <character_0>; to "
        "learn which tag belongs to a name, or the reverse, search for the character id."
    ),
    instruction=(
        "\n\nDecide from the knowledge above whether the question can be answered. Reply in exactly this form:\n"
        "Action: [Answer] or [Search]\nContent: the answer in a few words, or the text to search for\n"
        "Search for something that you have not searched for yet, one thing at a time."
    ),
    final=(
        "\n\nThis is the last round: the action must be [Answer]. Reply in exactly this form:\n"
        "Action: [Answer]\nContent: the best answer that the knowledge above allows, in a few words"
    ),
)

PROMPTS = {"tool_calls": TOOL_CALLS, "m3": M3}


def load_prompts(path: Path) -> Prompts:
    """The wordings in a YAML file with the fields of `Prompts`.

    Raises:
        ConfigError: the file cannot be read, or a field is missing or unknown.
    """
    try:
        import yaml
    except ImportError as exc:
        raise ConfigError("prompt files need PyYAML: pip install 'linmem-langgraph[evals]'") from exc
    try:
        return Prompts.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, yaml.YAMLError, ValidationError) as exc:
        raise ConfigError(f"prompt file {path}: {exc}") from exc
