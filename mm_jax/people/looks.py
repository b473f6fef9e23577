"""From factors to everything that is drawn: `person_of`.

The only place that knows what a factor does. Amounts were chosen by eye so that the ends are plain
and still human, and so that each factor's effect is about linear.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from mm_jax.people.eyes import Iris
from mm_jax.people.factors import FACTORS, HAIR_STYLES, hair_style
from mm_jax.people.fittings import Hair
from mm_jax.people.light import Light
from mm_jax.people.renderer import Background, Clothes, Person
from mm_jax.people.skin import Brows, Skin

__all__ = ["person_of"]

# Style: part of the heads, height at which it is cut (0: not at all), volume.
_STYLES = {
    "long": ("hair-long01", 0.0, 1.0),
    "ponytail": ("hair-ponytail01", 0.0, 1.0),
    "bob": ("hair-long01", 6.20, 1.04),
    "afro": ("hair-afro01", 0.0, 1.12),
    "tousled": ("hair-short02", 0.0, 1.0),
    "short": ("hair-short01", 0.0, 1.0),
    "shaved": ("", 0.0, 1.0),
}
_HAIR_TONES = np.log(
    [(0.010, 0.008, 0.007), (0.035, 0.020, 0.012), (0.12, 0.066, 0.035), (0.42, 0.29, 0.14)]
)
_EYES = np.log(
    [(0.030, 0.014, 0.007), (0.085, 0.040, 0.016), (0.12, 0.15, 0.075), (0.15, 0.27, 0.42)]
)
_ENDS = (0.0, 0.35, 0.68, 1.0)

# Shape: factor -> targets at +1 and at -1. A name that begins with "*-" stands for both sides.
_SHAPES: dict[str, tuple[dict[str, float], dict[str, float]]] = {
    "face_width": ({"head-scale-horiz-incr": 0.55}, {"head-scale-horiz-decr": 0.60}),
    "face_length": (
        {"head-scale-vert-incr": 0.30, "chin-height-incr": 0.25},
        {"head-scale-vert-decr": 0.30, "chin-height-decr": 0.35},
    ),
    "jaw": (
        {"chin-bones-incr": 0.55, "chin-width-incr": 0.45, "head-square": 0.45},
        {"chin-bones-decr": 0.40, "chin-width-decr": 0.70, "head-invertedtriangular": 0.80},
    ),
    "chin": (
        {"chin-prominent-incr": 0.55, "chin-jaw-drop-incr": 0.6},
        {"chin-prominent-decr": 0.65, "chin-jaw-drop-decr": 0.6},
    ),
    "cheeks": (
        {"*-cheek-volume-incr": 0.55, "*-cheek-inner-incr": 0.30},
        {"*-cheek-volume-decr": 0.70, "*-cheek-inner-decr": 0.60},
    ),
    "cheekbones": (
        {"*-cheek-bones-incr": 0.75},
        {"*-cheek-bones-decr": 1.0, "*-cheek-trans-down": 0.4},
    ),
    "forehead": (
        {"forehead-scale-vert-incr": 0.25, "forehead-temple-incr": 0.4},
        {"forehead-scale-vert-decr": 0.40, "forehead-temple-decr": 0.4},
    ),
    "nose_width": (
        {"nose-scale-horiz-incr": 0.6, "nose-width2-incr": 0.5, "nose-width3-incr": 0.45},
        {"nose-scale-horiz-decr": 0.6, "nose-width2-decr": 0.4, "nose-width3-decr": 0.45},
    ),
    "nose_length": (
        {"nose-scale-vert-incr": 0.75, "nose-scale-depth-incr": 0.35},
        {"nose-scale-vert-decr": 0.60, "nose-scale-depth-decr": 0.35},
    ),
    "nose_bridge": (
        {"nose-hump-incr": 0.75, "nose-greek-incr": 0.6},
        {"nose-curve-concave": 0.75, "nose-greek-decr": 0.5},
    ),
    "nose_tip": (
        {"nose-point-up": 0.85, "nose-base-up": 0.75},
        {"nose-point-down": 0.30, "nose-base-down": 0.65},
    ),
    "eye_size": (
        {"*-eye-scale-incr": 0.95, "*-eye-height2-incr": 0.65},
        {"*-eye-scale-decr": 0.60, "*-eye-height2-decr": 0.55},
    ),
    "eye_slant": (
        {"*-eye-corner1-up": 1.0, "*-eye-corner2-down": 0.6},
        {"*-eye-corner1-down": 1.0, "*-eye-corner2-up": 0.35},
    ),
    "eye_spacing": ({"*-eye-trans-out": 0.75}, {"*-eye-trans-in": 0.75}),
    "mouth_width": (
        {"mouth-scale-horiz-incr": 0.75},
        {"mouth-scale-horiz-decr": 0.75},
    ),
    "lip_fullness": (
        {
            "mouth-upperlip-height-incr": 0.65,
            "mouth-lowerlip-height-incr": 0.45,
            "mouth-lowerlip-volume-incr": 0.35,
            "mouth-upperlip-volume-incr": 0.35,
        },
        {
            "mouth-upperlip-height-decr": 0.55,
            "mouth-lowerlip-height-decr": 0.55,
            "mouth-upperlip-volume-decr": 0.5,
            "mouth-lowerlip-volume-decr": 0.5,
        },
    ),
    "ears": (
        {"*-ear-scale-incr": 0.6, "*-ear-wing-incr": 0.65},
        {"*-ear-scale-decr": 0.5, "*-ear-wing-decr": 0.4},
    ),
}

# Besides MakeHuman's own difference between the sexes, at female = 1 and at male = 1.
_FEMALE = {
    "*-eye-scale-incr": 0.40,
    "*-eye-height2-incr": 0.20,
    "nose-scale-horiz-decr": 0.35,
    "nose-scale-depth-decr": 0.25,
    "mouth-upperlip-height-incr": 0.30,
    "mouth-lowerlip-height-incr": 0.20,
    "chin-width-decr": 0.45,
    "*-cheek-bones-incr": 0.15,
    "neck-scale-horiz-decr": 0.45,
}
_MALE = {
    "chin-bones-incr": 0.35,
    "chin-width-incr": 0.35,
    "chin-prominent-incr": 0.20,
    "head-square": 0.20,
    "eyebrows-trans-forward": 0.22,
    "eyebrows-trans-down": 0.15,
    "*-eye-scale-decr": 0.20,
    "neck-scale-horiz-incr": 0.40,
    "nose-scale-depth-incr": 0.15,
}


def person_of(factors: np.ndarray) -> Person:
    """The person that factors ``[F]`` in [-1, 1] describe."""
    values = np.asarray(factors, float)
    f = dict(zip(FACTORS, (float(v) for v in values), strict=True))
    style, cut, volume = _STYLES[HAIR_STYLES[int(hair_style(values[None])[0])]]
    age = _degree(f["age"])
    male = _degree(f["gender"])
    grey = 0.85 * max(0.0, (age - 0.2) / 0.8)
    colour = _hair_colour(f)
    hair = Hair(style, colour, grey, volume * (1 + 0.22 * f["hair_volume"]), cut)
    return Person(
        shape=_shape(f, age, male),
        expression=_expression(f),
        yaw=math.radians(40) * f["yaw"],
        pitch=math.radians(15) * f["pitch"],
        roll=math.radians(8) * f["roll"],
        skin=_skin(f, age, male, hair),
        iris=_iris(f),
        hair=hair,
        clothes=_clothes(f, male),
        light=_light(f),
        background=_background(f),
        lashes=0.75 + 0.5 * (1 - male),
    )


def _degree(factor: float) -> float:
    return 0.5 * (factor + 1)


def _ramp(x: float, low: float, high: float) -> float:
    t = min(1.0, max(0.0, (x - low) / (high - low)))
    return t * t * (3 - 2 * t)


def _along(table: np.ndarray, x: float) -> np.ndarray:
    """A colour on a scale of four log albedos, x in [0, 1]."""
    return np.exp([np.interp(x, _ENDS, table[:, c]) for c in range(3)])


def _add(weights: dict[str, float], name: str, amount: float) -> None:
    sides = ("l", "r") if name.startswith("*-") else ("",)
    for side in sides:
        full = side + name[1:] if side else name
        weights[full] = weights.get(full, 0.0) + amount


def _origin(f: Mapping[str, float]) -> dict[str, float]:
    african, asian = _degree(f["african"]), _degree(f["asian"])
    raw = np.exp(3.2 * np.array([african - 0.5, asian - 0.5, 0.0]) - np.array([0.25, 0.25, 0]))
    share = raw / raw.sum()
    return dict(zip(("african", "asian", "caucasian"), share, strict=True))


def _shape(f: Mapping[str, float], age: float, male: float) -> dict[str, float]:
    weights: dict[str, float] = {}
    old = 0.03 + 0.92 * age
    heavy = 0.48 + 0.36 * f["weight"]
    sexes = {"male": -0.05 + 1.08 * male, "female": 1.05 - 1.08 * male}
    for sex, of_sex in sexes.items():
        for years, of_age in (("young", 1 - old), ("old", old)):
            for group, share in _origin(f).items():
                _add(weights, f"{group}-{sex}-{years}", of_sex * of_age * share)
            builds = {
                "minweight": max(0.0, 1 - 2 * heavy),
                "averageweight": 1 - abs(2 * heavy - 1),
                "maxweight": max(0.0, 2 * heavy - 1),
            }
            for build, amount in builds.items():
                _add(weights, f"{sex}-{years}-{build}", of_sex * of_age * amount)
    for factor, (up, down) in _SHAPES.items():
        for name, amount in (up if f[factor] > 0 else down).items():
            _add(weights, name, amount * abs(f[factor]))
    for table, share in ((_FEMALE, 1 - male), (_MALE, male)):
        for name, amount in table.items():
            _add(weights, name, amount * share)
    _add(weights, "head-age-incr", 0.5 * _ramp(age, 0.4, 1.0))
    _add(weights, "neck-double-incr", 0.4 * max(0.0, heavy - 0.45))
    # The base mesh scowls and pouts a little.
    _add(weights, "eyebrows-angle-up", 0.35)
    _add(weights, "mouth-angles-up", 0.25)
    return weights


def _expression(f: Mapping[str, float]) -> dict[str, float]:
    smile, frown = _degree(f["smile"]), max(0.0, -f["smile"])
    anger = 1.5 * _degree(f["anger"])
    close = _degree(f["eye_close"])
    opened = _degree(f["mouth_open"])
    raised = _degree(f["brow_raise"])
    sneer, pout = _degree(f["sneer"]), _degree(f["pout"])
    smile = 1.05 * smile**1.2
    units: dict[str, float] = {}
    both = {
        "mouthSmile": smile,
        "mouthFrown": 0.75 * frown + 0.55 * anger,
        "cheekSquint": 0.60 * smile + 0.2 * sneer,
        "eyeSquint": 0.22 * smile + 0.06 * anger,
        "mouthUpperUp": 0.55 * smile + 0.26 * anger + 0.75 * sneer,
        "mouthLowerDown": 0.30 * smile + 0.36 * anger,
        "mouthStretch": 0.20 * smile + 0.26 * anger,
        "mouthDimple": 0.20 * smile,
        "browDown": 1.25 * anger,
        "noseSneer": 0.62 * anger + 0.95 * sneer,
        "mouthPress": 0.10 * anger,
        "eyeBlink": 0.02 + 0.98 * close,
        "eyeWide": 0.5 * (1 - close) * (0.6 + 0.4 * raised),
        "browOuterUp": 0.15 * (1 - 0.6 * anger / 1.5) + 0.85 * raised,
    }
    for name, amount in both.items():
        for side in ("Left", "Right"):
            units[name + side] = max(0.0, amount)
    units["browInnerUp"] = 0.20 * max(0.0, 1 - anger) + raised
    units["jawOpen"] = 0.46 * opened**1.1 + 0.12 * smile + 0.08 * anger
    units["mouthPucker"] = 0.95 * pout
    units["mouthFunnel"] = 0.35 * pout
    # At rest the eyes converge a little.
    aside = 0.60 * f["gaze_x"]
    units["eyeLookOutLeft"] = units["eyeLookInRight"] = max(0.0, aside)
    units["eyeLookInLeft"] = units["eyeLookOutRight"] = max(0.0, -aside)
    for side in ("Left", "Right"):
        units[f"eyeLookIn{side}"] += 0.08
        units[f"eyeLookUp{side}"] = max(0.0, 0.42 * f["gaze_y"])
        units[f"eyeLookDown{side}"] = max(0.0, -0.42 * f["gaze_y"])
    return units


def _hair_colour(f: Mapping[str, float]) -> np.ndarray:
    colour = _along(_HAIR_TONES, _degree(f["hair_tone"]))
    if f["hair_red"] > 0:
        return colour * np.exp(f["hair_red"] * np.array([0.55, -0.18, -0.55]))
    return colour * np.exp(-f["hair_red"] * np.array([-0.22, -0.05, 0.12]))


def _skin(f: Mapping[str, float], age: float, male: float, hair: Hair) -> Skin:
    melanin = float(np.clip(_degree(f["skin_tone"]), 0, 1))
    raised, anger = _degree(f["brow_raise"]), _degree(f["anger"])
    smile = _degree(f["smile"])
    natural = np.array([0.40, 0.165, 0.14]) * np.exp(-melanin * np.array([0.95, 0.95, 0.8]))
    natural = natural * np.array([1.0, 1.0 - 0.22 * (1 - male), 1.0 - 0.15 * (1 - male)])
    red = np.array([0.36, 0.045, 0.060])
    painted = _degree(f["lip_colour"])
    wrinkles = (
        1.80 * age**1.2 + 0.50 * raised,  # forehead
        0.85 * age + 1.10 * anger,  # frown
        1.75 * age + 0.35 * smile,  # crows_feet
        0.08 + 1.50 * age + 0.35 * smile + 0.25 * _degree(f["sneer"]),  # nasolabial
        0.05 + 1.80 * age,  # eye_bags
        1.80 * age**1.4,  # coarse
        1.40 * age**1.4,  # neck
    )
    brow_colour = 0.55 * (hair.colour * (1 - 0.7 * hair.grey) + 0.28 * 0.7 * hair.grey)
    return Skin(
        melanin=melanin,
        redness=0.40 + 0.34 * f["redness"],
        freckles=_degree(f["freckles"]),
        spots=0.25 * _ramp(age, 0.45, 1.0),
        shadows=0.22 + 0.75 * age,
        oil=0.80,
        lips=natural * (1 - painted) + red * painted,
        lip_strength=0.40 + 0.22 * (1 - male) + 0.35 * painted,
        gloss=0.4 + 0.6 * painted,
        beard=min(0.95, 0.13 * male + 0.86 * _degree(f["beard"])),
        scalp=0.75 if not hair.style else 1.0,
        hair=0.75 * hair.albedo,
        brow=brow_colour,
        brows=Brows(
            thickness=(0.74 + 0.40 * male) * (1 + 0.32 * f["brow_thickness"]),
            density=0.60 + 0.22 * male + 0.10 * f["brow_thickness"],
            lift=0.030 * f["brow_height"],
            arch=0.058 - 0.035 * male,
        ),
        lashes=0.25 + 0.75 * (1 - male),
        wrinkles=wrinkles,
    )


def _iris(f: Mapping[str, float]) -> Iris:
    colour = _along(_EYES, _degree(f["eye_colour"]))
    return Iris(outer=0.80 * colour, inner=1.35 * colour)


def _clothes(f: Mapping[str, float], male: float) -> Clothes:
    part = "clothes-male_casualsuit02"
    tint = np.exp(0.55 * f["clothes_warmth"] * np.array([1.0, 0.0, -1.0]))
    return Clothes(part, np.clip(np.exp(-2.1 + 1.3 * f["clothes_tone"]) * tint, 0.01, 0.85))


def _light(f: Mapping[str, float]) -> Light:
    return Light(
        azimuth=1.05 * f["light_azimuth"],
        elevation=0.50 + 0.32 * f["light_elevation"],
        warmth=0.22 * f["light_warmth"],
        strength=1.35 + 0.45 * f["light_strength"],
        ambient=0.85 + 0.30 * f["ambient"],
        behind=_background(f).colour,
    )


def _background(f: Mapping[str, float]) -> Background:
    tint = np.exp(
        0.45 * f["background_warmth"] * np.array([1.0, 0.0, -1.0])
        + 0.28 * f["background_tint"] * np.array([-0.5, 1.0, -0.5])
    )
    colour = np.exp(-1.35 + 1.1 * f["background_tone"]) * tint
    return Background(colour, 0.45 * f["background_gradient"])
