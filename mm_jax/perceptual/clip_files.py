"""CLIP folders in Hugging Face's layout: reading them without torch, and writing them.

The weights may be in PyTorch's or in Flax's naming, as safetensors (one file or shards), or Flax
msgpack. Each parameter that the network has is looked up under an explicit rule; a parameter that
is missing, of another shape, or not known to the network is an error, never a warning.
"""

from __future__ import annotations

import os
import re
import socket
import urllib.parse
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from mm_jax import zoo
from mm_jax.errors import DataError, UsageError, first_line
from mm_jax.io import put_safetensors, read_json, write_atomic, write_json
from mm_jax.kinds import described
from mm_jax.perceptual.clip import Clip, clip_from_params, clip_module
from mm_jax.perceptual.hugging_face import read_tokenizer, save_tokenizer

__all__ = ["check_kind", "has_weights", "load_clip", "save_clip", "torch_tensors"]

WEIGHTS = "model.safetensors"
SHARDS = "model.safetensors.index.json"
MSGPACK = "flax_model.msgpack"
PICKLED = "pytorch_model.bin"
CONFIG = "config.json"
PREPROCESSOR = "preprocessor_config.json"
_ALL_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")

# Seconds in which a network answers.
_PATIENCE = 5.0
_HUB_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")
# Buffers, not parameters, that older PyTorch files hold: 0, 1, 2, ...
_BUFFER = "position_ids"
# Flax's leaf name -> PyTorch's, whose order of axes is then turned round for kernels.
_LEAF = {"kernel": "weight", "scale": "weight", "embedding": "weight"}


def load_clip(
    name_or_dir: str | os.PathLike[str], *, stored: Mapping[str, Any] | None = None
) -> Clip:
    """Load a CLIP for inference, in float32, without torch.

    Args:
        name_or_dir: a folder in Hugging Face's layout (config.json, preprocessor_config.json,
            tokenizer files, and model.safetensors or flax_model.msgpack), the name of a bundled
            CLIP, or a hub id such as "openai/clip-vit-base-patch32" (downloaded once, then cached).
        stored: weights by PyTorch's names, in place of the folder's files of weights.

    Raises:
        UsageError: no such folder, and no bundled model has this name.
        DataError: the folder lacks a file or one is corrupt, weights do not match the
            configuration, the tokenizer does not fit, or the hub cannot be reached.
    """
    folder = _find(name_or_dir)
    config = _read_object(folder / CONFIG)
    check_kind(config, folder)
    preprocessor = _read_object(folder / PREPROCESSOR)
    try:
        module = clip_module(config)
        return clip_from_params(
            _read_params(folder, module, stored),
            config=config,
            tokenizer=read_tokenizer(folder),
            mean=preprocessor.get("image_mean", ()),
            std=preprocessor.get("image_std", ()),
            name=os.fspath(name_or_dir),
        )
    except DataError as error:
        where = str(folder)
        text = str(error)
        raise DataError(text if where in text else f"{where}: {text}") from error


def save_clip(clip: Clip, folder: str | os.PathLike[str], *, dtype: str = "float32") -> Path:
    """Write a CLIP as a Hugging Face folder with PyTorch-named safetensors.

    Any version of transformers reads it, with or without torch.

    Args:
        clip: what to write.
        folder: made if it does not exist; files of the same names are replaced.
        dtype: "float32" or "float16", of the stored weights.

    Raises:
        UsageError: another dtype.
        DataError: the folder cannot be written.
    """
    if dtype not in ("float32", "float16"):
        raise UsageError(f"dtype must be float32 or float16, got {dtype!r}")
    folder = Path(folder)
    tensors = torch_tensors(clip, dtype=dtype)
    size = clip.image_size
    write_json(folder / CONFIG, {**clip.spec.config, "dtype": dtype})
    write_json(
        folder / PREPROCESSOR,
        {
            "image_processor_type": "CLIPImageProcessor",
            "image_mean": list(clip.spec.mean),
            "image_std": list(clip.spec.std),
            "do_resize": True,
            "size": {"shortest_edge": size},
            "do_center_crop": True,
            "crop_size": {"height": size, "width": size},
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": True,
        },
    )
    save_tokenizer(clip.spec.tokenizer.tokenizer, folder)
    # Last: a folder with weights is a complete one.
    write_atomic(
        folder / WEIGHTS, lambda file: put_safetensors(file, tensors, metadata={"format": "pt"})
    )
    return folder


