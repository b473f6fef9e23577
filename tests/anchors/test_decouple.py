"""A motion apart from others, where readings are known."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from mm_jax.anchors import decouple as decouple_module
from mm_jax.anchors.decouple import decouple, slopes, taken_back, template_of
from mm_jax.anchors.prompts import MOTIONS
from mm_jax.artifacts import Subspace
from mm_jax.errors import DataError, UsageError

SMILE = MOTIONS["smile"].template
ROWS, WIDTH = 6, 12


def smile(direction: np.ndarray, **meta: Any) -> Subspace:
    length = float(np.linalg.norm(direction))
    return Subspace(
        basis=(direction / length)[None].astype(np.float32),
        scale=length,
        singular_values=np.ones(1, np.float32),
        mean=np.zeros((ROWS, WIDTH), np.float32),
        pc1_ratio=1.0,
        mask=np.ones(ROWS, np.bool_),
        meta={"template": SMILE, "settings": {"degrees": ["no", "100%"]}, **meta},
    )


@pytest.fixture
def planted(monkeypatch: Any):
    """Faces whose readings are linear in the mean of their rows: prompts to kernels [D]."""

    def plant(kernels: dict[str, np.ndarray]) -> None:
        class Readings:
            def __init__(self, templates: list[str]) -> None:
                self.templates = templates

            @classmethod
            def of(cls, clip: Any, templates: list[str], degrees: Any, vectors: Any) -> Any:
                return cls(list(templates))

            def __call__(self, vectors: np.ndarray) -> np.ndarray:
                kernel = np.stack([kernels[text] for text in self.templates], axis=1)
                return vectors @ kernel

        def embed(gen: Any, clip: Any, ws: Any, **_: Any) -> np.ndarray:
            return np.asarray(ws, np.float64).mean(axis=-2)

        def sample(gen: Any, key: Any, count: int, **_: Any) -> np.ndarray:
            rng = np.random.default_rng(3)
            mixing = np.random.default_rng(4).standard_normal((WIDTH, WIDTH))
            w = rng.standard_normal((count, WIDTH)) @ mixing
            return np.repeat(w[:, None], ROWS, axis=1)

        monkeypatch.setattr(decouple_module, "_Readings", Readings)
        monkeypatch.setattr(decouple_module, "embed_latents", embed)
        monkeypatch.setattr(decouple_module, "sampled_faces", sample)

    return plant


def test_slopes_are_of_each_reading_while_the_others_stay() -> None:
    rng = np.random.default_rng(0)
    known = rng.standard_normal((3, 7))
    readings = rng.standard_normal((50, 3)) @ rng.standard_normal((3, 3))
    w = readings @ known + 2.0
    np.testing.assert_allclose(slopes(w, readings), known, atol=1e-9)
    with_still = np.concatenate([readings, np.ones((50, 1))], axis=1)
    np.testing.assert_allclose(slopes(w, with_still)[3], 0, atol=1e-9)


def test_what_changes_beside_is_taken_back() -> None:
    rng = np.random.default_rng(0)
    kernel = rng.standard_normal((4, 2, 5))  # of three others and the own
    steps = np.linalg.pinv(kernel.reshape(4, 10)).T.reshape(4, 2, 5)
    direction = rng.standard_normal((2, 5))

    def changes(moved: np.ndarray) -> np.ndarray:
        return np.einsum("kld,ld->k", kernel, moved)

    apart, found = taken_back(direction, changes, steps[:3])
    np.testing.assert_allclose(found[0], changes(direction))
    np.testing.assert_allclose(changes(apart)[:3], 0, atol=1e-9)
    assert changes(apart)[3] == pytest.approx(changes(direction)[3])
    # Steps that are a third too short leave a ninth after two rounds.
    _, found = taken_back(direction, changes, steps[:3] / 1.5)
    np.testing.assert_allclose(found[-1][:3], found[0][:3] / 9)


def test_smile_but_not_age(tiny_generator: Any, tiny_clip: Any, planted: Any) -> None:
    rng = np.random.default_rng(0)
    others = ["aging", "a person with {degree} anger"]
    prompts = [MOTIONS["aging"].template, others[1], SMILE]
    kernels = dict(zip(prompts, rng.standard_normal((3, WIDTH)), strict=True))
    planted(kernels)
    before = smile(rng.standard_normal((ROWS, WIDTH)))
    found = decouple(tiny_generator, tiny_clip, before, others, faces=200)
    record = found.meta["without"]
    assert record["prompts"] == prompts[:2]
    change = {text: before.direction.mean(axis=0) @ kernel for text, kernel in kernels.items()}
    np.testing.assert_allclose(record["moved"], [change[text] for text in prompts[:2]], atol=1e-3)
    np.testing.assert_allclose(record["after"], 0, atol=1e-3)
    now = {text: found.direction.mean(axis=0) @ kernel for text, kernel in kernels.items()}
    np.testing.assert_allclose([now[text] for text in prompts[:2]], 0, atol=1e-4)
    assert float(now[SMILE]) == pytest.approx(float(change[SMILE]), rel=1e-4)
    assert found.rank == 1 and float(np.linalg.norm(found.basis)) == pytest.approx(1, abs=1e-5)
    # What was read along the motion as it was is not said of the new one.
    told = smile(before.direction, calibration={}, read_back={})
    after = decouple(tiny_generator, tiny_clip, told, others, faces=200)
    assert not {"calibration", "read_back"} & set(after.meta)
    # Rows that do not take part stay where they are.
    upper = dataclasses.replace(before, mask=np.arange(ROWS) < 4)
    part = smile(before.direction * upper.mask[:, None])
    part = dataclasses.replace(part, mask=upper.mask)
    found = decouple(tiny_generator, tiny_clip, part, others, faces=200)
    np.testing.assert_array_equal(found.direction[4:], 0)


def test_what_cannot_be_decoupled(tiny_generator: Any, tiny_clip: Any, planted: Any) -> None:
    rng = np.random.default_rng(0)
    before = smile(rng.standard_normal((ROWS, WIDTH)))
    with pytest.raises(UsageError, match="its own prompt"):
        decouple(tiny_generator, tiny_clip, before, ["smile"])
    with pytest.raises(UsageError, match="at least one"):
        decouple(tiny_generator, tiny_clip, before, [])
    with pytest.raises(UsageError, match="neither a prompt"):
        template_of("happiness")
    # Another prompt that says the same.
    kernel = rng.standard_normal(WIDTH)
    grin = "a person with {degree} grin"
    planted({grin: kernel + 1e-3 * rng.standard_normal(WIDTH), SMILE: kernel})
    own = smile(np.repeat(kernel[None], ROWS, axis=0))
    with pytest.raises(DataError, match="does not tell the motion from 'a person with"):
        decouple(tiny_generator, tiny_clip, own, [grin], faces=100)
    # A motion that is what another prompt is about, and does nothing of its own.
    planted({grin: kernel, SMILE: rng.standard_normal(WIDTH)})
    mixing = np.random.default_rng(4).standard_normal((WIDTH, WIDTH))
    other = np.repeat((mixing.T @ mixing @ kernel)[None], ROWS, axis=0)
    with pytest.raises(DataError, match="hardly more than what a person with"):
        decouple(tiny_generator, tiny_clip, smile(other, template=None), [grin], faces=4000)
