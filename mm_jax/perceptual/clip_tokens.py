"""Texts to the token ids that a CLIP text tower reads."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from mm_jax.errors import DataError, UsageError

__all__ = ["LEGACY_END", "ClipTokenizer"]

#: In configurations older than transformers' change 24773 (OpenAI's own among them) the end token
#: is recorded as 2, wrongly; models then take the highest id of a text as its end.
LEGACY_END = 2


class ClipTokenizer:
    """A Hugging Face tokenizer, made to fit one text tower; compares and hashes by content.

    The text tower is causal and reads its output at the first end token, so nothing behind that
    token has any influence. Texts are therefore filled up with the end token itself: that is right
    whether the end is found by its id or, in the legacy layout, as the highest id of the text.
    """

    def __init__(self, tokenizer: Any, *, end_id: int, vocab_size: int, context_length: int):
        """Wrap a fast tokenizer.

        Args:
            tokenizer: a `transformers.PreTrainedTokenizerFast`.
            end_id: the text configuration's `eos_token_id`.
            vocab_size: number of rows in the model's table of tokens.
            context_length: T, tokens in a text with the start and the end token.

        Raises:
            DataError: the tokenizer's end token is not the one where the model reads its output.
        """
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise DataError(f"{type(tokenizer).__name__} is not a fast tokenizer (tokenizer.json)")
        self.tokenizer = tokenizer
        self.context_length = context_length
        self.vocab_size = vocab_size
        # A copy, since the stored settings may fill up or cut off texts, which is done here.
        self._backend = type(backend).from_str(backend.to_str())
        self._backend.no_padding()
        self._backend.no_truncation()
        self.fingerprint: str = hashlib.sha256(self._backend.to_str().encode("utf-8")).hexdigest()
        # The ids of the fixed frame around a text tell the end token without relying on its name.
        frame = self._encode([""])[0]
        if not frame:
            raise DataError("the tokenizer puts no end token behind a text")
        self.end_id: int = int(frame[-1])
        if end_id == LEGACY_END:
            highest = max(tokenizer.get_vocab().values())
            if self.end_id != highest:
                raise DataError(
                    "the text config's eos_token_id is 2 (legacy: the highest id ends a text), but "
                    f"the tokenizer ends texts with id {self.end_id} and its highest is {highest}"
                )
        elif self.end_id != end_id:
            raise DataError(
                f"the tokenizer ends texts with id {self.end_id}, but the text config's "
                f"eos_token_id is {end_id}"
            )

    def _encode(self, texts: list[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self._backend.encode_batch(texts)]

    def __call__(self, texts: Sequence[str], *, cut: bool = False) -> np.ndarray:
        """The ids of texts: [M, T] int32, filled up with the end token.

        Args:
            texts: M strings.
            cut: whether texts that are too long are cut, or refused.

        Raises:
            UsageError: `texts` is not a non-empty sequence of strings, or a text is too long.
            DataError: the tokenizer knows tokens that the model has no row for.
        """
        if isinstance(texts, str):
            raise UsageError(f"texts must be a list of strings, got the single string {texts!r}")
        texts = list(texts)
        if not texts:
            raise UsageError("texts must hold at least one text, got none")
        for text in texts:
            if not isinstance(text, str):
                raise UsageError(f"texts must be strings, got {text!r} ({type(text).__name__})")
        ids = np.full((len(texts), self.context_length), self.end_id, np.int32)
        for row, (text, found) in enumerate(zip(texts, self._encode(texts), strict=True)):
            if cut:
                # The last place stays the end token's, with which the row is filled.
                found = found[: self.context_length - 1]
            if len(found) > self.context_length:
                raise UsageError(
                    f"the text {text[:40]!r}... has {len(found)} tokens, the model reads at most "
                    f"{self.context_length}"
                )
            if max(found) >= self.vocab_size:
                raise DataError(
                    f"the tokenizer gives id {max(found)}, the model knows {self.vocab_size} tokens"
                )
            ids[row, : len(found)] = found
        return ids

    def words(self, text: str) -> list[tuple[str, int]]:
        """The words of a text and into how many tokens each is broken; 0 for an unknown one.

        Words are runs of letters; digits and punctuation are left out.
        """
        encoding = self._backend.encode(text, add_special_tokens=False)
        unknown = self.tokenizer.unk_token_id
        found: dict[int, tuple[int, int, int]] = {}
        for word, token, (start, stop) in zip(
            encoding.word_ids, encoding.ids, encoding.offsets, strict=True
        ):
            first, last, count = found.get(word, (start, stop, 0))
            count = 0 if token == unknown else count + 1
            found[word] = min(first, start), max(last, stop), count
        spelled = [(text[first:last].strip(), count) for first, last, count in found.values()]
        return [(word, count) for word, count in spelled if any(map(str.isalpha, word))]

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, ClipTokenizer)
            and self.fingerprint == other.fingerprint
            and self.context_length == other.context_length
        )

    def __hash__(self) -> int:
        return hash((self.fingerprint, self.context_length))
