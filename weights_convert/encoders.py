"""Files of pSp, e4e and ReStyle: `{'state_dict', 'opts', 'latent_avg'}` with encoder and decoder.

The decoder is a generator in rosinality's layout (`weights_convert.rosinality`). What kind of
encoder it is stands in the options; all sizes are read from the weights, and options that say
otherwise are refused.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from mm_jax.encoders.encoder import make_encoder
from mm_jax.encoders.psp import StyleEncoderConfig
from mm_jax.errors import DataError, UsageError
from weights_convert.builder import TableBuilder
from weights_convert.irse50 import body_table, fold_body, infer_body
from weights_convert.plan import Layout, Part, Plan, Request
from weights_convert.rosinality import params_from_rosinality, plan_state
from weights_convert.structure import arrays
from weights_convert.table import listed

__all__ = ["LAYOUT", "ForeignEncoder", "encoder_from_checkpoint", "encoder_table"]

_KINDS = {
    "GradualStyleEncoder": "psp",
    "Encoder4Editing": "e4e",
    "BackboneEncoder": "restyle_psp",
    "ProgressiveBackboneEncoder": "restyle_e4e",
}
# What training leaves in a file beside the network.
_TRAINING = (
    "best_val_loss",
    "discriminator_optimizer_state_dict",
    "discriminator_state_dict",
    "global_step",
    "optimizer",
)


@dataclasses.dataclass(frozen=True, eq=False)
class ForeignEncoder:
    """What a file holds.

    Attributes:
        config: the encoder's architecture.
        params: the encoder's parameters.
        decoder: the generator's state dict, in rosinality's layout.
        latent_avg: [D], the generator's mean code; None where the file does not say.
    """

    config: StyleEncoderConfig
    params: dict[str, Any]
    decoder: dict[str, np.ndarray]
    latent_avg: np.ndarray | None


def encoder_from_checkpoint(checkpoint: Mapping[str, Any]) -> ForeignEncoder:
    """The encoder and the decoder of a file's content.

    Raises:
        DataError: an entry, a key or a shape that is not this layout's, a kind of encoder that is
            not supported, or options that contradict the weights.
    """
    config, encoder, decoder = _open(checkpoint)
    params = _encoder_params(config, encoder)
    rows = _mean_rows(config, checkpoint.get("latent_avg"), checkpoint["opts"], decoder)
    return ForeignEncoder(
        config=config,
        params={**params, "latent_avg": rows},
        decoder=decoder,
        latent_avg=_decoder_mean(config, checkpoint),
    )


def _plan(content: Any, request: Request) -> Plan:
    if not isinstance(content, Mapping):
        raise DataError(f"an encoder's file holds names and values, not a {type(content).__name__}")
    config, encoder, decoder = _open(content)
    table = encoder_table(config)
    table.check(encoder, what=_what(config.kind))

    def build():
        found = encoder_from_checkpoint(content)
        return make_encoder(found.config, found.params, meta={"name": request.name})

    metadata = {
        "kind": config.kind,
        "pictures": f"{config.resolution} px",
        "codes": f"{config.rows} x {config.width}",
        "parameters": f"{table.parameters:,}",
    }
    mean = _decoder_mean(config, content)
    generator, notes = plan_state(decoder, mean, request, folder="generator")
    if aside := [name for name in _TRAINING if name in content]:
        notes += (f"left aside: {listed(aside)}",)
    if (
        mean is not None
        and np.ptp(np.asarray(content["latent_avg"]).reshape(-1, config.width), 0).any()
    ):
        notes += ("the rows of latent_avg differ: the generator's mean is their average",)
    return Plan((Part(metadata, build, "encoder"), generator), notes)


LAYOUT = Layout("encoder of pSp, e4e or ReStyle with its generator", _plan)


def _what(kind: str) -> str:
    return f"{kind} encoder"


def _open(
    checkpoint: Mapping[str, Any],
) -> tuple[StyleEncoderConfig, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The encoder's architecture, and the state dicts of encoder and decoder."""
    state, opts = _entries(checkpoint)
    kind = _kind(opts)
    parts: dict[str, dict[str, np.ndarray]] = {"encoder": {}, "decoder": {}}
    for key, value in arrays(state, what=_what(kind)).items():
        part, _, rest = key.partition(".")
        if part not in parts:
            raise DataError(f"{_what(kind)} has keys that are not in its table: {key}")
        parts[part][rest] = value
    for part, keys in parts.items():
        if not keys:
            raise DataError(f"the {_what(kind)}'s file has no {part}")
    config = _infer_config(kind, parts["encoder"], _what(kind))
    _check_opts(config, opts)
    return config, parts["encoder"], parts["decoder"]


