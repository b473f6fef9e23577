"""The named factors of a synthetic face, and the fixed map from Z that draws them.

Every factor lies in [-1, 1].  A factor vector is float32 ``[F]``, a batch ``[N, F]``, columns in
the order of ``FACTORS``.  Factors are what the renderer is told and what a probe reads back; the
micromotion pipeline itself only ever sees pictures and prompts.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

MOTION_FACTORS = (
    "smile",  # mouth corners: down .. a broad smile
    "mouth_open",  # lips closed .. wide open, teeth showing
    "eye_open",  # lids shut .. wide open
    "yaw",  # head turned to the viewer's left .. right
    "pitch",  # head down .. up
    "age",  # smooth skin and coloured hair .. wrinkles, folds and grey hair
    "brow_angle",  # brows relaxed .. drawn into an angry V, with frown lines
    "brow_height",  # brows low .. high
    "gaze",  # eyes look to the viewer's left .. right
)
IDENTITY_FACTORS = (
    "skin",  # dark .. light
    "hair_tone",  # black .. blond
    "hair_length",  # cropped .. below the shoulders
    "face_width",
    "jaw",  # pointed .. square
    "nose_size",
    "eye_size",
    "mouth_width",
    "lip_tone",  # skin-coloured .. red
    "background",  # hue
    "background_tone",  # dark .. light
    "light",  # from the viewer's left .. right
)
FACTORS = MOTION_FACTORS + IDENTITY_FACTORS
NUM_FACTORS = len(FACTORS)
Z_DIM = 64

# Open eyes are commoner than shut ones: gaze can only be read off an eye that is open.
_SKEW = {"eye_open": 0.6}
_MAP_SEED = 2204_12696


def index(name: str) -> int:
    """Column of factor ``name``; ``KeyError`` naming the known ones if there is no such factor."""
    if name not in FACTORS:
        raise KeyError(f"unknown factor {name!r}; known: {', '.join(FACTORS)}")
    return FACTORS.index(name)


def _map_constants() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Orthonormal columns of Z: one for each score, one for each bend, the rest; and a mixing."""
    rng = np.random.RandomState(_MAP_SEED % 2**32)
    rotation = np.linalg.qr(rng.randn(Z_DIM, Z_DIM))[0].astype(np.float32)
    mix = np.linalg.qr(rng.randn(NUM_FACTORS, NUM_FACTORS))[0].astype(np.float32)
    direct, bend, rest = np.split(rotation, [NUM_FACTORS, 2 * NUM_FACTORS], axis=1)
    return direct, bend, rest, mix


def scores_from_z(z: jax.Array) -> jax.Array:
    """Normal scores ``[N, F]`` of ``z [N, 64]``; like the mapping network it ignores z's length."""
    direct, bend, _, mix = (jnp.asarray(a) for a in _map_constants())
    z = z * jax.lax.rsqrt(jnp.mean(jnp.square(z), axis=-1, keepdims=True) + 1e-8)
    wave = jnp.sin(1.2 * (z @ bend) @ mix)
    return (z @ direct + 0.35 * wave) / np.float32(np.sqrt(1 + 0.35**2 * _WAVE_VARIANCE))


def factors_from_z(z: jax.Array) -> jax.Array:
    """Fixed random smooth map ``[N, 64] -> [N, F]`` onto [-1, 1].

    Factors of ``z ~ N(0, I)`` are independent: each one's normal score is a unit direction of z,
    bent by a sinusoid of an orthogonal direction and renormalised to unit variance.
    """
    return factors_from_scores(scores_from_z(z))


def shift_one_score(z: jax.Array, factor: jax.Array, amount: jax.Array) -> jax.Array:
    """z' ``[N, 64]`` whose factors equal z's but for one: its direction gains ``amount [N]``.

    The length of z is kept by shrinking the directions that no factor reads, so that normalising
    z moves nothing else.  ``factor`` is ``[N]`` int.  Where those directions are too short for
    the shift (rare), it is cut to what they allow.
    """
    direct, _, rest, _ = (jnp.asarray(a) for a in _map_constants())
    axis = direct.T[factor]
    along = jnp.sum(z * axis, axis=-1)
    idle = z @ rest
    room = jnp.sum(jnp.square(idle), axis=-1)
    gain = 2 * amount * along + jnp.square(amount)
    # Towards zero there is always room: the shift is mirrored where it would not fit outwards.
    amount = jnp.where(gain < 0.9 * room, amount, -jnp.sign(along) * jnp.abs(amount))
    gain = 2 * amount * along + jnp.square(amount)
    shrink = jnp.sqrt(jnp.maximum(1.0 - gain / room, 0.0))
    return z + amount[:, None] * axis + (shrink - 1.0)[:, None] * (idle @ rest.T)


# Var[sin(1.2 g)] for g ~ N(0, 1).
_WAVE_VARIANCE = (1 - np.exp(-2 * 1.2**2)) / 2


def factors_from_scores(score: jax.Array) -> jax.Array:
    """Normal scores ``[N, F]`` to factors: uniform on [-1, 1], ``eye_open`` skewed towards open."""
    share = jax.scipy.stats.norm.cdf(score)
    skew = np.ones(NUM_FACTORS, np.float32)
    for name, power in _SKEW.items():
        skew[FACTORS.index(name)] = power
    return 2 * share ** jnp.asarray(skew)[None, :] - 1


def sample_factors(key: jax.Array, count: int) -> jax.Array:
    """``[count, F]`` factors with the distribution that ``factors_from_z`` has for normal z."""
    return factors_from_scores(jax.random.normal(key, (count, NUM_FACTORS)))
