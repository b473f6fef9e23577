"""Landmarks of rendered faces, against the pictures themselves, and the crop that follows."""

import jax.numpy as jnp
import numpy as np
import pytest

import mm_jax
from mm_jax.alignment import FFHQ, crop_face, ffhq_quad, framing_of
from mm_jax.synthface.factors import NUM_FACTORS, index
from mm_jax.synthface.landmarks import framing, landmarks
from mm_jax.synthface.renderer import render


def faces(**factors):
    values = np.zeros((1, NUM_FACTORS), np.float32)
    for name, value in factors.items():
        values[:, index(name)] = value
    return jnp.asarray(values)


def changed_at(before, after):
    """Centre of what differs between two pictures."""
    weight = np.abs(np.asarray(after) - np.asarray(before)).sum(axis=-1)
    y, x = np.mgrid[: weight.shape[0], : weight.shape[1]]
    return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


def pictures(*batch):
    """Four faces at 32 pixels: the shape that other tests of the renderer compile, too."""
    return np.asarray(render(jnp.concatenate(batch), resolution=32))


@pytest.mark.parametrize("pose", [{}, {"yaw": 0.8}, {"yaw": -0.5, "pitch": 0.9}])
def test_features_are_where_the_picture_changes_with_them(pose):
    """Opening an eye changes the picture there, opening the mouth between its corners."""
    shut, wide, loud, _ = pictures(
        faces(**pose, eye_open=-1.0),
        faces(**pose, eye_open=1.0),
        faces(**pose, eye_open=-1.0, mouth_open=1.0),
        faces(),
    )
    points = landmarks(faces(**pose), resolution=32)[0]
    split = round(float(points[:2, 0].mean()))
    for eye, side in ((0, slice(0, split)), (1, slice(split, 32))):
        found = np.add(changed_at(shut[:, side], wide[:, side]), [side.start, 0])
        np.testing.assert_allclose(points[eye], found, atol=1.2)
    np.testing.assert_allclose(points[3:].mean(axis=0), changed_at(shut, loud), atol=1.7)


def test_mirrored_heads_and_other_sizes():
    turned = landmarks(faces(yaw=0.6, smile=0.5), resolution=100)[0]
    other = landmarks(faces(yaw=-0.6, smile=0.5), resolution=100)[0]
    np.testing.assert_allclose(other[[1, 0, 2, 4, 3]] * [-1, 1] + [99, 0], turned, atol=1e-3)
    half = landmarks(faces(yaw=0.6, smile=0.5), resolution=50)[0]
    np.testing.assert_allclose(2 * half + 0.5, turned, atol=1e-3)
    smiles = landmarks(jnp.concatenate([faces(smile=-1.0), faces(smile=1.0)]))
    assert (smiles[1, 3:, 1] < smiles[0, 3:, 1]).all()


def test_the_framing_gives_back_the_renderers_picture():
    """A neutral face in a larger picture, turned: its crop is what the renderer draws."""
    picture = pictures(faces(), faces(), faces(), faces())[0]
    points = landmarks(faces(), resolution=32)[0]
    quad = framing().apply(ffhq_quad(points))
    want = np.array([[-0.5, -0.5], [-0.5, 31.5], [31.5, 31.5], [31.5, -0.5]])
    np.testing.assert_allclose(quad, want, atol=0.05)
    turned = points[:, ::-1] * [1, -1] + [0, 31]
    crop = crop_face(np.rot90(picture), framing().apply(ffhq_quad(turned)), size=32)
    assert np.abs(crop - picture)[1:-1, 1:-1].mean() < 0.04
    assert framing() != FFHQ


def test_the_bundled_generator_carries_it():
    gen = mm_jax.load_generator("synthface")
    assert framing_of(gen) == framing()
