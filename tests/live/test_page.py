"""What the page of a live face holds: latents, motions, sliders."""

from __future__ import annotations

import base64
import json
import re

import numpy as np
import pytest

import mm_jax
from mm_jax.artifacts import Subspace
from mm_jax.live import page


def floats(text):
    return np.frombuffer(base64.b64decode(text), "<f4")


@pytest.fixture(scope="module")
def smile(tiny_generator):
    rows, width = tiny_generator.config.num_ws, tiny_generator.config.w_dim
    basis = np.random.RandomState(0).randn(1, rows, width).astype(np.float32)
    return Subspace(
        basis=basis / np.linalg.norm(basis), scale=np.float32(3), mask=np.arange(rows) > 1,
        singular_values=np.ones(1), mean=basis[0], pc1_ratio=1.0, meta={"limits": [-0.5, 1.25]},
    )  # fmt: skip


@pytest.mark.parametrize("layers", [None, (2, 3)])
@pytest.mark.parametrize("in_w", [True, False])
def test_the_file_of_latents_holds_what_edits_add(tiny_generator, smile, layers, in_w):
    ws = np.asarray(mm_jax.sample_latents(tiny_generator, seeds=range(3), truncation_psi=0.7))
    if not in_w:
        ws = ws + np.random.RandomState(1).randn(*ws.shape).astype(np.float32)
    told = page.to_json(tiny_generator, ws, {"closing_eyes": smile}, layers=layers)
    told = json.loads(json.dumps(told))
    rows, width, own = told["rows"], told["width"], told["face_rows"]
    assert own == (1 if in_w else rows)
    faces = np.broadcast_to(floats(told["faces"]).reshape(3, own, width), (3, rows, width))
    (motion,) = told["motions"]
    assert (motion["title"], motion["low"], motion["high"]) == ("Closing eyes", -0.5, 1.25)
    edited = faces + 0.75 * floats(motion["direction"]).reshape(rows, width)
    wanted = np.asarray(mm_jax.apply_edit(ws, smile, 0.75, layers=layers))[:, 0]
    np.testing.assert_allclose(edited, wanted, atol=1e-6)
    w_avg = tiny_generator.params["mapping"]["w_avg"]
    np.testing.assert_array_equal(floats(told["mean"]), w_avg)


def test_sliders_reach_the_strengths_that_were_asked_for(tiny_generator, smile):
    ws = np.asarray(mm_jax.sample_latents(tiny_generator, seeds=[0]))
    told = page.to_json(tiny_generator, ws, {"a": smile, "b": smile}, reach={"b": (0.0, 3.0)})
    assert [(m["low"], m["high"]) for m in told["motions"]] == [(-0.5, 1.25), (-0.5, 3.0)]


def test_names_are_escaped_and_one_face_needs_no_list():
    data = {"resolution": 16, "motions": [{"name": "x", "title": "<x>", "low": -1, "high": 1}]}
    sizes = {name: 1_500_000 for names in page.loaded_files().values() for name in names}
    text = page.markup("live/", data, sizes, faces=["<a>", "b"], packed=True)
    assert "<option>&lt;a&gt;</option><option>b</option>" in text and "&lt;x&gt;" in text
    assert "live-new" not in text and "(6 MB)" in text and "\n" not in text
    assert re.search(r'class="live-faces"><', text)
    assert 'class="live-faces" hidden>' in page.markup("live/", data, sizes, faces=["a"])


def test_its_programs_name_no_other_site():
    found = [file for file in page.STATIC.iterdir() if file.is_file()]
    assert len(found) == 3
    for file in found:
        assert "//" not in re.sub(r"(^|\s)// ", "", file.read_text()), file
