"""The bundled CLIP's tokenizer: byte-level BPE in CLIP's own files, learnt from the captions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tokenizers

from mm_jax.io import write_atomic, write_json
from mm_jax.perceptual.hugging_face import byte_pair_tokenizer

__all__ = ["CONTEXT", "VOCAB_SIZE", "make_tokenizer"]

START, END = "<|startoftext|>", "<|endoftext|>"
#: Tokens at most: 512 for single bytes, so that any text can be read, and enough merges to make
#: every word of the captions one token.
VOCAB_SIZE = 1400
#: Tokens of a text at most, start and end included.
CONTEXT = 48


def make_tokenizer(texts: Sequence[str], folder: Path) -> Any:
    """Learn the merges from ``texts``, write `vocab.json` and `merges.txt`, and open them with HF.

    The end token gets the highest id: where a configuration says ``eos_token_id=2`` (a legacy of
    the first published files), the position of the highest id is taken for the end of the text.

    Returns:
        A `transformers.CLIPTokenizerFast`.
    """
    pre_tokenizers = tokenizers.pre_tokenizers
    learner = tokenizers.Tokenizer(tokenizers.models.BPE(end_of_word_suffix="</w>", unk_token=END))
    learner.normalizer = tokenizers.normalizers.Lowercase()
    words = tokenizers.Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(words, behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE - 2,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    learner.train_from_iterator(sorted(texts), trainer)
    learnt = json.loads(learner.to_str())["model"]
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in learnt["merges"]]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    entries = [*alphabet, *(f"{letter}</w>" for letter in alphabet)]
    entries += [merge.replace(" ", "") for merge in merges]
    vocab = {token: number for number, token in enumerate([*entries, START, END])}
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "vocab.json", vocab)
    text = "#version: 0.2\n" + "\n".join(merges) + "\n"
    write_atomic(folder / "merges.txt", lambda file: file.write(text.encode()) and None)
    pairs = [(one, other) for one, other in (merge.split(" ") for merge in merges)]
    return byte_pair_tokenizer(vocab, pairs, model_max_length=CONTEXT)
