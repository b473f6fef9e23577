"""The recogniser on aligned images: as where a face is looked for, and with gradients."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from PIL import Image

from mm_jax.alignment import FFHQ, Framing, crop_face, ffhq_quad
from mm_jax.errors import UsageError
from mm_jax.faces import FaceDetector, identity_distance
from mm_jax.faces.identity import FaceIdentity, load_identity, open_identity
from mm_jax.faces.readings import Recogniser

FRAMING = Framing(scale=0.9, down=0.02)


@pytest.fixture(scope="module")
def identity(tiny_generator: Any) -> FaceIdentity:
    return load_identity(tiny_generator)


@pytest.fixture(scope="module")
def faces(goldens: Any) -> dict[str, tuple[Image.Image, Any]]:
    """Two images of one woman and one of another person, with the face in each."""
    detector = FaceDetector()
    found = {}
    for name in ("astronaut", "tilted", "mona_lisa"):
        image = Image.open(goldens / "faces" / f"{name}.jpg").convert("RGB")
        found[name] = image, detector(np.asarray(image))[0]
    return found


@pytest.fixture(scope="module")
def aligned(faces: Any) -> np.ndarray:
    return np.stack(
        [crop_face(np.asarray(i), ffhq_quad(f.landmarks), size=96) for i, f in faces.values()]
    )


def test_agrees_with_the_reading_of_a_found_face(
    identity: FaceIdentity, faces: Any, aligned: np.ndarray
) -> None:
    describe = Recogniser()
    found = np.stack([describe(image, face) for image, face in faces.values()])
    assert identity_distance(identity.describe(aligned), found).max() < 0.2
    # An image that is cropped closer is read through the generator's framing.
    image, face = faces["astronaut"]
    quad = FRAMING.apply(ffhq_quad(face.landmarks))
    close = crop_face(np.asarray(image), quad, size=96)[None]
    framed = FaceIdentity(identity.network, identity.nobody, FRAMING)
    assert identity_distance(framed.describe(close)[0], found[0]) < 0.2


def test_tells_people_apart(identity: FaceIdentity, aligned: np.ndarray) -> None:
    vectors = np.asarray(identity(aligned))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    cosines = vectors @ vectors.T
    assert cosines[0, 1] > 0.8 > cosines[0, 2] and identity.framing == FFHQ


def test_has_gradients(identity: FaceIdentity, aligned: np.ndarray) -> None:
    wanted = identity(aligned[:1])[0]

    def cosine(image: jax.Array) -> jax.Array:
        return identity(image[None])[0] @ wanted

    other = jax.numpy.asarray(aligned[2])
    slope = jax.grad(cosine)(other)
    step = 0.5 * slope / np.linalg.norm(slope)
    assert cosine(other + step) > cosine(other)


def test_is_opened_by_name(tiny_generator: Any) -> None:
    assert open_identity("none", tiny_generator) is None
    assert isinstance(open_identity("faces", tiny_generator), FaceIdentity)
    with pytest.raises(UsageError, match="unknown arcface"):
        open_identity("nowhere", tiny_generator)