def _entries(checkpoint: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    for name in ("state_dict", "opts"):
        if not isinstance(checkpoint.get(name), Mapping):
            raise DataError(
                f"not the file of a pSp, e4e or ReStyle encoder: {name} is missing or no dictionary"
            )
    known = {"state_dict", "opts", "latent_avg", *_TRAINING}
    if unknown := sorted(str(name) for name in checkpoint if name not in known):
        raise DataError(f"the encoder's file has unknown entries: {', '.join(unknown)}")
    return checkpoint["state_dict"], checkpoint["opts"]


def _kind(opts: Mapping[str, Any]) -> str:
    name = opts.get("encoder_type")
    if name not in _KINDS:
        raise DataError(f"the options' encoder_type is {name!r}, supported are {', '.join(_KINDS)}")
    # Cars are 256 pixels wide and 192 high: these networks run on them, but all else wants squares.
    if "cars" in str(opts.get("dataset_type", "")):
        raise DataError(f"encoders of {opts['dataset_type']} images, not square, are unsupported")
    return _KINDS[name]


def _infer_config(kind: str, encoder: Mapping[str, np.ndarray], what: str) -> StyleEncoderConfig:
    body = infer_body(encoder, what=what)

    def count(pattern: str) -> int:
        return sum(re.fullmatch(pattern, key) is not None for key in encoder)

    try:
        # The first head halves the body's last map until one pixel is left.
        side = 2 ** count(r"styles\.0\.convs\.\d+\.weight")
        return StyleEncoderConfig(
            kind=kind,
            body=body,
            resolution=side * body.shrink,
            rows=count(r"styles\.\d+\.linear\.weight"),
            width=int(np.shape(encoder["styles.0.linear.weight"])[0]),
        )
    except (KeyError, IndexError) as error:
        raise DataError(f"not the state dict of the {what}: {error}") from error
    except UsageError as error:
        raise DataError(f"{what} of a shape that is not supported: {error}") from error


def _check_opts(config: StyleEncoderConfig, opts: Mapping[str, Any]) -> None:
    """Old files lack the size of the images; e4e has another name for it."""
    if opts.get("learn_in_w"):
        raise DataError("encoders into W (learn_in_w) are not supported")
    size = opts.get("output_size", opts.get("stylegan_size"))
    if size is not None and (
        not isinstance(size, int) or config.rows != 2 * (size.bit_length() - 1) - 2
    ):
        raise DataError(f"the options say images of {size}, the encoder has {config.rows} rows")


def encoder_table(config: StyleEncoderConfig) -> TableBuilder:
    """Every key of an encoder; paths are ours, but for the normalisations of its body."""
    table = body_table(config.body)
    features, width = config.body.channels, config.width
    if config.has_pyramid:
        for i in range(2):
            channels = (features[-2 - i], features[-1])
            table.add_conv(f"lateral{i}", f"latlayer{i + 1}", 1, channels, bias=True)
    for row in range(config.rows):
        before = features[-1]
        for j in range(config.convs(row)):
            key = f"styles.{row}.convs.{2 * j}"  # a leaky ReLU stands between any two
            table.add_conv(f"head{row}/conv{j}", key, 3, (before, width), bias=True)
            before = width
        table.add_dense(f"head{row}/linear", f"styles.{row}.linear", (width, width))
    return table


def _encoder_params(
    config: StyleEncoderConfig, encoder: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    tree = encoder_table(config).read(encoder, what=_what(config.kind))
    tree["body"] = fold_body(config.body, tree)
    for row in range(config.rows):
        linear = tree[f"head{row}"]["linear"]
        # Their linear layer is equalised: scaled at run time by one over the root of its width.
        linear["kernel"] = linear["kernel"] * np.float32(config.width**-0.5)
    return tree


def _decoder_mean(config: StyleEncoderConfig, checkpoint: Mapping[str, Any]) -> np.ndarray | None:
    """[D], the average of the stored rows."""
    if checkpoint.get("latent_avg") is None:
        return None
    rows = _stored_rows(config, checkpoint["latent_avg"])
    return rows.mean(axis=0, dtype=np.float64).astype(np.float32)


def _stored_rows(config: StyleEncoderConfig, latent_avg: Any) -> np.ndarray:
    """[L, D] or [1, D] or [D] as [L, D]."""
    shape = (config.rows, config.width)
    mean = np.asarray(latent_avg)
    if mean.shape not in (shape, (1, config.width), (config.width,)):
        raise DataError(
            f"latent_avg must be {list(shape)} or [1, {config.width}], got {list(mean.shape)}"
        )
    if mean.dtype.kind != "f" or not np.isfinite(mean).all():
        raise DataError("latent_avg holds something other than finite numbers")
    return np.ascontiguousarray(np.broadcast_to(mean, shape), np.float32)


def _mean_rows(
    config: StyleEncoderConfig,
    latent_avg: Any,
    opts: Mapping[str, Any],
    decoder: Mapping[str, np.ndarray],
) -> np.ndarray:
    """[L, D] that the encoder's outputs are added to."""
    if latent_avg is not None:
        return _stored_rows(config, latent_avg)
    if config.iterative or opts.get("start_from_latent_avg"):
        mean = params_from_rosinality(decoder, latent_avg=None)[1]["mapping"]["w_avg"]
    else:
        mean = np.zeros(config.width)
    return _stored_rows(config, mean)
