"""How much fine detail is left."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from mm_jax.faces.detail import LEAST_DETAIL, detail_kept


def photo(side: int = 128) -> np.ndarray:
    coarse = np.random.default_rng(0).uniform(-0.5, 0.5, (128, 128, 3))
    return np.repeat(np.repeat(coarse, side // 128, 0), side // 128, 1).astype(np.float32)


def blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    return gaussian_filter(image, (sigma, sigma, 0))


def test_blur_takes_detail_and_light_does_not() -> None:
    image = photo()
    edited = np.stack([image, image + 0.3, 0.5 * image, blurred(image, 0.4), blurred(image, 1.5)])
    kept = detail_kept(image, edited)
    assert kept is not None and kept.shape == (5,)
    np.testing.assert_allclose(kept[:3], [1, 1, 0.5], atol=1e-5)
    assert kept[4] < LEAST_DETAIL < kept[3] < 1


def test_the_background_does_not_count() -> None:
    image = photo()
    edited = blurred(image, 3)
    edited[20:120, 30:98] = image[20:120, 30:98]
    kept = detail_kept(image, edited[None])
    assert kept is not None and kept[0] == pytest.approx(1, abs=0.02)


def test_larger_images_are_compared_at_the_same_scale() -> None:
    small, large = photo(), photo(512)
    noise = np.random.default_rng(1).uniform(-0.2, 0.2, large.shape)
    kept = detail_kept(large, np.stack([large, blurred(large, 6), large + noise]))
    want = detail_kept(small, np.stack([small, blurred(small, 1.5), small]))
    assert kept is not None and want is not None
    np.testing.assert_allclose(kept, want, atol=0.05)


def test_a_flat_photo_has_none_to_lose() -> None:
    assert detail_kept(np.full((16, 16, 3), 0.25), photo()[None, :16, :16]) is None
