"""Damaged contents of every layout: refused in words, whatever the damage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mm_jax.errors import DataError
from tests.weights_convert import foreign
from weights_convert.detect import BY_NAME, detect
from weights_convert.plan import Request
from weights_convert.readers import OpaqueObject, read_file
from weights_convert.structure import module_state

ODD = (
    None,
    3,
    "text",
    [1],
    {},
    np.float32(2),
    np.zeros(0, np.float32),
    np.zeros((0, 3), np.float32),
    np.ones((1, 1, 1, 1), np.float32),
    np.full((7, 7), np.nan),
    np.array(["a"]),
    np.ones(3, bool),
    np.ones((2, 2), np.complex64),
    OpaqueObject("argparse", "Namespace", (), {"size": 1}),
)
# Layouts whose parts are quick to build.
SMALL = (
    "ganspace", "ganspace_cache", "ganspace_edit", "sefa", "higan", "direction", "codes",
)  # fmt: skip
# Of a CLIP; the file is opened when one is built.
WORDS = Request(vocabulary="merges.txt.gz")


@pytest.fixture(scope="module")
def contents(states, module_of, network_of, goldens):
    """A good content of every layout, as a function of its state dict, and that state dict."""
    decoder = dict(states["rosinality"])
    mean = decoder.pop("latent_avg")
    encoder = foreign.encoder_state(restyle=False, rows=6, width=12)
    whole = {f"encoder.{key}": value for key, value in encoder.items()}
    whole |= {f"decoder.{key}": value for key, value in decoder.items()}
    opts = {"encoder_type": "GradualStyleEncoder"}
    components = {
        "comp": np.eye(4, 6, dtype=np.float32)[:, None],
        "mean": np.zeros((1, 6), np.float32),
        "std": np.ones(4, np.float32),
    }
    clip = module_state(read_file(goldens / "openai_clip" / "scripted.pt").content)
    return {
        "rosinality": (lambda s: {"g_ema": s, "latent_avg": mean}, decoder),
        "nvlabs": (lambda s: {"G_ema": module_of(s)}, states["nvlabs"]),
        "tensorflow": (lambda s: (None, None, network_of(s)), states["tensorflow"]),
        "encoder": (lambda s: {"state_dict": s, "opts": opts, "latent_avg": mean}, whole),
        "irse50": (lambda s: s, foreign.arcface_state()),
        "openai_clip": (lambda s: s, clip),
        "face_api": (
            lambda s: {"weights": s, "quantization": dict.fromkeys(s, (0.1, -1.0))},
            foreign.face_api_state("tiny_detector"),
        ),
        "ganspace": (lambda s: s, components),
        "ganspace_cache": (
            lambda s: s,
            {
                "lat_comp": components["comp"],
                "lat_mean": np.ones((1, 6), np.float32),
                "lat_stdev": np.ones(4, np.float32),
                "act_mean": np.ones((1, 6), np.float32),
            },
        ),
        "ganspace_edit": (
            lambda s: s,
            {
                "lat_comp": np.eye(1, 6, dtype=np.float32),
                "lat_stdev": np.float32(2),
                "edit_start": 2,
                "edit_end": 4,
                "edit_type": "latent",
                "latent_space": "W",
            },
        ),
        "sefa": (lambda s: s, {"ckpt": "a.pt", "eigvec": np.eye(6, dtype=np.float32)}),
        "higan": (
            lambda s: s,
            {"boundary": np.eye(1, 6, dtype=np.float32), "meta_data": {"latent_space_type": "W"}},
        ),
        "direction": (lambda s: s.get("d"), {"d": np.full((1, 6, 5), 30**-0.5, np.float32)}),
        "codes": (lambda s: s, {"a.jpg": [np.ones((6, 5), np.float32)]}),
    }


def test_every_layout_but_lpips_is_damaged_here(contents):
    assert set(contents) == set(BY_NAME) - {"lpips"}
    for name, (wrap, state) in contents.items():
        found, layout, _ = detect(wrap(state))
        assert found == name
        layout.plan(wrap(state), WORDS)


@pytest.mark.parametrize("name", sorted(set(BY_NAME) - {"lpips"}))
@given(
    damages=st.lists(
        st.tuples(
            st.integers(0, 99),
            st.sampled_from(["drop", "odd", "slice", "rename", "axis"]),
            st.integers(0, len(ODD) - 1),
        ),
        min_size=1,
        max_size=4,
    )
)
# What is empty, in one entry or two.
@example(damages=[(0, "odd", 6), (0, "axis", 0)])
@example(damages=[(0, "odd", 8), (0, "slice", 0)])
@example(damages=[(0, "odd", 6), (2, "odd", 6)])
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_damage(contents, name, damages):
    wrap, state = contents[name]
    keys, state = sorted(state), dict(state)
    for place, change, odd in damages:
        key = keys[place % len(keys)]
        value = state.pop(key, None)
        if change == "odd":
            state[key] = ODD[odd]
        elif change == "rename":
            state[f"{key}x"] = value
        elif change == "slice" and isinstance(value, np.ndarray) and value.ndim:
            state[key] = value[1:]
        elif change == "axis" and isinstance(value, np.ndarray):
            state[key] = value[None]
    for layout in ("auto", name):
        content = wrap(state)
        try:
            for part in detect(content, layout)[1].plan(content, WORDS).parts:
                if name in SMALL:
                    part.build()
        except DataError as error:
            assert "\n" not in str(error)
