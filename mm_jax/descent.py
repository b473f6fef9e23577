"""The one optimiser loop: Adam with the projector's schedule, in jitted chunks of steps.

Many small problems are solved side by side in one jitted program that scans over a chunk of steps;
between chunks the host reports progress, and may stop. Losses are pytrees that can be called
(`jax.tree_util.Partial` of a function of a module), so that a program is compiled once for each
shape, whatever the weights.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mm_jax.buckets import bucket

__all__ = [
    "Adam",
    "State",
    "adam_chunk",
    "as_argument",
    "chunk_length",
    "descend",
    "full_batches",
    "learning_rates",
]

RAMP_UP, RAMP_DOWN = 0.05, 0.25
# The most steps between two reports of progress.
_CHUNK = 10

_apply: Any = optax.apply_updates


class State(NamedTuple):
    """Where a descent is.

    Attributes:
        x: what is optimised, a pytree.
        optimizer: the optimiser's own state.
        memory: whatever else is carried from step to step, or None.
    """

    x: Any
    optimizer: Any
    memory: Any = None


@jax.tree_util.register_static
@dataclass(frozen=True, kw_only=True)
class Adam:
    """Adam (Kingma and Ba 2015), without the learning rate.

    Attributes:
        b1, b2: decay of the means of gradients and of their squares.
        apart: whether every leaf begins with an axis of problems, each with a state of its own.
    """

    b1: float = 0.9
    b2: float = 0.999
    apart: bool = False

    def init(self, x: Any) -> Any:
        """The optimiser's state before the first step."""
        init = optax.scale_by_adam(self.b1, self.b2).init
        return (jax.vmap(init) if self.apart else init)(x)

    def update(self, gradient: Any, state: Any) -> tuple[Any, Any]:
        """The direction of a step, and the new state."""
        update: Any = optax.scale_by_adam(self.b1, self.b2).update
        return (jax.vmap(update) if self.apart else update)(gradient, state)


@functools.partial(jax.jit, donate_argnames=("state",))
def adam_chunk(
    loss: Callable[[Any, Any], tuple[jax.Array, Any]],
    adam: Adam,
    moving: Any,
    accept: Callable[[State, State, Any], State] | None,
    state: State,
    learning_rates: jax.Array,
    inputs: Any,
) -> tuple[State, Any]:
    """As many steps as there are learning rates, see `descend`: the new state, and the metrics."""

    def step(state: State, now: tuple[jax.Array, Any]) -> tuple[State, Any]:
        learning_rate, step_input = now
        gradient, metrics = jax.grad(loss, has_aux=True)(state.x, step_input)
        if moving is not None:
            # Adam moves an element only where its gradient is not zero: held ones stay.
            gradient = jax.tree.map(jnp.multiply, gradient, moving)
        change, optimizer = adam.update(gradient, state.optimizer)
        x = _apply(state.x, optax.tree.scale(-learning_rate, change))
        after = State(x, optimizer, state.memory)
        return after if accept is None else accept(state, after, metrics), metrics

    return jax.lax.scan(step, state, (learning_rates, inputs))


def descend(
    loss: Callable[[Any, Any], tuple[jax.Array, Any]],
    state: State,
    learning_rates: np.ndarray,
    *,
    adam: Adam = Adam(),
    moving: Any = None,
    accept: Callable[[State, State, Any], State] | None = None,
    inputs: Callable[[int, int], Any] = lambda first, count: None,
    program: Callable[..., tuple[State, Any]] = adam_chunk,
    chunk: int | None = None,
    report: Callable[[int], None] = lambda done: None,
    stop: Callable[[State], bool] = lambda state: False,
) -> tuple[State, np.ndarray]:
    """Minimise a loss by Adam, one step for each learning rate.

    Args:
        loss: (x, the step's input) to the scalar that is minimised and the metrics that are kept;
            a pytree that can be called.
        state: where to begin; it is donated.
        learning_rates: [steps] float32.
        adam: the optimiser, whose state `state` holds.
        moving: like x: what gradients are multiplied by, or None; 0 holds an element.
        accept: (state before, state after, metrics of the state before) to the next state; a pytree
            that can be called, or None, which takes every step.
        inputs: (first step, steps) to the steps' inputs, a pytree of [steps, ...].
        program: the jitted chunk, with the arguments of `adam_chunk`.
        chunk: steps of a call; by default the largest divisor of the steps up to ten.
        report: called with the number of steps done after each chunk.
        stop: whether a state needs no further steps.

    Returns:
        The last state, and the metrics [steps done, ...] before each step.
    """
    steps = len(learning_rates)
    size = chunk or (chunk_length(steps) if steps else 1)
    metrics: list[np.ndarray] = []
    for first in range(0, steps, size):
        rates = jnp.asarray(learning_rates[first : first + size], jnp.float32)
        state, now = program(loss, adam, moving, accept, state, rates, inputs(first, size))
        metrics.append(np.asarray(now))
        report(first + size)
        if stop(state):
            break
    return state, np.concatenate(metrics) if metrics else np.zeros(0, np.float32)


def learning_rates(steps: int, learning_rate: float) -> np.ndarray:
    """The learning rate of every step, [steps] float32, as in Karras et al. 2020's projector.

    A linear ramp up over the first 5 % of the steps, and a cosine down over the last 25 %. The
    first is zero, as it is upstream.
    """
    if not steps:
        return np.zeros(0, np.float32)
    t = np.arange(steps) / steps
    down = 0.5 - 0.5 * np.cos(np.pi * np.minimum(1.0, (1.0 - t) / RAMP_DOWN))
    return (learning_rate * down * np.minimum(1.0, t / RAMP_UP)).astype(np.float32)


def chunk_length(steps: int) -> int:
    """Steps of one call of the program: the largest divisor of `steps` up to ten."""
    return max(n for n in range(1, min(steps, _CHUNK) + 1) if steps % n == 0)


def full_batches(
    total: int, batch_size: int | None, *, devices: int = 1
) -> Iterator[tuple[np.ndarray, int]]:
    """Yield (indices, how many of them are valid) of batches of one shape.

    The last batch is padded from the first. Every batch is padded to a multiple of `devices`; which
    problems share a batch does not depend on it.

    Args:
        total: number of problems.
        batch_size: problems solved at once, all unless given. Fewer problems are padded to a
            bucket, so that another number of them needs no other program.
        devices: among how many a batch is split.
    """
    size = min(batch_size, bucket(total)) if batch_size else total
    full = math.ceil(size / devices) * devices
    for first in range(0, total, size):
        yield np.arange(first, first + full) % total, min(size, total - first)


def as_argument(function: Callable[..., Any] | None) -> Callable[..., Any] | None:
    """A function that can be an argument of a jitted program.

    A pytree that can be called (such as `mm_jax.ArcFace`) enters by its leaves, a plain function as
    it is.
    """
    if function is not None and jax.tree_util.all_leaves([function]):
        return jax.tree_util.Partial(function)
    return function
