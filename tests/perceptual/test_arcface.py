"""ArcFace: parity with PyTorch's outputs, StyleCLIP's preparation, and its use for anchors."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mm_jax
from mm_jax.checkpoints import save_tree
from mm_jax.errors import DataError, UsageError
from mm_jax.nn.irse50 import IRSEConfig
from mm_jax.perceptual.arcface import (
    ArcFace,
    ArcFaceConfig,
    embed_crops,
    face_crops,
    load_arcface,
    save_arcface,
)
from tests.conftest import pattern_image, random_params
from weights_convert.irse50 import arcface_from_state

TOLERANCE = 1e-4
CONFIG = ArcFaceConfig(
    body=IRSEConfig(stem_channels=4, channels=(4, 8), units=(1, 1), reduction=2),
    resolution=8,
    embedding=6,
)


@pytest.fixture(scope="module")
def arcface():
    return ArcFace.make(CONFIG, random_params(ArcFace.shapes(CONFIG)), meta={"name": "tiny"})


@pytest.fixture(scope="module")
def want(goldens):
    with np.load(goldens / "irse50" / "expected.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def published(rule, goldens):
    state = rule.weights(goldens / "irse50" / "manifest.json.gz")
    return ArcFace.make(*arcface_from_state(state))


@pytest.fixture(autouse=True)
def _full_precision():
    with jax.default_matmul_precision("highest"):
        yield


def assert_close(actual, wanted, tolerance=TOLERANCE):
    assert np.shape(actual) == wanted.shape
    np.testing.assert_allclose(actual, wanted, atol=tolerance * np.abs(wanted).max())


def nchw(images):
    return np.moveaxis(np.asarray(images), -1, 1)


def test_crops_equal_styleclip(want):
    small, large = pattern_image(256, 2), pattern_image(1024, 3)
    assert_close(nchw(face_crops(small, 112))[:, :, ::2, ::2], want["pool112_from256_every2"])
    assert_close(nchw(face_crops(large, 112))[:, :, ::4, ::4], want["pool112_from1024_every4"])
    for size, seed in ((256, 55), (512, 56)):
        noise = np.random.RandomState(seed).uniform(-1, 1, (1, 3, size, size)).astype(np.float32)
        crop = nchw(face_crops(jnp.asarray(noise.transpose(0, 2, 3, 1)), 112))[:, :, ::2, ::2]
        assert_close(crop, want[f"pool112_from_noise{size}_every2"])


@pytest.mark.parametrize(("height", "width", "size"), [(256, 256, 50), (70, 300, 8)])
def test_crops_are_means_over_whole_pixels(height, width, size):
    def pooled(x, target):
        source = x.shape[0]
        windows = [(i * source / target, (i + 1) * source / target) for i in range(target)]
        return np.stack([x[int(a) : math.ceil(b - 1e-9)].mean(0) for a, b in windows])

    picture = np.random.RandomState(0).uniform(-1, 1, (height, width, 1))
    rows = pooled(pooled(picture, 256)[35:223], size)
    both = pooled(pooled(rows.swapaxes(0, 1), 256)[32:220], size).swapaxes(0, 1)
    np.testing.assert_allclose(face_crops(jnp.asarray(picture)[None], size)[0], both, atol=1e-6)


def test_embeddings_equal_pytorchs(published, want):
    crops = [pattern_image(112, 0), pattern_image(112, 1)]
    crops += [face_crops(pattern_image(256, 2), 112), face_crops(pattern_image(1024, 3), 112)]
    vectors = jax.jit(embed_crops)(published, jnp.concatenate(crops))
    assert_close(vectors[:2], want["embedding"])
    assert_close(vectors[2:3], want["feats_256"])
    assert_close(vectors[3:], want["feats_1024"])
    loss = 1 - vectors[2] @ vectors[3]
    np.testing.assert_allclose(loss, want["id_loss_256_vs_1024"], rtol=TOLERANCE)


@pytest.mark.slow
def test_identity_gradient_equals_pytorchs(published, want):
    @jax.jit
    def loss_and_gradient(arcface, picture, reference):
        return jax.value_and_grad(lambda x: mm_jax.identity_loss(arcface, x, reference)[0])(picture)

    arguments = (jnp.asarray(pattern_image(256, 2)), jnp.asarray(pattern_image(1024, 3)))
    loss, gradient = loss_and_gradient(published, *arguments)
    np.testing.assert_allclose(loss, want["id_loss_256_vs_1024"], rtol=TOLERANCE)
    gradient, wanted = nchw(gradient)[:, :, ::4, ::4], want["id_loss_grad_256_every4"]
    # PReLU has kinks, and among millions of units float32 puts some on the other side of theirs: in
    # float64, weights changed by 1e-6 of themselves move the gradient by 2e-3 of its maximum.
    assert_close(gradient, wanted, 1e-2)
    assert np.linalg.norm(gradient - wanted) < 5e-3 * np.linalg.norm(wanted)


def test_identity_loss(arcface):
    images = jax.random.uniform(jax.random.key(1), (3, 64, 64, 3), minval=-1)
    other = jax.random.uniform(jax.random.key(2), (3, 40, 48, 3), minval=-1)
    vectors = arcface(images)
    np.testing.assert_allclose(jnp.linalg.norm(vectors, axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(mm_jax.identity_loss(arcface, images, images), 0, atol=1e-6)
    loss = mm_jax.identity_loss(arcface, images, other)
    assert loss.shape == (3,) and (loss > 1e-4).all()
    cosines = np.sum(np.asarray(vectors) * np.asarray(arcface(other)), axis=1)
    np.testing.assert_allclose(loss, 1 - cosines, atol=1e-6)
    # Only the face counts.
    border = images.at[:, :4].set(0.0).at[:, :, -4:].set(0.0)
    np.testing.assert_allclose(arcface(border), vectors, atol=1e-6)


def test_gradient_is_the_slope(arcface):
    pictures = jax.random.uniform(jax.random.key(1), (2, 1, 32, 32, 3), minval=-1)
    loss = jax.jit(lambda x: mm_jax.identity_loss(arcface, x, pictures[1])[0])
    gradient = jax.grad(loss)(pictures[0])
    direction = gradient / jnp.linalg.norm(gradient)
    step = 1e-2
    slope = (loss(pictures[0] + step * direction) - loss(pictures[0] - step * direction)) / 2 / step
    np.testing.assert_allclose(slope, jnp.linalg.norm(gradient), rtol=0.05)


def test_vmap(arcface):
    images = jax.random.uniform(jax.random.key(1), (2, 2, 32, 32, 3), minval=-1)
    mapped = jax.vmap(lambda x: mm_jax.embed_faces(arcface, x))(images)
    np.testing.assert_allclose(mapped[1], arcface(images[1]), atol=1e-5)


def test_holds_the_identity_of_anchors(arcface, tiny_generator, tiny_clip):
    start = mm_jax.sample_latents(tiny_generator, seeds=[0])[0]

    def anchors(identity_weight):
        return mm_jax.text_anchors(
            tiny_generator,
            tiny_clip,
            template="a person with {degree} smile",
            start=start,
            degrees=["no", "100%"],
            resolution=8,
            steps=20,
            l2_weight=0.0,
            identity=arcface,
            identity_weight=identity_weight,
        )

    free, held = anchors(1e-6), anchors(20.0)
    reference = mm_jax.synthesize(tiny_generator, start[None], resolution=8).repeat(2, axis=0)
    lost = []
    for found in (free, held):
        pictures = mm_jax.synthesize(tiny_generator, found.ws, resolution=8)
        lost.append(np.mean(mm_jax.identity_loss(arcface, pictures, reference)))
    assert lost[1] < 0.5 * lost[0]
    assert np.abs(np.asarray(held.ws) - np.asarray(start)).max() > 0.05
    assert held.meta["settings"]["identity"] == "tiny"


def test_there_and_back(arcface, tmp_path):
    again = load_arcface(save_arcface(arcface, tmp_path / "net"))
    assert (again.config, again.name) == (CONFIG, "tiny")
    for a, b in zip(jax.tree.leaves(again), jax.tree.leaves(arcface), strict=True):
        np.testing.assert_array_equal(a, b)


def test_bad_arguments(arcface, tmp_path):
    with pytest.raises(UsageError, match=r"\[N, H, W, 3\], got \[32, 32, 3\]"):
        arcface(jnp.zeros((32, 32, 3)))
    with pytest.raises(UsageError, match="as many as images, 2, got 1"):
        mm_jax.identity_loss(arcface, jnp.zeros((2, 8, 8, 3)), jnp.zeros((1, 8, 8, 3)))
    with pytest.raises(UsageError, match="resolution must be a multiple of 4, got 10"):
        ArcFaceConfig(body=CONFIG.body, resolution=10)
    with pytest.raises(UsageError, match="unknown arcface 'no-such-net'"):
        load_arcface("no-such-net")
    with pytest.raises(DataError, match="dense/bias is missing"):
        ArcFace.make(CONFIG, {**arcface.params, "dense": {"kernel": jnp.zeros((32, 6))}})
    save_tree(tmp_path / "net", "arcface", {"resolution": 8}, arcface.params)
    with pytest.raises(DataError, match="the architecture lacks 'body'"):
        load_arcface(tmp_path / "net")
