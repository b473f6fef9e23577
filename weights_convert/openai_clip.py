"""CLIP as OpenAI publishes it, with a vision transformer: a TorchScript archive or its state dict.

Queries, keys and values are one matrix there, and projections are stored the way we store them.
The file holds no words: those are the merges of byte pairs in `bpe_simple_vocab_16e6.txt.gz`, which
comes with the code. Token ids count single bytes, bytes at a word's end, merges, start and end.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from etils import epy

from mm_jax.checkpoints import nested
from mm_jax.errors import DataError
from mm_jax.perceptual.clip import clip_from_params
from mm_jax.perceptual.hugging_face import byte_pair_tokenizer
from weights_convert.builder import TableBuilder
from weights_convert.plan import Layout, Part, Plan, Request
from weights_convert.structure import is_module, state_of

with epy.lazy_imports():
    import tokenizers

__all__ = [
    "HEAD",
    "LAYOUT",
    "MEAN",
    "STD",
    "Heads",
    "infer_config",
    "is_state",
    "params_from_openai",
    "plan_state",
    "read_vocabulary",
    "split_attention",
]

_WHAT = "CLIP"
HEAD = 64
"""Width of an attention head, of all that OpenAI published and most others."""
# Metadata that stands beside the parameters and follows from their shapes, and a mask that is the
# same for all.
_METADATA = ("input_resolution", "context_length", "vocab_size")
_MASK = "attn_mask"
_START, _END = "<|startoftext|>", "<|endoftext|>"
# The published file unpacks to 3 MiB.
_MAX_TEXT = 1 << 24
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
_TOWERS = {"text_model": "transformer", "vision_model": "visual.transformer"}


class Heads(NamedTuple):
    """What shapes do not say of attention.

    Attributes:
        vision: width of a head of the vision tower.
        text: heads of the text tower; None for those of the usual width.
    """

    vision: int = HEAD
    text: int | None = None


def is_state(content: Any) -> bool:
    """Whether a content is the state dict of such a CLIP."""
    return isinstance(content, Mapping) and "visual.class_embedding" in content


def params_from_openai(
    state: Mapping[str, np.ndarray],
    *,
    activation: str = "quick_gelu",
    heads: Heads = Heads(),  # noqa: B008, it is immutable
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Hugging Face's configuration and Flax parameters of a state dict.

    Raises:
        DataError: keys or shapes that are not this layout's; every one is accounted for.
    """
    state = split_attention(state)
    config = infer_config(state, activation=activation, heads=heads)
    return config, _table(config).read(state, what=_WHAT)


def infer_config(
    state: Mapping[str, np.ndarray], *, activation: str, heads: Heads
) -> dict[str, Any]:
    """The architecture, read from the shapes of a state dict whose attention is split."""
    try:
        wide, _, patch, _ = np.shape(state["visual.conv1.weight"])
        places = int(np.shape(state["visual.positional_embedding"])[0])
        words, text = np.shape(state["token_embedding.weight"])
        length = int(np.shape(state["positional_embedding"])[0])
        projection = int(np.shape(state["visual.proj"])[1])
        widths = {
            tower: int(np.shape(state[f"{key}.resblocks.0.mlp.c_fc.weight"])[0])
            for tower, key in _TOWERS.items()
        }
    except (KeyError, ValueError, IndexError) as error:
        raise DataError(f"not the state dict of a {_WHAT}: {error}") from error
    # One place is the class token's; the others are patches, side by side.
    side = round((places - 1) ** 0.5)
    known = isinstance(heads.vision, int) and isinstance(heads.text, int | None)
    if not known or heads.vision < 1 or (heads.text is not None and heads.text < 1):
        raise DataError(f"{_WHAT} whose heads are no numbers")
    of_text = text // HEAD if heads.text is None else heads.text
    of_vision = wide // heads.vision
    if (
        side * side != places - 1
        or not patch
        or not of_text
        or not of_vision
        or wide % heads.vision
        or text % of_text
        or (heads.text is None and text % HEAD)
    ):
        raise DataError(f"{_WHAT} of a shape that is not supported")
    shared = {"projection_dim": projection, "hidden_act": activation, "layer_norm_eps": 1e-5}

    def tower(name: str, width: int, count: int) -> dict[str, Any]:
        pattern = re.escape(_TOWERS[name]) + r"\.resblocks\.\d+\.ln_1\.weight"
        return {
            **shared,
            "hidden_size": int(width),
            "intermediate_size": widths[name],
            "num_attention_heads": int(count),
            "num_hidden_layers": sum(re.fullmatch(pattern, key) is not None for key in state),
        }

    last = int(words) - 1
    ids = {"bos_token_id": last - 1, "eos_token_id": last, "pad_token_id": last}
    return {
        "model_type": "clip",
        "projection_dim": projection,
        "text_config": {
            **tower("text_model", text, of_text),
            **ids,
            "vocab_size": int(words),
            "max_position_embeddings": length,
        },
        "vision_config": {
            **tower("vision_model", wide, of_vision),
            "image_size": side * int(patch),
            "patch_size": int(patch),
        },
    }


