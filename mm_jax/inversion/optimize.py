"""The program that pulls the latents of a batch of images towards them.

The loss of one image x with latent c, rendering G(c), start c0 and mean latent m is

    L = pixel |G(c) - x|^2 + laplacian Lap(G(c), x) + lpips LPIPS(G(c), x)
        + identity (1 - cos(ID(G(c)), ID(x))) + mean d(c, m) + start d(c, c0)
        + temporal d(c, c_before) + noise R(noise)

with the distances of `mm_jax.inversion.losses` and d of `mm_jax.inversion.spaces`. Losses are
summed over the batch, so apart from the temporal term images do not interact, and optimising many
at once gives the same result as one after another. The offset from the start is what is optimised,
in units of a coordinate's standard deviation over sampled latents: one learning rate serves all
spaces and generators.

Shapes: B images of a batch, L rows of W+, D latent width, C channels, R side.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mm_jax.descent import Adam, State
from mm_jax.inversion import losses, spaces
from mm_jax.inversion.spaces import Code, Noise, Population
from mm_jax.perceptual.lpips import Lpips
from mm_jax.stylegan2.generator import Generator

__all__ = [
    "ADAM",
    "Found",
    "Memory",
    "Targets",
    "Terms",
    "Weights",
    "accept",
    "begin",
    "finish",
    "lbfgs_chunk",
    "total_loss",
]

# An image makes progress while its lowest loss falls by this fraction within `patience` steps.
_PROGRESS = 0.01

# Shorter memory than the customary .9 and .999 gets fifty steps from an encoder closer: by .2 dB on
# 8 renders, by 3.9 dB on 8 generated images.
ADAM = Adam(b1=0.8, b2=0.95, apart=True)
_LBFGS: Any = optax.lbfgs(linesearch=optax.scale_by_zoom_linesearch(max_linesearch_steps=15))
_apply: Any = optax.apply_updates
_psnr = jax.jit(losses.psnr)


class Weights(NamedTuple):
    """What each term of the loss counts; scalars."""

    pixel: Any
    laplacian: Any
    lpips: Any
    identity: Any
    mean: Any
    start: Any
    temporal: Any
    noise: Any


class Terms(NamedTuple):
    """What all images of a batch share of the loss.

    Attributes:
        weights: of its terms.
        population: statistics of sampled latents.
        lpips: or None.
        identity: images [B, R, R, C] to unit vectors [B, E], or None.
        before: the latent of the frame before the first, of a batch of one.
        patience: steps without progress after which an image is left alone.
        tied: whether all rows of W+ are held equal, which is the search in W: a value of the
            program, so that both searches are one program. Of no effect in S.
    """

    weights: Weights
    population: Population
    lpips: Lpips | None
    identity: Callable[[jax.Array], jax.Array] | None
    before: Code
    patience: Any
    tied: Any


class Targets(NamedTuple):
    """What each image of a batch has of its own.

    Attributes:
        images: [B, R, R, C] in [-1, 1], at the generator's size.
        start: their latents to begin with.
        identity: [B, E] unit vectors of their identities, or None.
        has_previous_mask: [B] float32, 1 where an image is the frame after the one before it.
        valid_mask: [B] float32, 0 where an image is padding of the batch.
    """

    images: jax.Array
    start: Code
    identity: jax.Array | None
    has_previous_mask: jax.Array
    valid_mask: jax.Array


class Variables(NamedTuple):
    """What is optimised: the latent's offset from its start, and noise maps or None."""

    offset: Code
    noise: Noise | None


class Memory(NamedTuple):
    """What a descent remembers of each image; every leaf begins with B.

    Attributes:
        best: the variables of the lowest loss so far.
        lowest: [B] that loss.
        mark: [B] the loss at which progress was last seen.
        idle: [B] int32, steps since then.
    """

    best: Variables
    lowest: jax.Array
    mark: jax.Array
    idle: jax.Array


class Found(NamedTuple):
    """The result of a batch.

    Attributes:
        ws: [B, L, D].
        code: in the space that was searched.
        noise: {layer: [B, r, r]} or None.
        images: [B, R, R, C].
        psnr: [B] in dB.
        loss: [B] of the last latent, which need not be the best.
    """

    ws: jax.Array
    code: Code
    noise: Noise | None
    images: jax.Array
    psnr: jax.Array
    loss: jax.Array


