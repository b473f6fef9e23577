"""Parity with face-api 1.7.15 run by Node, from what it gave for eight small images.

`face_api.npz` holds for each image the boxes of both detectors (left, top, right, bottom, score), a
crop (x, y, width, height) and what the other networks read from it.
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from mm_jax.errors import DataError, UsageError
from mm_jax.faces.architectures import MODULES
from mm_jax.faces.boxes import suppress
from mm_jax.faces.network import FaceNetwork, FaceNetworkConfig, load_face_network

FOLDER = Path(__file__).parents[1] / "goldens" / "faces"
IMAGES = tuple(sorted(path.stem for path in FOLDER.glob("*.jpg")))


@functools.cache
def network(name):
    return load_face_network(f"faces/{name}")


@functools.cache
def golden(image):
    pixels = np.asarray(Image.open(FOLDER / f"{image}.jpg").convert("RGB"))
    with np.load(FOLDER / "face_api.npz") as archive:
        wanted = {
            name.partition("/")[2]: archive[name]
            for name in archive.files
            if name.startswith(f"{image}/")
        }
    return pixels, wanted


def square(image, side, *, centred):
    """As face-api prepares an image: black added to a square, then bilinear from the top left."""
    height, width = image.shape[:2]
    more = abs(height - width)
    after = int(more * (0.5 if centred else 1) + 0.5)
    pad = ((0, 0), (more - after, after)) if height > width else ((more - after, after), (0, 0))
    image = np.pad(image.astype(np.float32), (*pad, (0, 0)))
    place = np.arange(side, dtype=np.float32) * np.float32(len(image) / side)
    low, part = place.astype(int), place - np.floor(place)
    high = np.minimum(np.ceil(place).astype(int), len(image) - 1)
    image = image[low] + (image[high] - image[low]) * part[:, None, None]
    image = image[:, low] + (image[:, high] - image[:, low]) * part[None, :, None]
    return jnp.asarray(image[None] / 127.5 - 1)


@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize(("name", "key", "overlap"), [("tiny", "tiny", 0.4), ("ssd", "ssd", 0.5)])
def test_detectors(image, name, key, overlap):
    pixels, wanted = golden(image)
    net = network(f"{name}_detector")
    boxes, scores = net(square(pixels, net.config.side, centred=False))
    boxes, scores = np.asarray(boxes[0]), np.asarray(scores[0])
    kept = suppress(boxes, scores, threshold=0.3, overlap=overlap)
    found = boxes[kept] * max(pixels.shape)
    if name == "ssd":
        found = np.clip(found, 0, max(pixels.shape))
    assert len(found) == len(wanted[key])
    np.testing.assert_allclose(found, wanted[key][:, :4], atol=0.75)
    np.testing.assert_allclose(scores[kept], wanted[key][:, 4], atol=1e-4)


@pytest.mark.parametrize("image", IMAGES)
def test_readings_of_a_crop(image):
    pixels, wanted = golden(image)
    left, top, width, height = wanted["crop"]
    crop = pixels[top : top + height, left : left + width]
    side = max(width, height)

    def read(name):
        net = network(name)
        return jax.tree.map(np.asarray, net(square(crop, net.config.side, centred=True)))

    margin = np.array([side - width, side - height]) / 2
    points = read("landmarks")[0] * side - margin
    np.testing.assert_allclose(points, wanted["landmarks"], atol=0.05)
    np.testing.assert_allclose(read("recogniser")[0], wanted["descriptor"], atol=1e-4)
    np.testing.assert_allclose(read("expressions")[0], wanted["expression"], atol=1e-4)
    np.testing.assert_allclose(np.ravel(read("age_gender")), wanted["age_male"], atol=1e-3)


@pytest.mark.parametrize("name", MODULES)
def test_every_image_of_a_batch_is_read_by_itself(name):
    net = network(name)
    side = net.config.side
    images = jax.random.uniform(jax.random.key(0), (2, side, side, 3), minval=-1)
    both = jax.tree.leaves(net(images))
    assert len(both) == len(net.config.outputs)
    for i in range(2):
        for one, values in zip(jax.tree.leaves(net(images[i : i + 1])), both, strict=True):
            np.testing.assert_allclose(values[i], one[0], atol=2e-4)


def test_a_part_of_the_square_has_its_cells():
    """Where the rest of the square is far away, a part's boxes are those of the whole."""
    net = network("ssd_detector")
    images = jax.random.uniform(jax.random.key(0), (1, 512, 512, 3), minval=-1)
    whole, scores = (np.asarray(value[0]) for value in net(images))
    part, fewer = (np.asarray(value[0]) for value in net(images[:, :320, :384]))
    assert len(part) == 20 * 24 * 3 + 6 * (10 * 12 + 5 * 6 + 3 * 3 + 2 * 2 + 1 * 1)
    # The first grid's upper left corner, of the largest boxes of which none reaches so far.
    corner = np.arange(32 * 32 * 3).reshape(32, 32, 3)[:2, :2].ravel()
    same = np.arange(20 * 24 * 3).reshape(20, 24, 3)[:2, :2].ravel()
    np.testing.assert_allclose(part[same], whole[corner], atol=1e-4)
    np.testing.assert_allclose(fewer[same], scores[corner], atol=1e-4)


def test_a_network_is_a_pytree():
    net = network("expressions")
    images = jnp.zeros((1, 112, 112, 3))

    def happy(net, images):
        return net(images)[:, 1].sum()

    gradient = jax.jit(jax.grad(happy, argnums=1))(net, images)
    assert gradient.shape == images.shape
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 0


def test_wrong_parameters_and_names_are_refused(tmp_path):
    net = network("landmarks")
    with pytest.raises(UsageError, match=r"network must be one of .* got 'nose'"):
        FaceNetworkConfig("nose")
    with pytest.raises(DataError, match="fc/bias must have shape"):
        FaceNetwork.make(FaceNetworkConfig("expressions"), net.params)
    with pytest.raises(UsageError, match="unknown face_network"):
        load_face_network("faces/nose")
    folder = net.save(tmp_path / "net")
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text.replace('"network": "landmarks"', '"network": "x"'))
    with pytest.raises(DataError, match="got 'x'"):
        load_face_network(folder)


def test_values_beside_their_steps_are_not_saved_as_steps(tmp_path):
    net = network("landmarks")
    bias = net.params["fc"]["bias"]
    params = {**net.params, "fc": {**net.params["fc"], "bias": bias + 1e-4}}
    with pytest.raises(DataError, match="fc/bias is not in steps of"):
        dataclasses.replace(net, params=params).save(tmp_path / "net")
    assert not (tmp_path / "net").exists()
