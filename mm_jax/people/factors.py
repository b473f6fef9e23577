"""The named factors of a person, and the fixed map from Z to them.

Every factor lies in [-1, 1]; a vector of factors is float32 ``[F]``, a batch ``[N, F]``, columns in
the order of `FACTORS`. Factors are what the renderer is told and what a probe reads back; anchors,
subspaces and edits never see them.

Each factor has a *score*, one unit direction of z, normal with standard deviation 1. Scores of some
factors are correlated as in a population (dark hair goes with dark skin), and some factors depend
on others (beards grow on men): `_population`. What is drawn is always the factor itself.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

__all__ = [
    "FACTORS",
    "HAIR_STYLES",
    "MIRRORED",
    "MOTION_FACTORS",
    "NUM_FACTORS",
    "Z_DIM",
    "factors_from_scores",
    "factors_from_z",
    "hair_style",
    "index",
    "mean_factors",
    "mirror_z",
    "scores_from_z",
    "set_scores",
]

#: What moves or ages a face; from -1 to 1.
MOTION_FACTORS = {
    "smile": "corners of the mouth down .. broad smile that lifts the cheeks and shows teeth",
    "anger": "relaxed .. brows down and together, nose wrinkled, lips pressed",
    "eye_close": "wide open .. shut",
    "mouth_open": "closed .. wide open",
    "brow_raise": "resting .. both brows raised",
    "pout": "resting .. lips pushed forward",
    "sneer": "resting .. wings of the nose and upper lip raised",
    "gaze_x": "eyes to the image's left .. right",
    "gaze_y": "eyes down .. up",
    "yaw": "head turned to the image's left .. right, 40 degrees each",
    "pitch": "head up .. down, 15 degrees each",
    "roll": "head tilted clockwise .. anticlockwise, 8 degrees each",
    "age": "about 20 .. about 80 years: shape, wrinkles, grey hair",
}
#: Who it is.
SHAPE_FACTORS = {
    "gender": "female .. male",
    "african": "how African the shape of the face is, none .. mostly",
    "asian": "how East Asian the shape of the face is, none .. mostly",
    "weight": "thin .. heavy",
    "face_width": "narrow .. wide",
    "face_length": "short .. long",
    "jaw": "pointed .. square",
    "chin": "receding and short .. prominent and long",
    "cheeks": "hollow .. full",
    "cheekbones": "flat .. high and wide",
    "forehead": "low .. high",
    "nose_width": "narrow .. wide",
    "nose_length": "short .. long",
    "nose_bridge": "hollow .. arched",
    "nose_tip": "pointing down .. up",
    "eye_size": "small .. large",
    "eye_slant": "outer corners down .. up",
    "eye_spacing": "close together .. far apart",
    "mouth_width": "narrow .. wide",
    "lip_fullness": "thin .. full",
    "ears": "small and flat .. large and standing off",
}
LOOK_FACTORS = {
    "skin_tone": "pale .. dark",
    "redness": "even .. red cheeks, nose and ears",
    "freckles": "none .. many",
    "beard": "none .. full",
    "lip_colour": "natural .. red lipstick",
    "eye_colour": "dark brown .. light blue",
    "brow_height": "low .. high",
    "brow_thickness": "thin .. thick",
    "hair_style": "one of seven styles, long .. shaved; seven equal intervals",
    "hair_tone": "black .. blond",
    "hair_red": "ash .. red",
    "hair_volume": "flat .. full",
    "clothes_tone": "dark .. light",
    "clothes_warmth": "blue .. orange",
}
SCENE_FACTORS = {
    "light_azimuth": "light from the image's left .. right",
    "light_elevation": "light from low .. high",
    "light_warmth": "cool .. warm light",
    "light_strength": "weak .. strong key light",
    "ambient": "deep shadows .. bright shadows",
    "background_tone": "dark .. light",
    "background_warmth": "blue .. orange",
    "background_tint": "magenta .. green",
    "background_gradient": "lighter above .. lighter below",
}
DESCRIPTIONS = MOTION_FACTORS | SHAPE_FACTORS | LOOK_FACTORS | SCENE_FACTORS
FACTORS = tuple(DESCRIPTIONS)
NUM_FACTORS = len(FACTORS)
#: Styles of hair in the order of the factor ``hair_style``.
HAIR_STYLES = ("long", "bob", "ponytail", "afro", "tousled", "short", "shaved")
#: Factors that change sign when an image is mirrored.
MIRRORED = ("gaze_x", "yaw", "roll", "light_azimuth")
Z_DIM = 128
_MAP_SEED = 2204_12696

# Expressions are more often mild than strong: factor = 2 share**power - 1.
_SKEW = {
    "eye_close": 4.5,
    "anger": 1.6,
    "mouth_open": 2.4,
    "pout": 2.5,
    "sneer": 2.5,
    "brow_raise": 1.6,
    "age": 1.4,
    "freckles": 2.0,
}
# Correlations of scores: factor: (other factor, correlation).
_CORRELATED = {
    "anger": ("smile", -0.4),
    "skin_tone": ("african", 0.7),
    "hair_tone": ("skin_tone", -0.6),
    "eye_colour": ("hair_tone", 0.6),
    "hair_style": ("gender", 0.75),
    "brow_thickness": ("gender", 0.4),
    "jaw": ("gender", 0.3),
}


def index(name: str) -> int:
    """Column of factor ``name``; `KeyError` naming the known ones if there is no such factor."""
    if name not in FACTORS:
        raise KeyError(f"unknown factor {name!r}; known: {', '.join(FACTORS)}")
    return FACTORS.index(name)


@functools.cache
def _directions() -> np.ndarray:
    """Orthonormal rows ``[128, 128]`` of Z: one for each factor, then the idle ones."""
    rng = np.random.RandomState(_MAP_SEED % 2**32)
    return np.linalg.qr(rng.randn(Z_DIM, Z_DIM))[0].T.astype(np.float32)


def scores_from_z(z: jax.Array) -> jax.Array:
    """Independent normal scores ``[N, F]`` of ``z [N, 128]``.

    Like the mapping network of StyleGAN2 they ignore the length of z.
    """
    z = z * jax.lax.rsqrt(jnp.mean(jnp.square(z), axis=-1, keepdims=True) + 1e-8)
    return z @ jnp.asarray(_directions()[:NUM_FACTORS].T)


def set_scores(z: jax.Array, scores: jax.Array) -> jax.Array:
    """z ``[N, 128]`` with other scores ``[N, F]`` and the same idle directions.

    The idle part is rescaled so that normalising z changes nothing; scores too long for any z of
    normal length (more than 10 in root sum of squares) are shortened.
    """
    directions = jnp.asarray(_directions())
    room = np.float32(Z_DIM)
    length = jnp.sum(jnp.square(scores), axis=-1, keepdims=True)
    scores = scores * jnp.minimum(1, jnp.sqrt(0.85 * room / length))
    idle = z @ directions[NUM_FACTORS:].T
    wanted = room - jnp.sum(jnp.square(scores), axis=-1, keepdims=True)
    idle = idle * jnp.sqrt(wanted / jnp.sum(jnp.square(idle), axis=-1, keepdims=True))
    return scores @ directions[:NUM_FACTORS] + idle @ directions[NUM_FACTORS:]


def mirror_z(z: jax.Array) -> jax.Array:
    """z ``[N, 128]`` of the mirrored image."""
    flipped = jnp.asarray(_directions()[[index(name) for name in MIRRORED]])
    return z - 2 * (z @ flipped.T) @ flipped


def factors_from_z(z: jax.Array) -> jax.Array:
    """The fixed map ``[N, 128] -> [N, F]`` onto [-1, 1]."""
    return factors_from_scores(scores_from_z(z))


def factors_from_scores(scores: jax.Array) -> jax.Array:
    """Factors ``[N, F]`` of independent normal scores ``[N, F]``."""
    columns = {name: scores[:, k] for k, name in enumerate(FACTORS)}
    for name, (other, correlation) in _CORRELATED.items():
        own = np.float32(np.sqrt(1 - correlation**2))
        columns[name] = correlation * columns[other] + own * columns[name]
    share = {name: jax.scipy.stats.norm.cdf(column) for name, column in columns.items()}
    factors = {name: 2 * share[name] ** _SKEW.get(name, 1.0) - 1 for name in FACTORS}
    return jnp.stack(list(_population(factors).values()), axis=1)


def _population(factors: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """Two kinds of gender more often than anything between; beards and lipstick accordingly."""
    gender = jnp.tanh(3.0 * factors["gender"]) / np.float32(np.tanh(3.0))
    male = jax.nn.sigmoid(8 * gender)
    beard = -1 + (factors["beard"] + 1) * male
    lips = -1 + (factors["lip_colour"] + 1) * (1 - male)
    return factors | {"gender": gender, "beard": beard, "lip_colour": lips}


@functools.cache
def mean_factors() -> np.ndarray:
    """Mean factors ``[F]`` over z, the person in the middle of W (for its style: any)."""
    with jax.ensure_compile_time_eval():
        z = jax.random.normal(jax.random.key(_MAP_SEED), (100_000, Z_DIM))
        return np.asarray(factors_from_z(z).mean(axis=0))


def hair_style(factors: np.ndarray) -> np.ndarray:
    """Index into `HAIR_STYLES` ``[N]`` int of factors ``[N, F]``."""
    share = (np.asarray(factors)[:, index("hair_style")] + 1) / 2
    return np.clip((share * len(HAIR_STYLES)).astype(int), 0, len(HAIR_STYLES) - 1)