def split_attention(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The state dict with a matrix and a bias each for queries, keys and values.

    Raises:
        DataError: one of them that does not fall into three equal parts.
    """
    parted: dict[str, np.ndarray] = {}
    for key, value in state.items():
        match = re.fullmatch(r"(.*\.attn\.)in_proj_(weight|bias)", key)
        if match is None:
            parted[key] = value
            continue
        if not value.ndim or len(value) % 3:
            raise DataError(
                f"{_WHAT}: {key} must be three equal parts, got shape {list(value.shape)}"
            )
        third = len(value) // 3
        for i, name in enumerate("qkv"):
            parted[f"{match[1]}{name}_proj.{match[2]}"] = value[i * third : (i + 1) * third]
    return parted


def read_vocabulary(path: str, *, words: int) -> Any:
    """The tokenizer of a file of merges.

    Args:
        path: `bpe_simple_vocab_16e6.txt.gz`.
        words: rows in the model's table of tokens.

    Raises:
        DataError: a file of another kind, or with too few merges.
    """
    try:
        with gzip.open(path) as file:
            text = file.read(_MAX_TEXT + 1)
        lines = text.decode("utf-8").split("\n") if len(text) <= _MAX_TEXT else []
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a readable file of merges: {error}") from error
    # Letters for bytes in the order of OpenAI's table.
    single = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    wanted = words - 2 * len(single) - 2
    # The first line names the version; the file has more merges than the models know.
    pairs = [line.split(" ") for line in lines[1 : wanted + 1]]
    merges = [(pair[0], pair[1]) for pair in pairs if len(pair) == 2]
    if wanted < 0 or len(merges) < max(wanted, len(pairs)):
        raise DataError(f"{path} does not hold the {max(wanted, 0)} merges of the model's words")
    ends = [f"{byte}</w>" for byte in single]
    known = [*single, *ends, *(one + other for one, other in merges), _START, _END]
    return byte_pair_tokenizer(
        {word: i for i, word in enumerate(known)}, merges, bos_token=_START, eos_token=_END,
        pad_token=_END, unk_token=_END,
    )  # fmt: skip


def _plan(content: Any, request: Request) -> Plan:
    state = state_of(content, what=_WHAT)
    if not request.vocabulary:
        raise DataError(
            "OpenAI's file of a CLIP holds no words: give the file of merges that lies beside its "
            "code as --vocabulary=bpe_simple_vocab_16e6.txt.gz, or use the Hugging Face folder of "
            "the same model"
        )
    activation = request.activation
    if activation == "auto":
        # Only OpenAI's own archives hold these, and their activation is known.
        if not is_module(content) and not any(name in state for name in _METADATA):
            raise DataError(
                "the state dict of a CLIP does not say its activation: add --activation=quick_gelu "
                "(OpenAI's own, and models called quickgelu) or =gelu (most of OpenCLIP's), or "
                "convert the folder that holds its open_clip_config.json"
            )
        activation = "quick_gelu"
    return plan_state(state, request, activation=activation)


def plan_state(
    state: Mapping[str, np.ndarray],
    request: Request,
    *,
    activation: str,
    heads: Heads = Heads(),  # noqa: B008, it is immutable
    mean: Sequence[float] = MEAN,
    std: Sequence[float] = STD,
    tokenizer: Callable[[], Any] | None = None,
) -> Plan:
    """The plan for a state dict.

    Args:
        state: arrays by key.
        request: gives the name, and the words where there is no tokenizer.
        activation: "quick_gelu" or "gelu".
        heads: what the shapes do not say.
        mean: of the colours that the network takes.
        std: of these, their deviation.
        tokenizer: opens the one that comes with the weights.

    Raises:
        DataError: keys or shapes that are not this layout's; every one is accounted for.
    """
    parted = split_attention(state)
    config = infer_config(parted, activation=activation, heads=heads)
    table = _table(config)
    table.check(parted, what=_WHAT)
    metadata = {
        "picture": config["vision_config"]["image_size"],
        "projection": config["projection_dim"],
        "activation": activation,
        "parameters": f"{table.parameters:,}",
    }

    def build():
        found, params = params_from_openai(state, activation=activation, heads=heads)
        words = found["text_config"]["vocab_size"]
        known = tokenizer() if tokenizer else read_vocabulary(request.vocabulary, words=words)
        return clip_from_params(
            nested(params), config=found, tokenizer=known, mean=mean, std=std,
            name=request.name,
        )  # fmt: skip

    return Plan((Part(metadata, build),))


LAYOUT = Layout("OpenAI's CLIP", _plan)


def _table(config: Mapping[str, Any]) -> TableBuilder:
    text, vision = config["text_config"], config["vision_config"]
    wide, patch = vision["hidden_size"], vision["patch_size"]
    places = (vision["image_size"] // patch) ** 2 + 1
    words, length = text["vocab_size"], text["max_position_embeddings"]
    table = TableBuilder(ignored=[*_METADATA, _MASK])
    table.add("logit_scale", "logit_scale", ())
    for name, key, width in (
        ("text_projection", "text_projection", text["hidden_size"]),
        ("visual_projection", "visual.proj", wide),
    ):
        table.add(f"{name}/kernel", key, (width, config["projection_dim"]))
    ours = "text_model/embeddings"
    table.add(
        f"{ours}/token_embedding/embedding", "token_embedding.weight", (words, text["hidden_size"])
    )
    table.add(
        f"{ours}/position_embedding/embedding",
        "positional_embedding",
        (length, text["hidden_size"]),
    )
    ours = "vision_model/embeddings"
    table.add(f"{ours}/class_embedding", "visual.class_embedding", (wide,))
    table.add(f"{ours}/position_embedding/embedding", "visual.positional_embedding", (places, wide))
    table.add_conv(f"{ours}/patch_embedding", "visual.conv1", patch, (3, wide))
    _add_norm(table, "text_model/final_layer_norm", "ln_final", text["hidden_size"])
    _add_norm(table, "vision_model/pre_layrnorm", "visual.ln_pre", wide)
    _add_norm(table, "vision_model/post_layernorm", "visual.ln_post", wide)
    for tower, key in _TOWERS.items():
        metadata = text if tower == "text_model" else vision
        for i in range(metadata["num_hidden_layers"]):
            layer = f"{tower}/encoder/layers/{i}"
            _add_layer(table, layer, f"{key}.resblocks.{i}", metadata)
    return table


def _add_layer(table: TableBuilder, ours: str, theirs: str, metadata: Mapping[str, Any]) -> None:
    width, inner = metadata["hidden_size"], metadata["intermediate_size"]
    for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
        table.add_dense(f"{ours}/self_attn/{name}", f"{theirs}.attn.{name}", (width, width))
    table.add_dense(f"{ours}/mlp/fc1", f"{theirs}.mlp.c_fc", (width, inner))
    table.add_dense(f"{ours}/mlp/fc2", f"{theirs}.mlp.c_proj", (inner, width))
    for k in (1, 2):
        _add_norm(table, f"{ours}/layer_norm{k}", f"{theirs}.ln_{k}", width)


def _add_norm(table: TableBuilder, ours: str, theirs: str, width: int) -> None:
    table.add(f"{ours}/scale", f"{theirs}.weight", (width,))
    table.add(f"{ours}/bias", f"{theirs}.bias", (width,))