def _code(terms: Terms, targets: Targets, variables: Variables) -> Code:
    """The latents that offsets from the start stand for: [B, L, D], in S {layer: [B, C]}."""

    # Offsets are in units of the population's standard deviation, so that one learning rate serves
    # every space. Each leaf [B, .., D]; its spread broadcasts against it.
    def moved(start: jax.Array, offset: jax.Array, spread: jax.Array) -> jax.Array:
        return start + offset * jnp.sqrt(spread / start.shape[-1])

    code = jax.tree.map(moved, targets.start, variables.offset, terms.population.spread)
    if isinstance(code, dict):
        return code
    # Each tied row gets an L-th of the gradient. Neither optimiser's steps depend on its scale.
    return jnp.where(terms.tied, code.mean(axis=1, keepdims=True), code)


def _losses(gen: Generator, terms: Terms, targets: Targets, variables: Variables) -> jax.Array:
    """[B] the whole loss of every image."""
    weights, population = terms.weights, terms.population
    code = _code(terms, targets, variables)  # [B, L, D], or {layer: [B, C]}
    drawn = spaces.render(gen, code, variables.noise)  # [B, R, R, C]
    # Image terms, each [B].
    each = weights.pixel * losses.pixel_distance(drawn, targets.images)
    each += weights.laplacian * losses.laplacian_distance(drawn, targets.images)
    if terms.lpips is not None:
        far = losses.perceptual_distance(terms.lpips, drawn, targets.images)  # [B]
        each += weights.lpips * far
    if terms.identity is not None:
        assert targets.identity is not None  # both or none
        cosines = jnp.sum(terms.identity(drawn) * targets.identity, axis=1)  # [B, E] -> [B]
        each += weights.identity * (1.0 - cosines)
    # Latent terms, each [B], in units of the distance of sampled latents from the mean.
    each += weights.mean * spaces.distance(code, population.mean, population.spread)
    each += weights.start * spaces.distance(code, targets.start, population.spread)
    # The latent of the frame before each: the batch, one place later.
    previous = jax.tree.map(
        lambda first, all: jnp.concatenate([first, all[:-1]]), terms.before, code
    )
    moved = spaces.distance(code, previous, population.spread)  # [B]
    each += weights.temporal * moved * targets.has_previous_mask
    if variables.noise is not None:
        each += weights.noise * losses.noise_autocorrelation(variables.noise)
    return each


def _loss_of_one(gen: Generator, terms: Terms, target: Targets, variables: Variables) -> jax.Array:
    one = jax.tree.map(lambda leaf: leaf[None], (target, variables))
    return _losses(gen, terms, *one)[0]


