"""What this project takes from transformers, of which versions 4 and 5 differ.

Below 5 the towers of CLIP are its Flax module; 5 removed all Flax models, so from there on they are
our own (`clip_towers`). Tokenizers are made, read and written so that both versions have the same
tokens for the same folder, and read what the other wrote.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.version import Version

from mm_jax import io
from mm_jax.errors import DataError, first_line
from mm_jax.perceptual.clip_towers import ACTIVATIONS, ClipTowers

__all__ = [
    "byte_pair_tokenizer",
    "has_flax_classes",
    "make_towers",
    "read_config",
    "read_tokenizer",
    "save_tokenizer",
    "towers_in_use",
]

_FIRST_WITHOUT_FLAX = Version("5.0.0.dev0")
_CORE = "tokenizer.json"
_ABOUT = "tokenizer_config.json"
TOKENIZER = (_CORE, "vocab.json")
_SIZES = ("hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers")
_COUNTS = {
    "text": (*_SIZES, "vocab_size", "max_position_embeddings"),
    "vision": (*_SIZES, "image_size", "patch_size"),
}


def has_flax_classes() -> bool:
    """Whether the installed transformers has Hugging Face's Flax CLIP."""
    return Version(metadata.version("transformers")) < _FIRST_WITHOUT_FLAX


def towers_in_use() -> str:
    """Which implementation of CLIP's towers this installation uses, in words."""
    version = metadata.version("transformers")
    if has_flax_classes():
        return f"Hugging Face's FlaxCLIPModule, of transformers {version}"
    return f"our own ClipTowers, as transformers {version} has no Flax"


def make_towers(config: Mapping[str, Any]) -> Any:
    """The towers of a configuration: Hugging Face's Flax module where there is one, else ours.

    Args:
        config: `CLIPConfig.to_dict()`; what it leaves out has Hugging Face's defaults.

    Raises:
        DataError: it is not the configuration of a CLIP, or of one that is not supported.
    """
    found = read_config(config)
    if not has_flax_classes():
        return ClipTowers(found)
    from transformers.models.clip.modeling_flax_clip import FlaxCLIPModule

    return FlaxCLIPModule(config=found)


def read_config(config: Any) -> Any:
    """The `transformers.CLIPConfig` of plain values.

    Raises:
        DataError: it is not the configuration of a CLIP, or says what no tower can be.
    """
    # transformers takes seconds to import: only those who use CLIP pay for it.
    from transformers.models.clip.configuration_clip import CLIPConfig

    kind = config.get("model_type") if isinstance(config, Mapping) else None
    if kind != "clip":
        raise DataError(f"the configuration must be of model_type 'clip', got {kind!r}")
    try:
        found = CLIPConfig.from_dict(dict(config))
    except Exception as error:  # each version has its own kinds of errors for wrong values
        text = " ".join(str(error).split())[:200]
        raise DataError(f"the configuration is not that of a CLIP: {text}") from error
    _check_count("projection_dim", found.projection_dim)
    for name, tower in (("text", found.text_config), ("vision", found.vision_config)):
        for count in _COUNTS[name]:
            _check_count(f"{count} of the {name} tower", getattr(tower, count))
        if tower.hidden_size % tower.num_attention_heads:
            raise DataError(
                f"hidden_size of the {name} tower must be a multiple of its "
                f"{tower.num_attention_heads} heads, got {tower.hidden_size}"
            )
        if tower.hidden_act not in ACTIVATIONS:
            raise DataError(
                f"hidden_act of the {name} tower must be one of {', '.join(ACTIVATIONS)}, got "
                f"{tower.hidden_act!r}"
            )
    return found


def _check_count(what: str, value: Any) -> None:
    if not isinstance(value, int) or value < 1:
        raise DataError(f"{what} must be a whole number of at least 1, got {value!r}")


def byte_pair_tokenizer(
    vocab: Mapping[str, int], merges: Sequence[tuple[str, str]], **settings: Any
) -> Any:
    """CLIP's kind of tokenizer, a `transformers.CLIPTokenizerFast`.

    Args:
        vocab: token -> id.
        merges: pairs of tokens that become one, in their order.
        settings: what the class takes besides, such as `model_max_length`.
    """
    from transformers import CLIPTokenizerFast

    make: Any = CLIPTokenizerFast
    if not has_flax_classes():
        return make(vocab=dict(vocab), merges=list(merges), **settings)
    with tempfile.TemporaryDirectory(prefix="mm-jax-") as folder:
        words, pairs = Path(folder, "vocab.json"), Path(folder, "merges.txt")
        io.write_json(words, dict(vocab))
        lines = ["#version: 0.2", *(" ".join(pair) for pair in merges), ""]
        pairs.write_text("\n".join(lines), encoding="utf-8")
        return make(str(words), str(pairs), **settings)


def read_tokenizer(folder: Path) -> Any:
    """The tokenizer of a folder, without a network.

    Raises:
        DataError: it has none, or one that cannot be read.
    """
    if not any((folder / file).is_file() for file in TOKENIZER):
        raise DataError(f"{folder} is not a CLIP folder: it lacks {' or '.join(TOKENIZER)}")
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    # By the name of the class, 5 would build CLIP's usual tokenizer in place of the one that the
    # file describes.
    as_described = (folder / _CORE).is_file() and not has_flax_classes()
    reader: Any = PreTrainedTokenizerFast if as_described else AutoTokenizer
    try:
        return reader.from_pretrained(folder, local_files_only=True, use_fast=True)
    except Exception as error:  # the tokenizers library raises bare Exception on a corrupt file
        raise DataError(f"{folder}: the tokenizer cannot be read: {first_line(error)}") from error


def save_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Write a tokenizer's files so that any version of transformers reads them."""
    tokenizer.save_pretrained(folder)
    about = io.read_json(folder / _ABOUT)
    if about.get("tokenizer_class") == "TokenizersBackend":  # a name that only 5 knows
        io.write_json(folder / _ABOUT, {**about, "tokenizer_class": "PreTrainedTokenizerFast"})