def torch_tensors(clip: Clip, *, dtype: str = "float32") -> dict[str, np.ndarray]:
    """The parameters by PyTorch's names and in its order of axes."""
    pairs = (
        _to_torch(path, np.asarray(value, dtype))
        for path, value in flatten_dict(dict(clip.params)).items()
    )
    return {key: np.array(array, order="C") for key, array in pairs}


def _find(name_or_dir: str | os.PathLike[str]) -> Path:
    name = os.fspath(name_or_dir)
    if _HUB_ID.fullmatch(name) and not Path(name).exists():
        return _from_hub(name)
    return zoo.resolve(name, "clip")


def _from_hub(name: str) -> Path:
    """The folder of a hub model in the local cache, downloading what is needed of it.

    Without a network only the cache is looked at: the hub's library would try for half a minute.
    """
    from huggingface_hub import constants
    from transformers.utils.hub import cached_file

    hub = urllib.parse.urlsplit(constants.ENDPOINT)
    offline = not _is_near(hub.hostname or "", hub.port or 443)

    def fetch(file: str, *, required: bool) -> str | None:
        return cached_file(
            name,
            file,
            _raise_exceptions_for_missing_entries=required,
            _raise_exceptions_for_connection_errors=required,
            local_files_only=offline,
        )

    try:
        config = fetch(CONFIG, required=True)
        fetch(PREPROCESSOR, required=True)
        for file in (*_ALL_TOKENIZER, "vocab.json", "merges.txt"):
            fetch(file, required=False)
        if fetch(WEIGHTS, required=False) is None and fetch(MSGPACK, required=False) is None:
            fetch(PICKLED, required=True)  # which is not read here, but mm_convert reads it
    except (OSError, ValueError) as error:
        if offline:
            raise DataError(
                f"{name} is neither a folder nor in the cache of Hugging Face's hub, and "
                f"{hub.hostname} cannot be reached: give the folder of a CLIP, or try again with a "
                "network"
            ) from error
        raise DataError(
            f"{name} is neither a folder nor to be had from the Hugging Face hub: "
            f"{first_line(error)}"
        ) from error
    assert config is not None  # required
    return Path(config).parent


def _is_near(host: str, port: int) -> bool:
    """Whether a host can be connected to, or a proxy may do it."""
    if urllib.request.getproxies().get("https"):
        return True
    try:
        socket.create_connection((host, port), timeout=_PATIENCE).close()
    except OSError:
        return False
    return True


