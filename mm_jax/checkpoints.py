"""Networks as folders: `config.json` beside the parameters, as orbax or safetensors.

`config.json` holds format_version, kind, name, architecture, source (the original file's name and
sha256, or null), licence, and how the parameters are stored. A folder appears whole or not at all.
Orbax and safetensors are imported here, and only when a folder needs them.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from etils import epy

from mm_jax import io
from mm_jax.errors import DataError, UsageError, first_line
from mm_jax.kinds import folder_of, wrong_kind
from mm_jax.meta import Meta
from mm_jax.nn.network import check_tree, flatten_tree
from mm_jax.stylegan2.generator import Generator

with epy.lazy_imports():
    import orbax.checkpoint as ocp
    import safetensors
    from safetensors import numpy as arrays

__all__ = [
    "Tree",
    "load_generator_dir",
    "load_network",
    "load_tree",
    "nested",
    "save_generator",
    "save_tree",
]

FORMAT_VERSION = 1
CONFIG = "config.json"
SAFETENSORS = "params.safetensors"
ORBAX = "params"

Format = Literal["orbax", "safetensors"]
PathLike = str | os.PathLike[str]
Config = TypeVar("Config")


@dataclasses.dataclass(frozen=True)
class Tree:
    """What a folder holds.

    Attributes:
        architecture: the network's configuration, plain json values.
        params: nested dictionaries of float32 arrays.
        meta: name, licence, source, and whatever else was saved along.
        ranges: scale and offset of each parameter that was stored as integers, by its path.
    """

    architecture: dict[str, Any]
    params: dict[str, Any]
    meta: dict[str, Any]
    ranges: dict[str, tuple[float, float]] = dataclasses.field(default_factory=dict)


def save_tree(
    directory: PathLike,
    kind: str,
    architecture: Mapping[str, Any],
    params: Mapping[str, Any],
    *,
    meta: Mapping[str, Any] | None = None,
    format: Format = "safetensors",
    dtype: Literal["float32", "float16"] = "float32",
    ranges: Mapping[str, Sequence[float]] | None = None,
) -> Path:
    """Writes a network's folder, replacing an older one of the same kind of folder.

    Args:
        directory: the folder to be.
        kind: "generator", "encoder", "probe", ..; `load_tree` asks for it again.
        architecture: what rebuilds the network, plain json values.
        params: nested dictionaries of floating arrays.
        meta: further json values, such as name, licence and source {file, sha256}.
        format: how the parameters are stored.
        dtype: "float16" halves a safetensors file; values are rounded and loaded as float32.
        ranges: (scale, offset) by path, such as "dense/kernel", for parameters that are whole
            multiples of a scale above an offset. In a safetensors file these take one or two bytes
            a value, and nothing is lost.

    Raises:
        UsageError: unknown format or dtype, or ranges for orbax.
        DataError: parameters that are not finite, too large for dtype or not in their ranges, or a
            folder that cannot be written or that holds something else.
    """
    if format not in ("orbax", "safetensors"):
        raise UsageError(f"format must be orbax or safetensors, got {format!r}")
    if dtype not in ("float32", "float16"):
        raise UsageError(f"dtype must be float32 or float16, got {dtype!r}")
    if format == "orbax" and dtype != "float32":
        raise UsageError("orbax folders hold float32; for float16 use safetensors")
    ranges = dict(ranges or {})
    if format == "orbax" and ranges:
        raise UsageError("orbax folders hold float32; for quantised parameters use safetensors")
    values = {path: _stored(path, leaf, dtype) for path, leaf in flatten_tree(params).items()}
    if unknown := sorted(ranges.keys() - values.keys()):
        raise DataError(f"ranges are given for {unknown[0]}, which is no parameter")
    values |= {path: _quantised(path, values[path], *ranges[path]) for path in ranges}
    metadata = {"name": Path(directory).name, "source": None, "licence": None, **(meta or {})}
    config = {
        "format_version": FORMAT_VERSION,
        "kind": kind,
        **{key: metadata.pop(key) for key in ("name", "source", "licence")},
        "architecture": dict(architecture),
        "params": {
            "format": format,
            "dtype": dtype,
            **({"ranges": {path: list(pair) for path, pair in ranges.items()}} if ranges else {}),
        },
        "meta": metadata,
    }
    with io.whole_folder(directory, mark=CONFIG, what="a network") as folder:
        io.write_json(folder / CONFIG, config)
        if format == "safetensors":
            io.write_atomic(folder / SAFETENSORS, lambda file: io.put_safetensors(file, values))
        else:
            _save_orbax(folder / ORBAX, nested(values))
    return Path(directory)


def load_tree(directory: PathLike, kind: str) -> Tree:
    """Reads a network's folder, of either format.

    Raises:
        DataError: the folder is missing, damaged, of another kind or of a newer format.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise DataError(f"{directory} is not a folder: give one with a {CONFIG}")
    config = io.read_json(directory / CONFIG)
    if not isinstance(config, dict) or not isinstance(config.get("format_version"), int):
        raise wrong_kind(directory, folder_of(kind)) or DataError(
            f"{directory / CONFIG} does not describe a network of this project"
        )
    if config["format_version"] > FORMAT_VERSION:
        raise DataError(
            f"{directory} has format version {config['format_version']}, "
            f"this program reads up to {FORMAT_VERSION}"
        )
    if config.get("kind") != kind:
        raise DataError(f"{directory} must hold a {kind}, got a {config.get('kind')}")
    if not isinstance(config.get("architecture"), dict):
        raise DataError(f"{directory / CONFIG} has no architecture")
    stored = config.get("params")
    format = stored.get("format") if isinstance(stored, dict) else None
    if format == "safetensors":
        values = _load_safetensors(directory / SAFETENSORS)
    elif format == "orbax":
        values = flatten_tree(_load_orbax(directory / ORBAX))
    else:
        raise DataError(f"{directory / CONFIG} names no known format of parameters")
    ranges = _ranges(directory / CONFIG, stored)
    values |= {
        path: _dequantised(values[path], *pair) for path, pair in ranges.items() if path in values
    }
    for path, value in values.items():
        if not np.isfinite(value).all():
            raise DataError(f"{directory}: {path} holds NaN or infinity")
    meta = {key: config.get(key) for key in ("name", "source", "licence")}
    further = config.get("meta")
    meta |= further if isinstance(further, dict) else {}
    return Tree(
        architecture=config["architecture"],
        # Converted before they are JAX's, with the type named: else a program is compiled for each
        # shape.
        params=nested(
            {p: jnp.asarray(np.asarray(v, np.float32), jnp.float32) for p, v in values.items()}
        ),
        meta={key: value for key, value in meta.items() if value is not None},
        ranges=ranges,
    )


