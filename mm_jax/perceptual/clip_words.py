"""Whether a CLIP can be expected to know the words of a prompt, as far as its tokenizer tells."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from mm_jax.perceptual.clip import Clip

__all__ = ["wording_notes"]

# A tokenizer of fewer tokens was made from the training captions themselves, and has each of their
# words as one token. OpenAI's has 49,408.
OF_CAPTIONS = 10_000
# A large tokenizer breaks a rare word into two or three pieces, a foreign one into more.
MANY_PIECES = 4


def wording_notes(clip: Clip, texts: Sequence[str], *, known: str = "") -> list[str]:
    """A line for each way in which texts are strange to a CLIP; none for plain ones.

    Args:
        clip: the network.
        texts: prompts.
        known: where its words are listed, for the line on words that it never saw.
    """
    words = {word: count for text in texts for word, count in clip.spec.tokenizer.words(text)}
    if clip.spec.tokenizer.vocab_size < OF_CAPTIONS:
        unseen = [word for word, count in words.items() if count != 1]
        where = f"; {known}" if known else ""
        return [f"{clip.name} never saw {_quoted(unseen)} in its training{where}"] if unseen else []
    notes = []
    if foreign := [word for word in words if not _is_latin(word)]:
        notes.append(
            f"{_quoted(foreign)}: most CLIPs were trained on English captions and hardly know "
            "words in other letters; try the prompt in English"
        )
    if broken := [w for w, count in words.items() if count >= MANY_PIECES and w not in foreign]:
        notes.append(
            f"{clip.name} breaks {_quoted(broken)} into {MANY_PIECES} pieces or more, so it hardly "
            "knows them; try common English words"
        )
    return notes


def _is_latin(word: str) -> bool:
    return all(unicodedata.name(c, "").startswith("LATIN") for c in word if c.isalpha())


def _quoted(words: Sequence[str]) -> str:
    return ", ".join(f"“{word}”" for word in words)