def _where(mask: jax.Array, yes: Any, no: Any) -> Any:
    """Choose between trees whose leaves begin with B, by a mask [B]."""

    def choose(a: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.where(mask.reshape(-1, *(1,) * (a.ndim - 1)), a, b)

    return jax.tree.map(choose, yes, no)


def _scores(terms: Terms, targets: Targets, each: jax.Array) -> jax.Array:
    """[B] what decides which latent is the best: frames of a video stand and fall together."""
    together = jnp.broadcast_to(jnp.sum(each * targets.valid_mask), each.shape)
    return jnp.where(terms.weights.temporal > 0, together, each)


def _remember(terms: Terms, targets: Targets, state: State, each: jax.Array) -> Memory:
    """The memory with the losses [B] of the state's present variables entered."""
    memory = state.memory
    scores = _scores(terms, targets, each)  # [B]
    # [B] bool: below the lowest, and below the mark by enough to count as progress.
    better = scores < memory.lowest
    onward = scores < memory.mark - _PROGRESS * jnp.abs(memory.mark)
    return Memory(
        best=_where(better, state.x, memory.best),
        lowest=jnp.where(better, scores, memory.lowest),
        mark=jnp.where(onward, scores, memory.mark),
        idle=jnp.where(onward, 0, memory.idle + 1),
    )


@functools.partial(jax.jit, static_argnames=("optimizer",))
def begin(
    gen: Generator,
    terms: Terms,
    targets: Targets,
    noise: Noise | None,
    *,
    optimizer: str,
) -> State:
    """The state at the start latents; `noise` are maps to begin with, or None for the fixed ones.

    Its memory is a `Memory`, and its optimiser has a state of its own for each image.
    """
    noise = None if noise is None else losses.normalise_noise(noise)
    x = Variables(jax.tree.map(jnp.zeros_like, targets.start), noise)
    if optimizer == "adam":
        inner = ADAM.init(x)
    else:

        def init(target: Targets, variables: Variables) -> optax.OptState:
            loss = functools.partial(_loss_of_one, gen, terms, target)
            value, gradient = jax.value_and_grad(loss)(variables)  # [], and like the variables
            return optax.tree.set(_LBFGS.init(variables), value=value, grad=gradient)

        inner = jax.vmap(init)(targets, x)
    # Below infinity: any first loss is progress, and infinity less a fraction of it is none.
    highest = jnp.full(len(targets.images), jnp.finfo(jnp.float32).max)
    memory = Memory(
        best=jax.tree.map(jnp.copy, x),
        lowest=highest,
        mark=highest,
        idle=jnp.zeros(len(targets.images), jnp.int32),
    )
    return State(x, inner, memory)


def total_loss(
    gen: Generator, terms: Terms, targets: Targets, variables: Variables, _: Any
) -> tuple[jax.Array, jax.Array]:
    """The loss of a batch, summed so that images do not interact, and that of each [B]."""
    each = _losses(gen, terms, targets, variables)
    return jnp.sum(each * targets.valid_mask), each


def accept(terms: Terms, targets: Targets, before: State, after: State, each: jax.Array) -> State:
    """The next state: losses [B] of the state before are remembered, idle images are held."""
    memory = _remember(terms, targets, before, each)
    x = after.x
    if x.noise is not None:
        # A step leaves noise maps {layer: [B, r, r]} that are no longer of unit variance.
        x = x._replace(noise=losses.normalise_noise(x.noise))
    # [B] bool: images without progress keep their variables and their optimiser's state.
    held = memory.idle >= terms.patience
    x, inner = _where(held, (before.x, before.optimizer), (x, after.optimizer))
    return State(x, inner, memory)


@functools.partial(jax.jit, donate_argnames=("state",))
def lbfgs_chunk(
    loss: Any,
    adam: Any,
    moving: Any,
    accept: Any,
    state: State,
    learning_rates: jax.Array,
    inputs: Any,
) -> tuple[State, jax.Array]:
    """As `mm_jax.descent.adam_chunk`, by L-BFGS with a line search for each image.

    `loss` is a `Partial` of `total_loss`, whose arguments are the batch; learning rates only tell
    how many steps there are.
    """
    del adam, moving, inputs
    gen, terms, targets = loss.args

    def of_one(target: Targets, variables: Variables, inner: Any) -> Any:
        # One image, without the axis B; the line search evaluates the loss further times.
        own = functools.partial(_loss_of_one, gen, terms, target)
        value, gradient = (optax.tree.get(inner, name) for name in ("value", "grad"))
        update, inner = _LBFGS.update(
            gradient, inner, variables, value=value, grad=gradient, value_fn=own
        )
        return value, _apply(variables, update), inner

    def step(state: State, _: jax.Array) -> tuple[State, jax.Array]:
        each, x, inner = jax.vmap(of_one)(targets, state.x, state.optimizer)  # each [B]
        return accept(state, State(x, inner, state.memory), each), each

    return jax.lax.scan(step, state, learning_rates)


def finish(gen: Generator, terms: Terms, targets: Targets, state: State) -> Found:
    """The best latents, those after the last step among them, and their images."""
    code, noise, each = _best(gen, terms, targets, state)
    # By the program that draws all images: with one of its own a first run would compile longer.
    images = spaces.render(gen, code, noise)  # [B, R, R, C]
    return Found(
        ws=spaces.ws_of(gen, code),
        code=code,
        noise=noise,
        images=images,
        psnr=_psnr(images, targets.images),
        loss=each,
    )


@jax.jit
def _best(
    gen: Generator, terms: Terms, targets: Targets, state: State
) -> tuple[Code, Noise | None, jax.Array]:
    """The best latents and noise maps, and the losses [B] after the last step."""
    each = _losses(gen, terms, targets, state.x)
    best = _remember(terms, targets, state, each).best
    return _code(terms, targets, best), best.noise, each
