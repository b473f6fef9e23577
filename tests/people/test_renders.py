"""The store of renders: what is drawn, in pairs and truncated, and what is made only once."""

from __future__ import annotations

import types
from multiprocessing.pool import ThreadPool

import jax
import numpy as np
import pytest

from mm_jax.people import renders
from mm_jax.people.factors import FACTORS, NUM_FACTORS, factors_from_z, index, scores_from_z
from mm_jax.people.heads import save_heads
from mm_jax.people.looks import person_of
from mm_jax.people.renders import RenderSet, draw_z, load_renders, make_renders, truncated_factors

read_factors = jax.jit(factors_from_z)
POSE = [index(name) for name in ("yaw", "pitch", "roll")]


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """Chunks of six pictures of 16 pixels, drawn in this process."""
    monkeypatch.setattr(renders, "CHUNK", 6)
    monkeypatch.setattr(renders, "RESOLUTION", 16)
    monkeypatch.setattr(renders, "_renderer", None)
    context = types.SimpleNamespace(Pool=ThreadPool)
    monkeypatch.setattr(renders.multiprocessing, "get_context", lambda kind: context)


def test_what_is_drawn_is_the_same_every_time_and_nowhere_twice():
    which = RenderSet("wide", 5, 12)
    assert which.chunks == 2
    z, psi, factors = draw_z(which, 0)
    assert z.shape == (6, 128) and psi.shape == (6,) and factors.shape == (6, NUM_FACTORS)
    np.testing.assert_array_equal(draw_z(which, 0)[0], z)
    assert (psi == 1).all() and np.abs(factors[:, POSE]).max() > 0.5
    np.testing.assert_allclose(factors, read_factors(z), atol=1e-4)
    other, _, _ = draw_z(which, 1)
    assert np.abs(other[:, None] - z[None]).sum(axis=-1).min() > 1


def test_sets_may_face_the_viewer_and_be_nearer_to_the_mean():
    which = RenderSet("front", 5, 6, pose=0.1, truncated=1.0, least_psi=0.2)
    z, psi, factors = draw_z(which, 0)
    assert psi.min() >= 0.2 and psi.max() < 1 and len(np.unique(psi)) == 6
    whole = np.asarray(read_factors(z))
    assert np.abs(whole[:, POSE]).max() < 0.3
    np.testing.assert_allclose(factors, truncated_factors(whole, psi), atol=1e-4)
    style = index("hair_style")
    np.testing.assert_allclose(factors[:, style], whole[:, style], atol=1e-4)
    ones, zeros = np.ones(6, np.float32), np.zeros(6, np.float32)
    np.testing.assert_allclose(truncated_factors(whole, ones), whole, atol=1e-6)
    middle = np.delete(np.asarray(truncated_factors(whole, zeros)), style, axis=1)
    np.testing.assert_allclose(middle - middle[:1], 0, atol=1e-6)


def test_pairs_differ_in_one_score(monkeypatch):
    monkeypatch.setattr(renders, "CHUNK", 200)
    z, psi, factors = draw_z(RenderSet("pairs", 5, 200, pairs=True), 0)
    first, second = np.split(np.asarray(scores_from_z(z)), 2)
    changed = np.abs(second - first) > 0.05
    assert (changed.sum(axis=1) == 1).mean() > 0.95  # very long scores are shortened
    step = np.abs(second - first)[changed]
    assert step.min() > 0.4 and step.max() < 1.6
    assert psi.shape == (200,)
    same = np.abs(factors[:100] - factors[100:]) < 1e-3
    # One factor, and those that depend on it.
    assert np.median((~same).sum(axis=1)) == 1 and (~same).sum(axis=1).max() <= 8
    assert len({FACTORS[k] for k in changed.argmax(axis=1)}) > 25


def test_renders_are_made_once_and_read_back(dressed, dressed_heads, tmp_path):
    heads = save_heads(tmp_path / "heads.npz", dressed_heads)
    folder, which = tmp_path / "renders", RenderSet("wide", 5, 12)
    make_renders(folder, heads, [which], jobs=1)
    files = sorted(folder.iterdir())
    assert [file.name for file in files] == ["wide-5-000.npz", "wide-5-001.npz"]
    made = load_renders(folder, which)
    assert made.images.shape == (12, 16, 16, 3) and made.images.dtype == np.uint8
    assert made.focus.shape == (12, 8, 8) and made.focus.dtype == np.uint8
    np.testing.assert_array_equal(made.z[6:], draw_z(which, 1)[0])
    picture = dressed.draw(person_of(made.factors[8]), 16)
    np.testing.assert_array_equal(made.images[8], picture.image)
    features = picture.masks["eyes"] + picture.masks["mouth"] + picture.masks["brows"]
    want = np.clip(features.reshape(8, 2, 8, 2).mean(axis=(1, 3)), 0, 1)
    np.testing.assert_allclose(made.focus[8] / 255, want, atol=2e-3)
    assert (made.focus.max(axis=(1, 2)) > 150).all()

    files[0].unlink()
    times = files[1].stat().st_mtime_ns
    with pytest.raises(FileNotFoundError):
        load_renders(folder, which)
    np.testing.assert_array_equal(load_renders(folder, which, partial=True).z, made.z[6:])
    make_renders(folder, heads, [which], jobs=1)
    assert files[1].stat().st_mtime_ns == times
    np.testing.assert_array_equal(load_renders(folder, which).images, made.images)
