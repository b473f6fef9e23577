"""The store of generated images."""

from __future__ import annotations

import jax
import numpy as np

from mm_jax.latents import synthesize
from mm_jax.people import generated
from mm_jax.people.generated import make_generated, random_latents
from mm_jax.people.mapping import frame


def test_codes_are_of_four_kinds(tiny_people):
    ws = np.asarray(random_latents(tiny_people, jax.random.key(0), 100))
    assert ws.shape == (100, tiny_people.config.num_ws, tiny_people.config.w_dim)
    one_row = np.isclose(ws, ws[:, :1], atol=1e-5).all(axis=(1, 2))
    assert one_row[:40].all() and not one_row[40:].all()
    # A mixed code has two different rows at most.
    for code in ws[40:60]:
        assert len(np.unique(np.round(code, 4), axis=0)) <= 2
    # An edit in some rows goes along the frame of W.
    rows = np.asarray(frame(tiny_people.config.w_dim))
    steps = (ws - ws[:, :1])[80:]
    for code in steps:
        length = np.linalg.norm(code, axis=1)
        if length.max() > 1e-3:
            along = np.abs(code[length.argmax()] @ rows.T) / np.linalg.norm(rows[0])
            np.testing.assert_allclose(along.max(), length.max(), rtol=1e-3)


def test_what_is_there_is_not_made_again(tiny_people, tiny_probe, tmp_path, monkeypatch):
    monkeypatch.setattr(generated, "CHUNK", 20)
    monkeypatch.setattr(generated, "BATCH", 10)
    first = make_generated(tmp_path, tiny_people, tiny_probe, 30, seed=1)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    again = make_generated(tmp_path, tiny_people, tiny_probe, 30, seed=1)
    assert len(files) == 2 and len(first.images) == 30
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == files
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
    images = np.asarray(synthesize(tiny_people, first.ws[:10]))
    pixels = np.clip(np.round((images + 1) * 127.5), 0, 255)
    np.testing.assert_allclose(first.images[:10], pixels, atol=1)