def load_network(
    directory: PathLike,
    kind: str,
    configure: Callable[[Mapping[str, Any]], Config],
    shapes: Callable[[Config], Mapping[str, Any]],
) -> tuple[Config, dict[str, Any], Meta]:
    """Reads a network's folder and compares its parameters with its architecture.

    Args:
        directory: the folder.
        kind: as in `load_tree`.
        configure: the configuration of an architecture's plain json values.
        shapes: the tree of shapes that a configuration wants.

    Returns:
        The configuration, the parameters and the rest.

    Raises:
        DataError: as `load_tree`, or parameters or an architecture that do not fit.
    """
    tree = load_tree(directory, kind)
    try:
        config = configure(tree.architecture)
    except KeyError as error:
        raise DataError(f"{Path(directory) / CONFIG}: the architecture lacks {error}") from error
    except (TypeError, ValueError) as error:
        raise DataError(f"{Path(directory) / CONFIG}: {error}") from error
    check_tree(shapes(config), tree.params, what=str(directory))
    ranges = {"ranges": tree.ranges} if tree.ranges else {}
    return config, tree.params, Meta({**tree.meta, **ranges})


def save_generator(
    gen: Generator,
    directory: PathLike,
    *,
    format: Format = "safetensors",
    dtype: Literal["float32", "float16"] = "float32",
) -> Path:
    """Write a generator's folder; arguments and errors as in `save_tree`."""
    return gen.save(directory, format=format, dtype=dtype)


