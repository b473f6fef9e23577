"""The program that pulls the codes of a batch of pictures towards them.

The loss of one picture x with code c, rendering G(c), start c0 and mean code m is

    L = pixel |G(c) - x|^2 + laplacian Lap(G(c), x) + lpips LPIPS(G(c), x)
        + identity (1 - cos(ID(G(c)), ID(x))) + mean d(c, m) + start d(c, c0)
        + temporal d(c, c_before) + noise R(noise)

with the distances of `mm_jax.inversion.losses` and d of `mm_jax.inversion.spaces`. Losses are
summed over the batch, so but for the temporal term pictures do not interact, and optimising many at
once gives what one after another gives. What is optimised is the offset from the start, in units of
a coordinate's deviation over sampled codes: one learning rate serves all spaces and generators.

Letters: B pictures of a batch, L rows of W+, D latent width, C channels, R side.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mm_jax.inversion import losses, spaces
from mm_jax.inversion.spaces import Code, Noise, Population
from mm_jax.perceptual.lpips import Lpips
from mm_jax.stylegan2.generator import Generator

__all__ = ["OPTIMIZERS", "Found", "Pictures", "State", "Terms", "begin", "finish", "run_chunk"]

OPTIMIZERS = ("adam", "lbfgs")

# A picture makes progress as long as its best loss falls by this share within `patience` steps.
_PROGRESS = 0.01

# Optax's types know of no named tuples. With less memory than the customary .9 and .999, fifty
# steps from an encoder come closer: by .2 dB on 8 renders, by 3.9 dB on 8 generated pictures.
_ADAM: Any = optax.scale_by_adam(b1=0.8, b2=0.95)
_LBFGS: Any = optax.lbfgs(linesearch=optax.scale_by_zoom_linesearch(max_linesearch_steps=15))
_apply: Any = optax.apply_updates


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
    """What all pictures of a batch share of the loss.

    Attributes:
        weights: of its terms.
        population: what sampled codes are like.
        lpips: or None.
        identity: pictures [B, R, R, C] to unit vectors [B, *], or None.
        before: the code of the frame before the first, of a batch of one.
        patience: steps without progress after which a picture is left alone.
    """

    weights: Weights
    population: Population
    lpips: Lpips | None
    identity: Callable[[jax.Array], jax.Array] | None
    before: Code
    patience: Any


class Pictures(NamedTuple):
    """What each picture of a batch has of its own.

    Attributes:
        images: [B, R, R, C] in [-1, 1].
        start: their codes to begin with.
        person: [B, *] unit vectors of their identities, or None.
        follows: [B] float32, 1 where a picture is the frame after the one before it.
        counts: [B] float32, 0 where a picture only fills up the batch.
    """

    images: jax.Array
    start: Code
    person: jax.Array | None
    follows: jax.Array
    counts: jax.Array


class Variables(NamedTuple):
    """What is optimised: the code's offset from its start, and noise maps or None."""

    offset: Code
    noise: Noise | None


class State(NamedTuple):
    """Where the optimisation of a batch is; every leaf begins with B.

    Attributes:
        now: the variables.
        optimizer: its own state, one for each picture.
        best: the variables of the least loss so far.
        least: [B] that loss.
        mark: [B] the loss at which progress was last seen.
        idle: [B] int32, steps since then.
    """

    now: Variables
    optimizer: optax.OptState
    best: Variables
    least: jax.Array
    mark: jax.Array
    idle: jax.Array


class Found(NamedTuple):
    """What came of a batch.

    Attributes:
        ws: [B, L, D].
        code: in the space that was searched.
        noise: {layer: [B, r, r]} or None.
        images: [B, R, R, C].
        psnr: [B] in dB.
        loss: [B] of the last code, which need not be the best.
    """

    ws: jax.Array
    code: Code
    noise: Noise | None
    images: jax.Array
    psnr: jax.Array
    loss: jax.Array


def _code(terms: Terms, pictures: Pictures, variables: Variables) -> Code:
    def moved(start: jax.Array, offset: jax.Array, spread: jax.Array) -> jax.Array:
        return start + offset * jnp.sqrt(spread / start.shape[-1])

    return jax.tree.map(moved, pictures.start, variables.offset, terms.population.spread)


def _losses(gen: Generator, terms: Terms, pictures: Pictures, variables: Variables) -> jax.Array:
    """[B] the whole loss of every picture."""
    weights, population = terms.weights, terms.population
    code = _code(terms, pictures, variables)
    drawn = spaces.render(gen, code, variables.noise)
    each = weights.pixel * losses.pixel_distance(drawn, pictures.images)
    each += weights.laplacian * losses.laplacian_distance(drawn, pictures.images)
    if terms.lpips is not None:
        far = losses.perceptual_distance(terms.lpips, drawn, pictures.images)
        each += weights.lpips * far
    if terms.identity is not None:
        assert pictures.person is not None  # both or none
        each += weights.identity * (1.0 - jnp.sum(terms.identity(drawn) * pictures.person, axis=1))
    each += weights.mean * spaces.distance(code, population.mean, population.spread)
    each += weights.start * spaces.distance(code, pictures.start, population.spread)
    previous = jax.tree.map(
        lambda first, all: jnp.concatenate([first, all[:-1]]), terms.before, code
    )
    moved = spaces.distance(code, previous, population.spread)
    each += weights.temporal * moved * pictures.follows
    if variables.noise is not None:
        each += weights.noise * losses.noise_autocorrelation(variables.noise)
    return each


