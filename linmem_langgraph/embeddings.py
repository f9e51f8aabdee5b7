"""Lexical vectors: deterministic, no weights, nothing to download."""

import re
from collections import Counter
from functools import lru_cache
from hashlib import blake2b

import numpy as np
from langchain_core.embeddings import Embeddings

_WORD = re.compile(r"[^\W_]+")

_COMMON = frozenset(
    """
    a about after again all also am an and any are as at be because been before being but by can could d did do does
    doing done down for from get go got had has have having he her here him his how i if in into is it its just let
    like ll m me more most my no not now of off on one only or other our out over own re s said say says she should
    so some such t than that the their them then there these they this those to too up us ve very was we were what
    when where which while who whom whose why will with would yes you your
    """.split()
)


def content_words(text: str) -> set[str]:
    """The words of `text` in lower case, without common English ones."""
    return set(_WORD.findall(text.casefold())) - _COMMON


class LexicalEmbeddings(Embeddings):
    """Hashed words and character n-grams as unit vectors: texts are close when they share rare words.

    A text's vector depends on that text alone, so that nothing written later changes it. Without a corpus to count in,
    rarity is estimated: words from a short list of common English ones weigh a tenth, and the longer a word the more
    it weighs (Zipf's law of abbreviation). Character 3-grams let inflected forms meet ("paints", "painting"). It knows
    no meaning: "car" and "automobile" are unrelated.

    Args:
        dimensions: the vectors' length, 64 or more; collisions of the hash get rarer as it grows.
    """

    def __init__(self, dimensions: int = 1024) -> None:
        if dimensions < 64:
            raise ValueError(f"dimensions is {dimensions}: give 64 or more")
        self.dimensions = dimensions

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """A unit vector for each text."""
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        """The unit vector of `text`; of a text without words, the first axis."""
        vector = np.zeros(self.dimensions)
        for word, count in Counter(_WORD.findall(text.casefold())).items():
            # A word said twice counts a little more, not twice: sub-linear term frequency.
            weight = _rarity(word) * (1 + np.log(count))
            slots, values = _features(word, self.dimensions)
            np.add.at(vector, slots, weight * values)
        length = float(np.linalg.norm(vector))
        if length == 0.0:
            vector[0] = length = 1.0
        unit: list[float] = (vector / length).tolist()
        return unit


def _rarity(word: str) -> float:
    return 0.1 if word in _COMMON else 1.0 + 0.25 * min(len(word), 8)


@lru_cache(maxsize=50_000)
def _features(word: str, dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    """The slots of a word and of its n-grams, and their signed weights, which have unit length together."""
    padded = f"<{word}>"
    grams = [padded[i : i + 3] for i in range(len(padded) - 2)] if len(word) > 3 else []
    values = np.array([1.0] + [0.5 / max(len(grams), 1) ** 0.5] * len(grams))
    hashes = [int.from_bytes(blake2b(gram.encode(), digest_size=8).digest()) for gram in (word, *grams)]
    signs = np.array([1.0 if number & 1 else -1.0 for number in hashes])
    slots = np.array([(number >> 1) % dimensions for number in hashes])
    return slots, signs * values / np.linalg.norm(values)
