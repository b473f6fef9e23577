"""What can be said of a person and of an image, and to what degree it is true.

An `Attribute` can be said to a degree: 0 is "not at all", 1 is "completely". It is worded in
phrases, most of which hold ``{degree}``; without the degree the same phrase says it plainly.

Some attributes have two sides, such as turning the head to the right: 0 is then the middle, and the
degree of the other side is negative, so that a head turned left does not fit "0% to the right".

Shapes: N images, F factors, A attributes.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Mapping

import numpy as np

from mm_jax.anchors.prompts import MOTIONS, PLACEHOLDER
from mm_jax.people.factors import FACTORS, HAIR_STYLES, hair_style

__all__ = [
    "ATTRIBUTES",
    "MOTION_COUNT",
    "MOTION_FACTOR",
    "Attribute",
    "degrees_of",
    "position",
    "with_article",
    "without_degree",
]

# Factors by name, and one column ``style:...`` for each style of hair; ``[N]`` each.
Columns = Mapping[str, np.ndarray]

# Frames of phrases that stand alone.
_IS = ("{}", "a person who is {}", "a photo of a person who is {}")
_HAS = ("{}", "a person with {}", "a photo of a person with {}", "a portrait of a person with {}")
_SCENE = ("{}", "a photo with {}", "a portrait with {}")
_PERSON = ("{}", "a photo of {}", "a portrait of {}", "a picture of {}", "the face of {}")


@dataclasses.dataclass(frozen=True)
class Attribute:
    """Something that captions say of a person or an image.

    Attributes:
        name: for messages and figures.
        degree: true degrees ``[N]`` from the columns of factors.
        prompts: whole captions that hold ``{degree}``, such as the paper's.
        is_: predicates: "{degree} angry", said as "a person who is very angry".
        has: what comes after "with": "a {degree} big nose", "eyes {degree} closed", "a ponytail".
        scene: what comes after "a photo with": "{degree} bright light".
        adjective: plain words before "person": "angry".
        noun: plain words in place of "person": "man".
        lacks: plain phrases after "with" which say that it is not there: "no beard".
    """

    name: str
    degree: Callable[[Columns], np.ndarray]
    prompts: tuple[str, ...] = ()
    is_: tuple[str, ...] = ()
    has: tuple[str, ...] = ()
    scene: tuple[str, ...] = ()
    adjective: tuple[str, ...] = ()
    noun: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()

    @functools.cached_property
    def templates(self) -> tuple[str, ...]:
        """All wordings that hold ``{degree}``, the prompts first; none for what is not graded."""
        wordings = dict.fromkeys((*self.prompts, *self._framed))
        return tuple(text for text in wordings if PLACEHOLDER in text)

    @functools.cached_property
    def sayings(self) -> tuple[str, ...]:
        """All wordings that say plainly that it is there."""
        people = [f"{word} person" for word in self.adjective] + list(self.noun)
        whole = [frame.format(with_article(person)) for person in people for frame in _PERSON]
        return tuple(dict.fromkeys([*map(without_degree, self._framed), *whole]))

    @functools.cached_property
    def denials(self) -> tuple[str, ...]:
        """All wordings that say plainly that it is not there."""
        return tuple(frame.format(phrase) for phrase in self.lacks for frame in _HAS)

    @functools.cached_property
    def _framed(self) -> tuple[str, ...]:
        kinds = ((self.is_, _IS), (self.has, _HAS), (self.scene, _SCENE))
        return tuple(
            f.format(phrase) for phrases, frames in kinds for phrase in phrases for f in frames
        )


def without_degree(phrase: str) -> str:
    """The plain phrase: "a {degree} angry look" becomes "an angry look"."""
    text = " ".join(phrase.replace(PLACEHOLDER, " ").split())
    return re.sub(r"\ba (?=[aio]|e(?!u))", "an ", text)


def with_article(person: str) -> str:
    """A noun with "a" or "an"."""
    return without_degree(f"a {person}")


# --- true degrees ---------------------------------------------------------------------------------


def _rise(*names: str) -> Callable[[Columns], np.ndarray]:
    """From 0 to 1 while factors go from -1 to 1; the mean of several."""
    return lambda f: np.mean([0.5 + 0.5 * f[name] for name in names], axis=0)


def _fall(*names: str) -> Callable[[Columns], np.ndarray]:
    rise = _rise(*names)
    return lambda f: 1 - rise(f)


def _side(name: str, sign: int) -> Callable[[Columns], np.ndarray]:
    """From 0 in the middle to 1 at one end, negative on the other side."""
    return lambda f: sign * f[name]


def _styles(**degrees: float) -> Callable[[Columns], np.ndarray]:
    """A degree for each style of hair; 0 for those that are not named."""
    return lambda f: np.sum([v * f[f"style:{name}"] for name, v in degrees.items()], axis=0)


def _grey(f: Columns) -> np.ndarray:
    """How grey the hair has become with age: as `mm_jax.people.looks` draws it, 1 at most."""
    return np.clip((0.5 + 0.5 * f["age"] - 0.2) / 0.8, 0, 1)


def _hair(
    amount: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> Callable[[Columns], np.ndarray]:
    """Degree of a colour of hair, from tone and redness in [0, 1]; less so when grey or shaved."""

    def degree(f: Columns) -> np.ndarray:
        colour = amount(0.5 + 0.5 * f["hair_tone"], np.clip(f["hair_red"], 0, 1))
        return np.clip(colour, 0, 1) * (1 - _grey(f)) * (1 - f["style:shaved"])

    return degree


def _european(f: Columns) -> np.ndarray:
    return 1 - np.maximum(_rise("african")(f), _rise("asian")(f))


def _green_eyes(f: Columns) -> np.ndarray:
    # Green lies at about two thirds of the scale from brown to blue.
    return np.clip(1 - np.abs(0.5 + 0.5 * f["eye_colour"] - 0.68) / 0.3, 0, 1)


def _motion(name: str) -> tuple[str, ...]:
    return (MOTIONS[name].template,)


#: All attributes; the micromotions come first, by the names of `mm_jax.anchors.prompts.MOTIONS`.
ATTRIBUTES = (
    Attribute(
        "smile",
        _rise("smile"),
        prompts=(*_motion("smile"), "a face with a {degree} smile"),
        is_=("{degree} smiling", "{degree} happy"),
        has=("a {degree} broad smile", "a smile"),
        adjective=("smiling", "happy"),
    ),
    Attribute(
        "anger",
        _rise("anger"),
        prompts=(*_motion("anger"), "a face with a {degree} angry expression"),
        is_=("{degree} angry", "{degree} furious"),
        has=("a {degree} angry look",),
        adjective=("angry", "furious"),
    ),
    Attribute(
        "aging",
        _rise("age"),
        prompts=(*_motion("aging"), "a {degree} old person"),
        is_=("{degree} old", "{degree} aged"),
        has=("{degree} deep wrinkles", "a {degree} wrinkled face"),
        adjective=("old", "elderly", "aged"),
        lacks=("no wrinkles", "smooth skin"),
    ),
    Attribute(
        "closing_eyes",
        _rise("eye_close"),
        prompts=(*_motion("closing_eyes"), "a face with {degree} closed eyes"),
        has=("eyes {degree} closed", "{degree} closed eyes", "eyes {degree} shut"),
        is_=("{degree} asleep",),
        adjective=("sleeping",),
        lacks=("open eyes",),
    ),
    Attribute(
        "head_turn",
        _side("yaw", 1),
        prompts=_motion("head_turn"),
        has=("head turned {degree} to the right", "face turned {degree} to the right"),
        is_=("turned {degree} to the right",),
    ),
    Attribute(
        "head_turn_left",
        _side("yaw", -1),
        has=("head turned {degree} to the left", "face turned {degree} to the left"),
        is_=("turned {degree} to the left",),
    ),
    Attribute(
        "head_frontal",
        lambda f: 1 - np.abs(f["yaw"]),
        is_=("{degree} facing the camera", "{degree} facing the viewer"),
        has=("a {degree} frontal face",),
    ),
    Attribute("head_down", _side("pitch", 1), has=("head {degree} lowered", "head {degree} down")),
    Attribute("head_up", _side("pitch", -1), has=("head {degree} raised", "chin {degree} up")),
    Attribute("tilt_left", _side("roll", 1), has=("head tilted {degree} to the left",)),
    Attribute("tilt_right", _side("roll", -1), has=("head tilted {degree} to the right",)),
    Attribute(
        "sadness",
        _side("smile", -1),
        is_=("{degree} sad", "{degree} unhappy"),
        has=("a {degree} sad expression", "mouth corners {degree} down"),
        adjective=("sad",),
    ),
    Attribute(
        "calm",
        _fall("anger"),
        is_=("{degree} calm", "{degree} relaxed"),
        has=("a {degree} calm expression",),
        adjective=("calm",),
    ),
    Attribute(
        "mouth_open",
        _rise("mouth_open"),
        has=("mouth {degree} open", "a {degree} open mouth"),
        lacks=("mouth closed", "closed lips"),
    ),
    Attribute(
        "raised_brows",
        _rise("brow_raise"),
        has=("eyebrows {degree} raised", "{degree} raised eyebrows"),
        is_=("{degree} surprised",),
        adjective=("surprised",),
    ),
    Attribute(
        "pout",
        _rise("pout"),
        is_=("{degree} pouting",),
        has=("{degree} pouting lips", "lips {degree} pushed forward"),
        adjective=("pouting",),
    ),
    Attribute(
        "sneer",
        _rise("sneer"),
        is_=("{degree} sneering", "{degree} disgusted"),
        has=("a {degree} wrinkled nose", "upper lip {degree} raised"),
        adjective=("sneering", "disgusted"),
    ),
    Attribute("eyes_open", _fall("eye_close"), has=("eyes {degree} open", "{degree} open eyes")),
    Attribute(
        "gaze_right",
        _side("gaze_x", 1),
        is_=("looking {degree} to the right",),
        has=("eyes looking {degree} right", "gaze {degree} to the right"),
    ),
    Attribute(
        "gaze_left",
        _side("gaze_x", -1),
        is_=("looking {degree} to the left",),
        has=("eyes looking {degree} left", "gaze {degree} to the left"),
    ),
    Attribute(
        "gaze_up",
        _side("gaze_y", 1),
        is_=("looking {degree} up",),
        has=("eyes looking {degree} up", "gaze {degree} upwards"),
    ),
    Attribute(
        "gaze_down",
        _side("gaze_y", -1),
        is_=("looking {degree} down",),
        has=("eyes looking {degree} down", "gaze {degree} downwards"),
    ),
    Attribute(
        "youth",
        _fall("age"),
        is_=("{degree} young", "{degree} youthful"),
        has=("a {degree} young face", "{degree} smooth skin"),
        adjective=("young", "youthful"),
    ),
    Attribute(
        "man",
        _rise("gender"),
        is_=("{degree} male", "{degree} masculine"),
        has=("a {degree} masculine face",),
        adjective=("male", "masculine"),
        noun=("man", "gentleman", "guy"),
    ),
    Attribute(
        "woman",
        _fall("gender"),
        is_=("{degree} female", "{degree} feminine"),
        has=("a {degree} feminine face",),
        adjective=("female", "feminine"),
        noun=("woman", "lady"),
    ),
    Attribute(
        "african",
        _rise("african", "skin_tone"),
        is_=("{degree} african",),
        has=("a {degree} african face",),
        adjective=("african", "black"),
    ),
    Attribute(
        "asian",
        _rise("asian"),
        is_=("{degree} asian",),
        has=("a {degree} asian face",),
        adjective=("asian", "east asian"),
    ),
    Attribute(
        "european",
        _european,
        is_=("{degree} european",),
        has=("a {degree} european face",),
        adjective=("european", "white"),
    ),
    Attribute(
        "fat",
        _rise("weight"),
        is_=("{degree} fat", "{degree} heavy"),
        has=("a {degree} fat face", "a {degree} double chin"),
        adjective=("fat", "heavy", "chubby"),
    ),
    Attribute(
        "thin",
        _fall("weight"),
        is_=("{degree} thin", "{degree} slim"),
        has=("a {degree} thin face",),
        adjective=("thin", "slim"),
    ),
    Attribute(
        "wide_face", _rise("face_width"), has=("a {degree} wide face", "a {degree} broad face")
    ),
    Attribute("narrow_face", _fall("face_width"), has=("a {degree} narrow face",)),
    Attribute("long_face", _rise("face_length"), has=("a {degree} long face",)),
    Attribute("short_face", _fall("face_length"), has=("a {degree} short face",)),
    Attribute("square_jaw", _rise("jaw"), has=("a {degree} square jaw", "a {degree} wide jaw")),
    Attribute("pointed_chin", _fall("jaw"), has=("a {degree} pointed chin",)),
    Attribute("strong_chin", _rise("chin"), has=("a {degree} strong chin", "a {degree} long chin")),
    Attribute("weak_chin", _fall("chin"), has=("a {degree} weak chin", "a {degree} receding chin")),
    Attribute(
        "full_cheeks", _rise("cheeks"), has=("{degree} full cheeks", "{degree} round cheeks")
    ),
    Attribute("hollow_cheeks", _fall("cheeks"), has=("{degree} hollow cheeks",)),
    Attribute("cheekbones", _rise("cheekbones"), has=("{degree} high cheekbones",)),
    Attribute("high_forehead", _rise("forehead"), has=("a {degree} high forehead",)),
    Attribute("low_forehead", _fall("forehead"), has=("a {degree} low forehead",)),
    Attribute(
        "big_nose",
        _rise("nose_width", "nose_length"),
        has=("a {degree} big nose", "a {degree} large nose"),
    ),
    Attribute("small_nose", _fall("nose_width", "nose_length"), has=("a {degree} small nose",)),
    Attribute("wide_nose", _rise("nose_width"), has=("a {degree} wide nose",)),
    Attribute("narrow_nose", _fall("nose_width"), has=("a {degree} narrow nose",)),
    Attribute("long_nose", _rise("nose_length"), has=("a {degree} long nose",)),
    Attribute("hooked_nose", _rise("nose_bridge"), has=("a {degree} hooked nose",)),
    Attribute("snub_nose", _rise("nose_tip"), has=("a {degree} snub nose",)),
    Attribute("big_eyes", _rise("eye_size"), has=("{degree} big eyes", "{degree} large eyes")),
    Attribute("small_eyes", _fall("eye_size"), has=("{degree} small eyes",)),
    Attribute("slanted_eyes", _rise("eye_slant"), has=("{degree} slanted eyes",)),
    Attribute("wide_set_eyes", _rise("eye_spacing"), has=("eyes {degree} far apart",)),
    Attribute("close_set_eyes", _fall("eye_spacing"), has=("eyes {degree} close together",)),
    Attribute("wide_mouth", _rise("mouth_width"), has=("a {degree} wide mouth",)),
    Attribute("small_mouth", _fall("mouth_width"), has=("a {degree} small mouth",)),
    Attribute(
        "full_lips", _rise("lip_fullness"), has=("{degree} full lips", "{degree} thick lips")
    ),
    Attribute("thin_lips", _fall("lip_fullness"), has=("{degree} thin lips",)),
    Attribute("big_ears", _rise("ears"), has=("{degree} big ears", "ears {degree} sticking out")),
    Attribute(
        "dark_skin",
        _rise("skin_tone"),
        has=("{degree} dark skin", "{degree} brown skin"),
    ),
    Attribute(
        "pale_skin",
        _fall("skin_tone"),
        is_=("{degree} pale",),
        has=("{degree} pale skin", "{degree} fair skin", "{degree} light skin"),
        adjective=("pale",),
    ),
    Attribute("red_cheeks", _rise("redness"), has=("{degree} red cheeks", "{degree} rosy cheeks")),
    Attribute(
        "freckles",
        _rise("freckles"),
        is_=("{degree} freckled",),
        has=("{degree} freckles", "a {degree} freckled face"),
        adjective=("freckled",),
        lacks=("no freckles", "clear skin"),
    ),
    Attribute(
        "beard",
        _rise("beard"),
        is_=("{degree} bearded",),
        has=("a {degree} full beard", "a {degree} thick beard", "{degree} beard"),
        adjective=("bearded",),
        lacks=("no beard", "a clean-shaven face"),
    ),
    Attribute(
        "lipstick",
        _rise("lip_colour"),
        has=("{degree} red lipstick", "{degree} red lips", "{degree} makeup"),
        lacks=("no lipstick", "natural lips"),
    ),
    Attribute("blue_eyes", _rise("eye_colour"), has=("{degree} blue eyes",)),
    Attribute("green_eyes", _green_eyes, has=("{degree} green eyes",)),
    Attribute("brown_eyes", _fall("eye_colour"), has=("{degree} brown eyes", "{degree} dark eyes")),
    Attribute(
        "thick_brows",
        _rise("brow_thickness"),
        has=("{degree} thick eyebrows", "{degree} bushy eyebrows"),
    ),
    Attribute("thin_brows", _fall("brow_thickness"), has=("{degree} thin eyebrows",)),
    Attribute("high_brows", _rise("brow_height"), has=("{degree} high eyebrows",)),
    Attribute("low_brows", _fall("brow_height"), has=("{degree} low eyebrows",)),
    Attribute(
        "long_hair",
        _styles(long=1.0, ponytail=0.6, bob=0.5, afro=0.3, tousled=0.15),
        is_=("{degree} long-haired",),
        has=("{degree} long hair",),
        adjective=("long-haired",),
    ),
    Attribute(
        "short_hair",
        _styles(short=1.0, tousled=0.8, shaved=0.6, bob=0.3, afro=0.3, ponytail=0.2),
        is_=("{degree} short-haired",),
        has=("{degree} short hair",),
        adjective=("short-haired",),
    ),
    Attribute(
        "shaved",
        _styles(shaved=1.0, short=0.15),
        is_=("{degree} bald",),
        has=("a {degree} shaved head", "a {degree} bald head"),
        adjective=("bald",),
        lacks=("hair on the head",),
    ),
    Attribute(
        "curly_hair",
        _styles(afro=1.0, tousled=0.2),
        has=("{degree} curly hair", "{degree} frizzy hair", "an afro", "an afro haircut"),
        adjective=("curly-haired",),
        lacks=("straight hair",),
    ),
    Attribute(
        "ponytail",
        _styles(ponytail=1.0),
        has=("a ponytail", "hair tied back", "hair {degree} pulled back"),
        lacks=("hair hanging down",),
    ),
    Attribute("bob", _styles(bob=1.0), has=("a bob haircut", "a bob", "chin-length hair")),
    Attribute(
        "tousled_hair",
        _styles(tousled=1.0),
        has=("{degree} messy hair", "{degree} tousled hair"),
    ),
    Attribute(
        "thick_hair", _rise("hair_volume"), has=("{degree} thick hair", "{degree} full hair")
    ),
    Attribute("flat_hair", _fall("hair_volume"), has=("{degree} flat hair",)),
    Attribute(
        "black_hair",
        _hair(lambda tone, red: 1 - tone / 0.45),
        has=("{degree} black hair", "{degree} dark hair"),
        adjective=("dark-haired",),
    ),
    Attribute(
        "brown_hair",
        _hair(lambda tone, red: (1 - np.abs(tone - 0.5) / 0.35) * (1 - 0.6 * red)),
        has=("{degree} brown hair",),
        adjective=("brown-haired",),
    ),
    Attribute(
        "blond_hair",
        _hair(lambda tone, red: (tone - 0.5) / 0.5 * (1 - 0.6 * red)),
        is_=("{degree} blond", "{degree} blonde"),
        has=("{degree} blond hair", "{degree} blonde hair", "{degree} fair hair"),
        adjective=("blond", "blonde"),
    ),
    Attribute(
        "red_hair",
        # On black hair no red is seen.
        _hair(lambda tone, red: red * np.clip(tone / 0.4, 0, 1)),
        is_=("{degree} red-haired", "{degree} ginger"),
        has=("{degree} red hair", "{degree} ginger hair", "{degree} auburn hair"),
        adjective=("red-haired", "ginger"),
    ),
    Attribute(
        "grey_hair",
        lambda f: _grey(f) * (1 - f["style:shaved"]),
        is_=("{degree} grey-haired", "{degree} gray-haired"),
        has=("{degree} grey hair", "{degree} gray hair", "{degree} white hair"),
        adjective=("grey-haired", "gray-haired"),
    ),
    Attribute(
        "light_clothes",
        _rise("clothes_tone"),
        has=("{degree} light clothes", "{degree} bright clothes"),
    ),
    Attribute("dark_clothes", _fall("clothes_tone"), has=("{degree} dark clothes",)),
    Attribute(
        "orange_clothes",
        _side("clothes_warmth", 1),
        has=("{degree} orange clothes", "{degree} warm clothes"),
    ),
    Attribute("blue_clothes", _side("clothes_warmth", -1), has=("{degree} blue clothes",)),
    Attribute("light_left", _side("light_azimuth", -1), scene=("light {degree} from the left",)),
    Attribute("light_right", _side("light_azimuth", 1), scene=("light {degree} from the right",)),
    Attribute("light_high", _rise("light_elevation"), scene=("light {degree} from above",)),
    Attribute("light_low", _fall("light_elevation"), scene=("light {degree} from low down",)),
    Attribute("warm_light", _side("light_warmth", 1), scene=("{degree} warm light",)),
    Attribute(
        "cool_light",
        _side("light_warmth", -1),
        scene=("{degree} cool light", "{degree} cold light"),
    ),
    Attribute(
        "strong_light",
        _rise("light_strength"),
        scene=("{degree} strong light", "{degree} bright light"),
    ),
    Attribute(
        "dim_light", _fall("light_strength"), scene=("{degree} dim light", "{degree} weak light")
    ),
    Attribute(
        "deep_shadows", _fall("ambient"), scene=("{degree} deep shadows", "{degree} dark shadows")
    ),
    Attribute(
        "soft_light", _rise("ambient"), scene=("{degree} soft light", "{degree} soft shadows")
    ),
    Attribute(
        "bright_background",
        _rise("background_tone"),
        scene=("a {degree} bright background", "a {degree} light background"),
    ),
    Attribute("dark_background", _fall("background_tone"), scene=("a {degree} dark background",)),
    Attribute(
        "orange_background",
        _side("background_warmth", 1),
        scene=("a {degree} orange background", "a {degree} warm background"),
    ),
    Attribute(
        "blue_background", _side("background_warmth", -1), scene=("a {degree} blue background",)
    ),
    Attribute(
        "green_background", _side("background_tint", 1), scene=("a {degree} green background",)
    ),
    Attribute(
        "pink_background",
        _side("background_tint", -1),
        scene=("a {degree} pink background", "a {degree} purple background"),
    ),
)
#: How many of `ATTRIBUTES`, from the first on, are the micromotions.
MOTION_COUNT = len(MOTIONS)
#: The factor that each micromotion is about.
MOTION_FACTOR = {
    "smile": "smile",
    "anger": "anger",
    "aging": "age",
    "closing_eyes": "eye_close",
    "head_turn": "yaw",
}


def position(name: str) -> int:
    """Place of an attribute in `ATTRIBUTES`; `KeyError` if there is no such attribute."""
    names = [attribute.name for attribute in ATTRIBUTES]
    if name not in names:
        raise KeyError(f"unknown attribute {name!r}; known: {', '.join(names)}")
    return names.index(name)


def degrees_of(factors: np.ndarray) -> np.ndarray:
    """True degrees ``[N, A]`` float32 of every attribute, of factors ``[N, F]``."""
    factors = np.asarray(factors, np.float32)
    columns = {name: factors[:, k] for k, name in enumerate(FACTORS)}
    style = hair_style(factors)
    columns |= {f"style:{name}": (style == k) * 1.0 for k, name in enumerate(HAIR_STYLES)}
    degrees = [attribute.degree(columns) for attribute in ATTRIBUTES]
    return np.stack(degrees, axis=1).astype(np.float32)