def _read_object(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise DataError(f"{path.parent} is not a CLIP folder: it lacks {path.name}")
    value = read_json(path)
    if not isinstance(value, dict):
        raise DataError(f"{path} does not hold a json object")
    return value


def check_kind(config: Any, folder: Path) -> None:
    """Raises DataError unless a folder's configuration is that of a CLIP; others are named."""
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind == "clip":
        return
    if isinstance(config, dict) and isinstance(config.get("format_version"), int):
        raise DataError(f"{folder} is {described(folder)}, not that of a CLIP")
    if kind is None:
        raise DataError(f"{folder}: its config.json is not that of a CLIP")
    raise DataError(
        f"{folder} must be a CLIP of Hugging Face, model_type 'clip', such as "
        f"openai/clip-vit-base-patch32, got {str(kind)[:40]!r}, which is not supported"
    )


def has_weights(folder: Path) -> bool:
    """Whether a folder holds weights that `load_clip` reads by itself."""
    return any((folder / name).is_file() for name in (WEIGHTS, SHARDS, MSGPACK))


def _read_params(
    folder: Path, module: Any, stored: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The network's parameters from whichever weight files the folder has, or from `stored`."""
    wanted = parameter_shapes(module)
    if stored is not None:
        found = _from_torch(stored, wanted)
    elif (folder / WEIGHTS).is_file() or (folder / SHARDS).is_file():
        held = {}
        for file in _safetensors_files(folder):
            held.update(_read_safetensors(file))
        if any(key.endswith(".kernel") for key in held):
            found = {tuple(key.split(".")): value for key, value in held.items()}
        else:
            found = _from_torch(held, wanted)
    elif (folder / MSGPACK).is_file():
        found = _read_msgpack(folder / MSGPACK)
    else:
        held = sorted(file.name for file in folder.glob("*model*.bin"))
        hint = f": mm_convert --source={folder} --outdir=FOLDER reads its {held[0]}" if held else ""
        raise DataError(f"{folder} is not a CLIP folder: it lacks {WEIGHTS} or {MSGPACK}{hint}")
    _check(found, wanted)
    return unflatten_dict(
        {path: jnp.asarray(np.asarray(found[path], np.float32)) for path in wanted}
    )


def parameter_shapes(module: Any) -> dict[tuple[str, ...], tuple[int, ...]]:
    """Path -> shape of every parameter of the network, without making any of them."""
    size = module.config.vision_config.image_size
    ids = jnp.zeros((1, 1), jnp.int32)
    pixels = jnp.zeros((1, size, size, 3), jnp.float32)
    tree: Any = jax.eval_shape(module.init, jax.random.key(0), ids, pixels, ids, ids)["params"]
    leaves: dict[tuple[str, ...], Any] = flatten_dict(tree)
    return {path: leaf.shape for path, leaf in leaves.items()}


def _safetensors_files(folder: Path) -> Iterable[Path]:
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    table = _read_object(folder / SHARDS).get("weight_map")
    if not isinstance(table, dict) or not all(isinstance(name, str) for name in table.values()):
        raise DataError(f"{folder / SHARDS} has no weight_map")
    # Only names within the folder: the table is foreign data.
    return [folder / Path(name).name for name in sorted(set(table.values()))]


def _read_safetensors(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.flax import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path} cannot be read: {first_line(error)}") from error


def _read_msgpack(path: Path) -> dict[tuple[str, ...], Any]:
    from flax.serialization import msgpack_restore

    try:
        tree = msgpack_restore(path.read_bytes())
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path} cannot be read: {first_line(error)}") from error
    if not isinstance(tree, dict):
        raise DataError(f"{path} does not hold a tree of parameters")
    return flatten_dict(tree)


def _to_torch(path: tuple[str, ...], value: np.ndarray) -> tuple[str, np.ndarray]:
    """A Flax path and value to the PyTorch key and value. Axes: [I, O] -> [O, I], HWIO -> OIHW."""
    *head, leaf = path
    if leaf == "kernel":
        value = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.T
    return ".".join([*head, _LEAF.get(leaf, leaf)]), value


def _from_torch(
    stored: Mapping[str, Any], wanted: Mapping[tuple[str, ...], tuple[int, ...]]
) -> dict[tuple[str, ...], Any]:
    """PyTorch keys and axes to Flax's; keys that no parameter has stay, to be refused."""
    left = {key: value for key, value in stored.items() if not key.endswith(_BUFFER)}
    found = {}
    for path in wanted:
        *head, leaf = path
        key = ".".join([*head, _LEAF.get(leaf, leaf)])
        if key in left:
            value = left.pop(key)
            if leaf == "kernel":
                value = value.transpose(2, 3, 1, 0) if value.ndim == 4 else value.T
            found[path] = value
    return found | {tuple(key.split(".")): value for key, value in left.items()}


def _check(
    found: Mapping[tuple[str, ...], Any], wanted: Mapping[tuple[str, ...], tuple[int, ...]]
) -> None:
    for path, shape in wanted.items():
        if path not in found:
            raise DataError(f"the weights lack {'.'.join(path)} {list(shape)}")
        if tuple(found[path].shape) != shape:
            have = list(found[path].shape)
            raise DataError(f"the weight {'.'.join(path)} must be {list(shape)}, got {have}")
        if not np.isfinite(np.asarray(found[path], np.float32)).all():
            raise DataError(f"the weight {'.'.join(path)} holds NaN or infinity")
    unknown = sorted(".".join(path) for path in found if path not in wanted)
    if unknown:
        raise DataError(f"the weights hold {unknown[0]}, which the network does not know")
