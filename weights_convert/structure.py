"""One walk through what readers give: the names of all values, modules and networks as state dicts.

Content comes from files of unknown origin and may be of any depth, or hold itself; the walk is
bounded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from mm_jax.errors import DataError
from weights_convert.readers import SCRIPTED, OpaqueObject, PersistentObject

__all__ = [
    "arrays",
    "is_module",
    "is_network",
    "key_names",
    "module_state",
    "network_state",
    "state_of",
    "submodule",
    "submodules",
]

_VISITS = 200_000
_NAME = 1_000


def is_module(value: Any) -> bool:
    """Whether it is a torch module: of NVlabs' persistent classes, of torch itself or scripted."""
    if _is_scripted(value):
        return True
    return isinstance(value, PersistentObject | OpaqueObject) and "_modules" in _state(value)


def is_network(value: Any) -> bool:
    """Whether it is a pickled network of dnnlib for TensorFlow."""
    return isinstance(value, OpaqueObject) and "variables" in _state(value)


def key_names(content: Any) -> tuple[str, ...]:
    """Names of everything in the content: keys are joined by dots, TensorFlow's scopes by slashes.

    Raises:
        DataError: larger or deeper than any checkpoint.
    """
    return tuple(name for name, _ in _walk(content))


def module_state(module: Any) -> dict[str, np.ndarray]:
    """The state dict of a pickled torch module: parameters and buffers by name.

    Raises:
        DataError: it is no module, or holds something other than arrays.
    """
    if not is_module(module):
        raise DataError(f"a {_kind(module)} stands where a module should")
    return arrays(dict(_walk(module)), what="module")


def state_of(network: Any, *, what: str) -> dict[str, np.ndarray]:
    """The state dict of a network that was saved as such, or as a whole module.

    Raises:
        DataError: it is neither.
    """
    return module_state(network) if is_module(network) else arrays(network, what=what)


def submodule(module: Any, name: str) -> Any:
    """A module's own part of a name, or None."""
    held = _state(module).get("_modules")
    part = held.get(name) if isinstance(held, Mapping) else None
    return part if is_module(part) else None


def submodules(module: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Dotted name and attributes of a module, which is called "", and of every module in it.

    Raises:
        DataError: as `module_state`.
    """
    module_state(module)  # which is bounded, so that what follows is
    stack = [("", module)]
    while stack:
        name, value = stack.pop()
        yield name, _state(value)
        prefix = f"{name}." if name else ""
        children = _items(_state(value).get("_modules"))
        stack += [(f"{prefix}{key}", child) for key, child in children if is_module(child)]


def network_state(network: Any) -> dict[str, np.ndarray]:
    """The variables of a pickled TensorFlow network and of its components, by name.

    Raises:
        DataError: it is no network, or holds something other than arrays.
    """
    if not is_network(network):
        raise DataError(f"a {_kind(network)} stands where a TensorFlow network should")
    return arrays(dict(_walk(network)), what="network")


def arrays(values: Any, *, what: str) -> dict[str, np.ndarray]:
    """`values` as a dictionary of arrays by name.

    Raises:
        DataError: it is something else; the first offending name is given.
    """
    if not isinstance(values, Mapping):
        raise DataError(f"{what} must be names and arrays, got a {_kind(values)}")
    for name, value in values.items():
        if not isinstance(name, str) or not isinstance(value, np.ndarray | np.generic):
            raise DataError(f"{what}: {str(name)[:80]} must be an array, got a {_kind(value)}")
    return {name: np.asarray(value) for name, value in values.items()}


def _is_scripted(value: Any) -> bool:
    """A module of TorchScript: an instance of a class of the archive's own."""
    return isinstance(value, OpaqueObject) and value.module.partition(".")[0] == SCRIPTED


def _kind(value: Any) -> str:
    if isinstance(value, PersistentObject):
        return value.class_name
    return value.name if isinstance(value, OpaqueObject) else type(value).__name__


def _state(value: Any) -> Mapping[str, Any]:
    return value.state if isinstance(value.state, Mapping) else {}


def _walk(content: Any) -> Iterator[tuple[str, Any]]:
    """Every leaf but None, with its name, in order."""
    stack: list[tuple[str, str, Any]] = [("", "", content)]
    visits = 0
    while stack:
        name, prefix, value = stack.pop()
        children = _children(prefix, value)
        if children is None:
            if value is not None:
                yield name, value
            continue
        visits += len(children)
        if visits > _VISITS or len(name) > _NAME:
            raise DataError("holds more, or deeper nested, values than any checkpoint")
        stack.extend(reversed(children))


def _children(prefix: str, value: Any) -> list[tuple[str, str, Any]] | None:
    """(name, prefix of the names below, value) of what a value holds; None for a leaf."""
    if isinstance(value, PersistentObject | OpaqueObject):
        state = _state(value)
        if _is_scripted(value):
            # Parameters, buffers and modules are attributes like any others.
            kinds = np.ndarray | OpaqueObject
            held = [(key, item) for key, item in state.items() if isinstance(item, kinds)]
            return _below(prefix, held, ".")
        if is_module(value):
            held = [_items(state.get(kind)) for kind in ("_parameters", "_buffers", "_modules")]
            return _below(prefix, [item for items in held for item in items], ".")
        if is_network(value):
            own = _below(prefix, _pairs(state.get("variables")), "/")
            return own + _below(prefix, _items(state.get("components")), "/")
        return None
    if isinstance(value, Mapping):
        return _below(prefix, _items(value), ".")
    if isinstance(value, list | tuple):
        return _below(prefix, list(enumerate(value)), ".")
    return None


def _below(prefix: str, items: list[tuple[Any, Any]], mark: str) -> list[tuple[str, str, Any]]:
    return [(f"{prefix}{key}", f"{prefix}{key}{mark}", child) for key, child in items]


def _items(values: Any) -> list[tuple[Any, Any]]:
    if values is None:
        return []
    if not isinstance(values, Mapping):
        raise DataError(f"a {_kind(values)} stands where names and values should")
    return list(values.items())


def _pairs(values: Any) -> list[tuple[Any, Any]]:
    if not isinstance(values, list | tuple) or not all(
        isinstance(pair, list | tuple) and len(pair) == 2 for pair in values
    ):
        raise DataError("a TensorFlow network's variables are not pairs of name and array")
    return [(pair[0], pair[1]) for pair in values]