def _loss_of_one(
    gen: Generator, terms: Terms, picture: Pictures, variables: Variables
) -> jax.Array:
    one = jax.tree.map(lambda leaf: leaf[None], (picture, variables))
    return _losses(gen, terms, *one)[0]


def _where(mask: jax.Array, yes: Any, no: Any) -> Any:
    """Choose between trees whose leaves begin with B, by a mask [B]."""

    def choose(a: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.where(mask.reshape(-1, *(1,) * (a.ndim - 1)), a, b)

    return jax.tree.map(choose, yes, no)


def _judged(terms: Terms, pictures: Pictures, each: jax.Array) -> jax.Array:
    """[B] what decides which code is the best: frames of a clip stand and fall together."""
    together = jnp.broadcast_to(jnp.sum(each * pictures.counts), each.shape)
    return jnp.where(terms.weights.temporal > 0, together, each)


def _note(terms: Terms, pictures: Pictures, state: State, each: jax.Array) -> State:
    """The state with the losses of its present variables entered."""
    judged = _judged(terms, pictures, each)
    better = judged < state.least
    onward = judged < state.mark - _PROGRESS * jnp.abs(state.mark)
    return state._replace(
        best=_where(better, state.now, state.best),
        least=jnp.where(better, judged, state.least),
        mark=jnp.where(onward, judged, state.mark),
        idle=jnp.where(onward, 0, state.idle + 1),
    )


@functools.partial(jax.jit, static_argnames=("optimizer",))
def begin(
    gen: Generator,
    terms: Terms,
    pictures: Pictures,
    noise: Noise | None,
    *,
    optimizer: str,
) -> State:
    """The state at the start codes; `noise` are maps to begin with, or None for the fixed ones."""
    noise = None if noise is None else losses.normalise_noise(noise)
    now = Variables(jax.tree.map(jnp.zeros_like, pictures.start), noise)
    if optimizer == "adam":
        inner = jax.vmap(_ADAM.init)(now)
    else:

        def init(picture: Pictures, variables: Variables) -> optax.OptState:
            loss = functools.partial(_loss_of_one, gen, terms, picture)
            value, gradient = jax.value_and_grad(loss)(variables)
            return optax.tree.set(_LBFGS.init(variables), value=value, grad=gradient)

        inner = jax.vmap(init)(pictures, now)
    # Marks below infinity: any first loss is progress, and infinity less a share of it is none.
    most = jnp.full(len(pictures.images), jnp.finfo(jnp.float32).max)
    return State(
        now=now,
        optimizer=inner,
        best=jax.tree.map(jnp.copy, now),
        least=most,
        mark=most,
        idle=jnp.zeros(len(pictures.images), jnp.int32),
    )


@functools.partial(jax.jit, static_argnames=("optimizer",), donate_argnames=("state",))
def run_chunk(
    gen: Generator,
    terms: Terms,
    pictures: Pictures,
    state: State,
    rates: jax.Array,
    *,
    optimizer: str,
) -> tuple[State, jax.Array]:
    """As many steps as there are rates: the new state, and the losses [steps, B] before each.

    Pictures without progress for `terms.patience` steps keep what they have.
    """

    def total(variables: Variables) -> tuple[jax.Array, jax.Array]:
        each = _losses(gen, terms, pictures, variables)
        return jnp.sum(each * pictures.counts), each

    def adam(state: State, rate: jax.Array) -> tuple[jax.Array, Variables, optax.OptState]:
        gradient, each = jax.grad(total, has_aux=True)(state.now)
        update, inner = jax.vmap(_ADAM.update)(gradient, state.optimizer)
        moved = _apply(state.now, optax.tree.scale(-rate, update))
        return each, moved, inner

    def lbfgs(state: State, _: jax.Array) -> tuple[jax.Array, Variables, optax.OptState]:
        def of_one(picture: Pictures, variables: Variables, inner: Any) -> Any:
            loss = functools.partial(_loss_of_one, gen, terms, picture)
            value, gradient = (optax.tree.get(inner, name) for name in ("value", "grad"))
            update, inner = _LBFGS.update(
                gradient, inner, variables, value=value, grad=gradient, value_fn=loss
            )
            return value, _apply(variables, update), inner

        return jax.vmap(of_one)(pictures, state.now, state.optimizer)

    def step(state: State, rate: jax.Array) -> tuple[State, jax.Array]:
        each, moved, inner = (adam if optimizer == "adam" else lbfgs)(state, rate)
        state = _note(terms, pictures, state, each)
        if moved.noise is not None:
            moved = moved._replace(noise=losses.normalise_noise(moved.noise))
        held = state.idle >= terms.patience
        now, inner = _where(held, (state.now, state.optimizer), (moved, inner))
        return state._replace(now=now, optimizer=inner), each

    return jax.lax.scan(step, state, rates)


@jax.jit
def finish(gen: Generator, terms: Terms, pictures: Pictures, state: State) -> Found:
    """The best codes, those after the last step among them, and their pictures."""
    each = _losses(gen, terms, pictures, state.now)
    best = _note(terms, pictures, state, each).best
    code = _code(terms, pictures, best)
    images = spaces.render(gen, code, best.noise)
    return Found(
        ws=spaces.ws_of(gen, code),
        code=code,
        noise=best.noise,
        images=images,
        psnr=losses.psnr(images, pictures.images),
        loss=each,
    )