def load_generator_dir(directory: PathLike) -> Generator:
    """Open a generator's folder of either format.

    Raises:
        DataError: as `load_tree`, or parameters that do not fit the architecture.
    """
    return Generator.load_dir(directory)


def _stored(path: str, leaf: Any, dtype: str) -> np.ndarray:
    value = np.asarray(leaf)
    if not np.issubdtype(value.dtype, np.floating):
        raise DataError(f"parameter {path} must be floating point, got {value.dtype}")
    if not np.isfinite(value).all():
        raise DataError(f"parameter {path} holds NaN or infinity")
    largest = float(np.finfo(dtype).max)
    if np.abs(value).max(initial=0) > largest:
        raise DataError(f"parameter {path} exceeds {dtype}'s range of {largest:g}")
    return np.asarray(value, dtype=dtype, order="C")


def _quantised(path: str, value: np.ndarray, scale: float, offset: float) -> np.ndarray:
    """The whole numbers that `_dequantised` takes back to `value`, bit for bit."""
    steps = np.rint((value.astype(np.float64) - offset) / (scale or 1.0))
    for dtype in (np.uint8, np.uint16):
        held = steps.clip(0, np.iinfo(dtype).max).astype(dtype)
        if np.array_equal(_dequantised(held, scale, offset), value):
            return held
    raise DataError(f"parameter {path} is not in steps of {scale:g} from {offset:g}")


def _dequantised(steps: np.ndarray, scale: float, offset: float) -> np.ndarray:
    with np.errstate(over="ignore"):  # what becomes infinite is refused by name
        return (steps.astype(np.float64) * scale + offset).astype(np.float32)


def _ranges(path: Path, stored: Any) -> dict[str, tuple[float, float]]:
    held = stored.get("ranges", {})
    if not isinstance(held, dict) or not all(
        isinstance(pair, list) and len(pair) == 2 and all(type(n) in (int, float) for n in pair)
        for pair in held.values()
    ):
        raise DataError(f"{path}: ranges are not a scale and an offset for each parameter")
    return {name: (float(scale), float(offset)) for name, (scale, offset) in held.items()}


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """{"a/b/c": leaf} -> nested dictionaries, the inverse of `flatten_tree`."""
    tree: dict[str, Any] = {}
    for path, value in flat.items():
        *parents, last = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    return tree


def _load_safetensors(path: Path) -> dict[str, np.ndarray]:
    try:
        return arrays.load_file(path)
    except FileNotFoundError as error:
        raise DataError(f"cannot read {path}: no such file") from error
    except (safetensors.SafetensorError, OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} is not a readable safetensors file: {error}") from error


def _save_orbax(path: Path, tree: dict[str, Any]) -> None:
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        checkpointer.save(path, args=ocp.args.PyTreeSave(tree))


def _load_orbax(path: Path) -> dict[str, Any]:
    """As numpy arrays, so that the devices of the saving machine do not matter."""
    path = path.absolute()
    if not path.is_dir():
        raise DataError(f"cannot read {path}: no such folder")
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        try:
            shapes = checkpointer.metadata(path).item_metadata.tree
            as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), shapes)
            return checkpointer.restore(path, args=ocp.args.PyTreeRestore(restore_args=as_numpy))
        # Orbax and its storage layer raise many kinds of errors on damaged folders.
        except Exception as error:
            raise DataError(
                f"{path} is not a readable orbax folder: {first_line(error)}"
            ) from error
