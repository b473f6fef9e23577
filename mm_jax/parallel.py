"""Batches over several devices: one mesh with a data axis, parameters on every device.

    mesh = make_mesh()
    gen, clip = replicate((gen, clip), mesh)
    images = mm_jax.synthesize(gen, ws)      # [N, H, W, 3], N / 8 images on each of 8 devices

No function of the library takes a mesh: it is where the parameters are. Under jit computation
follows data, so a batch that is split like this beside parameters that are everywhere is all that
it takes, and the program is the one that runs on a single device. A keyword would say again what
the parameters say already, could contradict them, and would have to pass through every function
between. `sample_latents`, `synthesize`, `to_stylespace`, `synthesize_from_styles`, `skip_images`,
`encode`, `invert`, `text_anchors` and the jobs find the mesh of their generator and split what they
work on; `apply_edit` follows its latents. A batch that the devices do not divide is filled up with
repeats, which are cut off again, or masked where images of a batch interact (videos). Inversion by
L-BFGS is not split: XLA's partition of its line searches finds other latents. Inside the
caller's own jit nothing is moved: there the caller's shardings hold.

Every process of several has a mesh of its own devices; they share work by dividing what there is to
do (`mm_jax.batch`), not by dividing batches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from jax.core import Tracer
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from mm_jax.buckets import filled
from mm_jax.errors import UsageError

__all__ = ["AXIS", "make_mesh", "mesh_of", "over_batch", "replicate", "split", "whole", "width"]

T = TypeVar("T")

AXIS = "data"


def make_mesh(devices: Sequence[Any] | None = None) -> Mesh:
    """A mesh whose one axis, "data", runs over `devices`; by default those of this process.

    Raises:
        UsageError: no devices.
    """
    chosen = jax.local_devices() if devices is None else list(devices)
    if not chosen:
        raise UsageError("a mesh needs at least one device, got none")
    return Mesh(np.array(chosen), (AXIS,), axis_types=(AxisType.Auto,))


def replicate(tree: T, mesh: Mesh) -> T:
    """A pytree, such as a `Generator` or a `Clip`, with every leaf on all devices of the mesh.

    Raises:
        UsageError: the mesh has no axis "data".
    """
    if AXIS not in mesh.axis_names:
        raise UsageError(
            f'the mesh has the axes {list(mesh.axis_names)}, needs one called "{AXIS}"'
        )
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def mesh_of(tree: Any) -> Mesh | None:
    """The mesh that `replicate` has put a pytree on; None for others, and under jit."""
    for leaf in jax.tree.leaves(tree):
        if isinstance(leaf, jax.Array) and not isinstance(leaf, Tracer):
            sharding = leaf.sharding
            if isinstance(sharding, NamedSharding) and AXIS in sharding.mesh.axis_names:
                mesh = sharding.mesh
                return mesh if isinstance(mesh, Mesh) else None
        return None
    return None


def width(tree: Any) -> int:
    """Number of devices that a batch for these parameters is split among; 1 without a mesh."""
    mesh = mesh_of(tree)
    return 1 if mesh is None else mesh.shape[AXIS]


def split(batch: T, like: Any) -> T:
    """A batch on the devices of a replicated pytree, each with its part.

    Args:
        batch: a pytree whose leaves begin with the batch axis, which `width(like)` divides;
            scalars go to every device.
        like: the parameters. Without a mesh the batch stays as it is.
    """
    mesh = mesh_of(like)
    if mesh is None:
        return batch

    def place(leaf: Any) -> jax.Array:
        spec = PartitionSpec(AXIS) if np.ndim(leaf) else PartitionSpec()
        return jax.device_put(leaf, NamedSharding(mesh, spec))

    return jax.tree.map(place, batch)


def whole(batch: T, like: Any) -> T:
    """A batch on the devices of a replicated pytree, all of it on each; see `split`."""
    mesh = mesh_of(like)
    return batch if mesh is None else replicate(batch, mesh)


def over_batch(function: Callable[..., T], like: Any, *batch: Any) -> T:
    """`function(*batch)`, computed by all devices that `like` is on.

    Args:
        function: of a batch to a pytree whose leaves begin with the batch axis; the rows of a batch
            must not interact.
        like: the parameters that `function` uses.
        *batch: pytrees as in `split`, of any length N.
    """
    leaves = [leaf for leaf in jax.tree.leaves(batch) if np.ndim(leaf)]
    mesh = mesh_of(like)
    if mesh is None or not leaves or any(isinstance(leaf, Tracer) for leaf in leaves):
        return function(*batch)
    count = len(leaves[0])
    if any(len(leaf) != count for leaf in leaves):
        return function(*batch)  # which says what is wrong with them
    size = -(-count // mesh.shape[AXIS]) * mesh.shape[AXIS]
    if size > count:
        batch = jax.tree.map(lambda leaf: filled(leaf, size) if np.ndim(leaf) else leaf, batch)
    result = function(*split(batch, like))
    if size == count:
        return result
    return jax.tree.map(lambda leaf: leaf[:count], result)
