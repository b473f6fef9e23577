"""Verdicts on inversions: by planted readings, and by figures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import mm_jax
from mm_jax.faces.readings import Readings
from mm_jax.inversion.judge import Likeness, judge_inversions


def reader_of(descriptors: dict[float, Any]) -> Any:
    """Reads an image by its first pixel: a descriptor's first number, or None without a face."""

    def read(images: np.ndarray) -> Readings:
        first = [descriptors[round(float(image[0, 0, 0]), 1)] for image in images]
        people = np.zeros((len(first), 128), np.float32)
        people[:, 0] = [np.nan if one is None else one for one in first]
        return Readings({}, people, np.array([one is not None for one in first]))

    return read


@pytest.mark.parametrize(
    ("figures", "known", "fault"),
    [
        ({"psnr": 30.0, "face": True, "identity": 0.1}, True, ""),
        ({"psnr": 24.0, "face": True, "identity": 0.5}, False, ""),
        ({"psnr": 24.0, "face": True, "identity": 0.7}, False, "another person"),
        ({"psnr": 24.0, "face": False}, False, "no face is left"),
        ({"psnr": 12.0, "face": True, "identity": 0.1}, False, "not rebuilt"),
        ({"psnr": 30.0}, True, ""),
        ({"psnr": 12.0}, False, "not rebuilt"),
    ],
)
def test_figures_make_the_verdict(figures: dict[str, Any], known: bool, fault: str) -> None:
    one = Likeness(laplacian=0.1, from_mean=1.0, **figures)
    assert one.known == known
    assert fault in one.fault and bool(one.fault) == bool(fault)
    assert Likeness.from_dict(one.to_dict()) == one


def test_images_are_compared_with_what_is_rendered(tiny_generator: Any) -> None:
    ws = np.asarray(mm_jax.sample_latents(tiny_generator, seeds=range(3)))
    drawn = np.clip(mm_jax.synthesize(tiny_generator, ws), -1, 1)
    images = drawn.copy()
    drawn[:, 0, 0, 0] = [0.1, 0.2, 0.3]
    images[:, 0, 0, 0] = [-0.1, -0.2, -0.3]
    reader = reader_of({-0.1: 1.0, 0.1: 1.4, -0.2: 1.0, 0.2: None, -0.3: None})
    same, lost, nobody = judge_inversions(tiny_generator, images, drawn, ws, reader=reader)
    assert same.face is True and same.identity == pytest.approx(0.4)
    assert lost.face is False and lost.identity is None
    assert nobody.face is None and nobody.identity is None
    assert same.psnr > 25 and same.lpips is None
    unread = judge_inversions(tiny_generator, images, drawn, ws)[0]
    assert unread.face is None and unread.psnr == pytest.approx(same.psnr)


def test_distance_from_the_mean_is_in_units_of_samples(tiny_generator: Any) -> None:
    ws = np.asarray(mm_jax.sample_latents(tiny_generator, seeds=range(256)))
    mean = np.asarray(mm_jax.mean_latent(tiny_generator))[0]
    blank = np.zeros((len(ws), 16, 16, 3), np.float32)
    far = np.mean([j.from_mean for j in judge_inversions(tiny_generator, blank, blank, ws)])
    assert far == pytest.approx(1, rel=0.2)
    near = judge_inversions(tiny_generator, blank[:1], blank[:1], mean + 0.5 * (ws[:1] - mean))
    all_of = judge_inversions(tiny_generator, blank[:1], blank[:1], ws[:1])
    assert near[0].from_mean == pytest.approx(all_of[0].from_mean / 4, rel=1e-4)
