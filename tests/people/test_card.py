"""The model card."""

from __future__ import annotations

import pytest

from mm_jax.anchors.prompts import MOTIONS
from mm_jax.people.attributes import ATTRIBUTES
from mm_jax.people.captions import vocabulary
from mm_jax.people.card import MODELS, model_card
from mm_jax.people.factors import FACTORS
from mm_jax.zoo import BUNDLED


@pytest.fixture
def figures():
    floor = {
        "spearman": 0.991,
        "leakage_mean": 0.012,
        "leakage_max": 0.345,
        "largest": "hair_tone",
    }
    table = dict.fromkeys(FACTORS, 0.5)
    return {
        **{f"{name} trained on": f"much of {name}" for name in MODELS},
        "people-probe R2 on unseen renders": table | {"jaw": 0.111},
        "people-judge R2 on unseen renders": table | {"jaw": 0.222},
        "people R2 by the judge": table | {"jaw": 0.333},
        "people read by strangers": {
            "found": 0.998,
            "happy": 0.81,
            "angry": 0.62,
            "age": 0.73,
            "yaw": 0.97,
            "gender": 0.86,
        },
        "renders read by strangers": {
            "found": 1.0,
            "happy": 0.82,
            "angry": 0.63,
            "age": 0.57,
            "yaw": 0.98,
            "gender": 0.81,
        },
        "people PSNR": {"whole": 26.25, "inner": 27.75},
        "people-sketch-judge R2 on unseen renders": dict.fromkeys(FACTORS, 0.75),
        "people-sketch R2 by its judge": dict.fromkeys(FACTORS, 0.625),
        "people-sketch PSNR": {"whole": 24.25, "inner": 23.75},
        "people-judge floor": dict.fromkeys(MOTIONS, floor),
        "people-clip Spearman of motions": {
            name: {"degree": 0.9, "full": 0.8, "judge": 0.95} for name in MOTIONS
        },
        "people-clip Spearman of walks": dict.fromkeys(MOTIONS, 0.99) | {"anger": 0.97},
        "people-clip Spearman of captions": {a.name: 0.7 for a in ATTRIBUTES},
        "people-encoder PSNR of rebuilt images": {
            "generated": {"whole": 31.5, "inner": 32.5},
            "renders": {"whole": 24.5, "inner": 25.5},
        },
    }


def test_the_card_says_all_that_was_measured(figures):
    text = model_card(figures, machine="2 CPU cores")
    assert all(f"much of {name} |" in text for name in MODELS)
    assert all(f"{value} dB" in text for value in (26.25, 27.75, 24.25, 23.75, 31.5))
    assert "| 99.8% | 100.0% |" in text and "| age | age, rank correlation | 0.73 | 0.57 |" in text
    assert "| anger | 0.900 | 0.800 | 0.950 | 0.970 |" in text and "| 86% | 81% |" in text
    assert "0.75 of the factors' variance" in text and "0.62 from generated" in text
    assert "0.111 | 0.222 | 0.333 |" in text and "0.345 | hair_tone |" in text
    assert "{" not in text and all(len(line) <= 400 for line in text.splitlines())


def test_the_card_names_the_sources_and_lists_the_vocabulary(figures):
    text = model_card(figures, machine="2 CPU cores")
    for source in ("MakeHuman", "Mika Suominen", "NAVER", "CC0", "Apache-2.0"):
        assert source in text
    listed = text.split("Words: ")[1].rstrip(".\n").replace("\n", " ").split(", ")
    assert tuple(listed) == vocabulary()


@pytest.mark.parametrize("name", ["people PSNR", "people-encoder trained on"])
def test_what_is_not_measured_is_named(figures, name):
    del figures[name]
    with pytest.raises(KeyError, match=name):
        model_card(figures, machine="2 CPU cores")


def test_every_model_on_the_card_can_be_bundled():
    assert set(MODELS) <= BUNDLED.keys()
