"""What people's programs put around a network's state, taken off before its layout is told.

Three kinds of wrapper are known: prefixes of keys that `DataParallel` and `torch.compile` add,
entries such as "state_dict" or "params_ema" that hold the network beside an optimiser, and keys
such as "generator.conv1.weight" of a whole training module. What is taken off is noted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from mm_jax.errors import DataError
from weights_convert.structure import is_module, submodule
from weights_convert.table import listed

__all__ = ["Unwrapped", "unwrapped"]

_PREFIXES = ("module.", "_orig_mod.")
# Entries that hold the averaged network, the network in training, and either of them.
_AVERAGED = ("g_ema", "G_ema", "params_ema", "generator_ema", "netG_ema", "ema", "model_ema")
_TRAINED = ("g", "G", "generator", "netG", "gen", "params")
_EITHER = ("state_dict", "model_state_dict", "model", "network", "module", "checkpoint")
_WRAPPERS = {*_AVERAGED, *_TRAINED, *_EITHER}
_MEAN = "latent_avg"
# What averages and counters leave in a state beside the network.
_COUNTERS = ("n_averaged",)
_DEPTH = 4


class Unwrapped(NamedTuple):
    """A network's state without what was around it.

    Attributes:
        content: the state, or the file's content where nothing had to be taken off.
        notes: what was taken off and left aside.
        chosen: whether one of several networks was chosen on the way.
    """

    content: Any
    notes: tuple[str, ...] = ()
    chosen: bool = False


def unwrapped(content: Any, fits: Callable[[Any], bool], *, network: str) -> Unwrapped:
    """The first value below wrappers that fits; the content itself where none does.

    Args:
        content: what `read_file` gave.
        fits: whether a value is of a known layout.
        network: "G_ema" looks at averaged networks first, "G" at those in training only.

    Raises:
        DataError: two keys become one when a prefix is taken off.
    """
    if fits(content):
        return Unwrapped(content)
    bare, prefixes = _without_prefixes(content)
    notes = tuple(f"the prefix {prefix!r} of its keys is left out" for prefix in prefixes)
    averaged = network == "G_ema"
    order = (*_AVERAGED, *_EITHER, *_TRAINED) if averaged else (*_TRAINED, *_EITHER)
    # (path, value, the nearest mean latent), those of fewer wrappers first.
    waiting: list[tuple[tuple[str, ...], Any, Any]] = [((), bare, None)]
    for path, value, mean in waiting:
        if isinstance(value, Mapping):
            mean = value.get(_MEAN, mean)
        if fits(value):
            chosen = bool({*_AVERAGED, *_TRAINED} & {*path})
            return Unwrapped(_with_mean(value, mean), notes + _taken(bare, path), chosen)
        if len(path) < _DEPTH:
            held = ((name, _entry(value, name)) for name in order)
            waiting += [((*path, name), entry, mean) for name, entry in held if entry is not None]
    return Unwrapped(content)


def _entry(value: Any, name: str) -> Any:
    """What a wrapper holds under a name, or None."""
    if is_module(value):
        return submodule(value, name)
    if not isinstance(value, Mapping):
        return None
    held = value.get(name)
    if isinstance(held, Mapping) or is_module(held):
        return held
    part = {k[len(name) + 1 :]: v for k, v in value.items() if str(k).startswith(f"{name}.")}
    return part or None


def _without_prefixes(content: Any, depth: int = 0) -> tuple[Any, tuple[str, ...]]:
    """The content with states whose keys have lost their prefixes, and which these were."""
    if not isinstance(content, Mapping) or depth > _DEPTH:
        return content, ()
    found: dict[str, None] = {}
    bare: dict[Any, Any] = {}
    for key, value in content.items():
        while prefix := next((p for p in _PREFIXES if str(key).startswith(p)), None):
            found[prefix] = None
            key = key[len(prefix) :]
        if key in bare:
            raise DataError(f"two keys are {str(key)[:80]} once their prefix is left out")
        if not isinstance(value, np.ndarray):
            value, below = _without_prefixes(value, depth + 1)
            found |= dict.fromkeys(below)
        bare[key] = value
    if found:
        bare = {key: value for key, value in bare.items() if key not in _COUNTERS}
    return bare, tuple(found)


def _with_mean(value: Any, mean: Any) -> Any:
    """A state with the mean latent that stands beside it or above it."""
    missing = mean is not None and isinstance(value, Mapping) and _MEAN not in value
    return {**value, _MEAN: mean} if missing else value


def _taken(content: Any, path: tuple[str, ...]) -> tuple[str, ...]:
    if not path:
        return ()
    aside = []
    if isinstance(content, Mapping):
        names = {str(key).partition(".")[0] for key in content}
        aside = sorted(names - {path[0], _MEAN})
    left = f"; left aside: {listed(aside)}" if aside else ""
    return (f"taken from {' in '.join(reversed(path))}{left}",)
