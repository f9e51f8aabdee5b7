"""The words linmem-tiny knows: a tokenizer in Hugging Face's format whose tokens are the household's words.

Words that go together are one token, as byte-pair encoding across words would have them: a thing ("black mug"), a place
("on the shelf"), an act ("drinks tea"). A name is two, its beginning and its end, so that one that was never seen in
training can be read and said. A position in brackets is one token. Whatever else is said to it is `<unk>`.
"""

import re
from itertools import product
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

from evals.sample.questions import NUMBERS
from evals.sample.world import ACTS, CAPTIONS, COLORS, NOUNS, PEOPLE, PLACES, ROOMS, TOPICS, at
from linmem_langgraph.readers._linear.prompt import memory_message, question_lines
from linmem_langgraph.readers.base import NOTHING, Query

PAD, UNKNOWN, END, USER, ASSISTANT = SPECIAL = ("<pad>", "<unk>", "<end>", "<user>", "<assistant>")

LIMITS = range(1, 11)
"""How many positions it can be asked to name at most."""

POSITIONS = 128
"""From [0]; a memory with later positions cannot be read."""

NAMES = dict(
    zip(
        PEOPLE,
        (
            "An-na", "Bo-b", "Cla-ra", "Da-vid", "Em-ma", "Fe-lix", "Gra-ce", "Hen-ry", "Ire-ne", "Ja-ck", "Ka-ren",
            "Le-o", "Ma-ria", "No-ah", "Ol-ga", "Pa-ul", "Qui-nn", "Ro-sa", "Si-mon", "Ti-na", "Vic-tor", "Wen-dy",
            "Yu-suf", "Zo-e",
        ),
        strict=True,
    )
)  # fmt: skip
"""The benchmark's people, and the two tokens of each name."""

BEGINNINGS, ENDS = ([*dict.fromkeys(name.split("-")[half] for name in NAMES.values())] for half in (0, 1))

TAUGHT_PEOPLE = tuple(
    name for name in (begin + end for begin, end in product(BEGINNINGS, ENDS)) if name not in frozenset(PEOPLE)
)
"""The people of the training worlds: the same beginnings and ends, put together otherwise."""

QUESTIONS = """
Where is was the thing that gave to before it who Who has had have touched last put did Did was the last to Which color
drink food does like likes person How often take What do Is in on under Does Do do not
"""

CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if message.role == 'user' -%}{{- '" + USER + "' + message.content -}}"
    "{%- elif message.role == 'assistant' -%}{{- '" + ASSISTANT + "' + message.content + '" + END + "' -}}"
    "{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '" + ASSISTANT + "' -}}{%- endif -%}"
)
"""It knows its instructions by heart: a system message is left out."""

PHRASES = (
    *(f"{color} {noun}" for color, noun in product(COLORS, NOUNS)),
    *(at(place) for place in PLACES),
    *(f"{verb} the" for verb in ("enters", "gives", "leaves", "puts", "takes")),
    *("s ".join(act.split(" ", 1)) for act in ACTS),
    *ACTS,
    "says: I like",
)
"""Words that go together."""

_PIECE = "|".join((*(rf"\b{phrase}\b" for phrase in PHRASES), r"\[\d+\]|\w+|[^\w\s]"))


def words() -> list[str]:
    """All words and marks, but for phrases, names and positions."""
    told = " ".join(CAPTIONS.values()).translate(str.maketrans("{}", "  "))
    lists = (PLACES, ROOMS, COLORS, NOUNS, NUMBERS, ("yes", "no"), *TOPICS.values(), TOPICS)
    asked = [question_lines(Query(text="Where?", limit=limit)) for limit in LIMITS]
    said = [told, *(", ".join(each) for each in lists), QUESTIONS, memory_message(""), *asked, NOTHING, ". ? , :"]
    return list(dict.fromkeys(re.findall(_PIECE, " . ".join(said))))


def tokenizer() -> Tokenizer:
    """Splits text into words, marks, positions and halves of names; puts them together as text again."""
    positions = [f"[{position}]" for position in range(POSITIONS)]
    halves = [*BEGINNINGS, *(f"##{end}" for end in ENDS)]
    tokens = dict.fromkeys([*SPECIAL, *words(), *PHRASES, *halves, *positions])
    vocabulary = {token: number for number, token in enumerate(tokens)}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token=UNKNOWN))
    made.pre_tokenizer = pre_tokenizers.Split(Regex(_PIECE), behavior="removed", invert=True)
    made.decoder = decoders.Sequence([decoders.WordPiece(prefix="##", cleanup=True), decoders.Replace(" :", ":")])
    made.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    return made


def settings() -> dict[str, Any]:
    """`tokenizer_config.json`."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "chat_template": CHAT_TEMPLATE,
        "model_max_length": 1_000_000,
        "pad_token": PAD,
        "unk_token": UNKNOWN,
        "eos_token": END,
        "clean_up_tokenization_spaces": False,
    }
