"""The Python of README and docs runs, on small random models and on the bundled ones.

The blocks of a page run in order, in one namespace. What a page takes for given (a generator, some
images) is made here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import mm_jax
from mm_jax import alignment, media
from mm_jax.alignment import Face
from mm_jax.anchors import decouple as decouple_module
from mm_jax.encoders.encoder import Encoder
from mm_jax.encoders.small import SmallConfig
from mm_jax.nn.trunk import TrunkConfig
from mm_jax.perceptual import probe
from mm_jax.subspace import calibration
from tests.docs.markdown import ROOT, pieces, python_blocks

# Drawing people wants sources that are not in the repository; tests/people covers what it shows.
ELSEWHERE = ROOT / "docs/people.md"
PAGES = sorted({piece.file for piece in pieces() if piece.kind == "python"} - {ELSEWHERE})


def run(page: Path, given: dict[str, Any]) -> dict[str, Any]:
    """Run the blocks of a page; returns what they leave behind."""
    space = {"mm_jax": mm_jax, **given}
    for block in python_blocks(page):
        # Blank lines put the block where it stands, so that a traceback names the line.
        exec(compile("\n" * block.line + block.text, str(block.file), "exec"), space)
    return space


def landmarks(side: int) -> np.ndarray:
    """Five points of a face in the middle of an image."""
    points = [[0.35, 0.4], [0.65, 0.4], [0.5, 0.55], [0.38, 0.7], [0.62, 0.7]]
    return side * np.array(points, np.float32)


def given(gen: Any, clip: Any, encoder: Any, folder: Path) -> dict[str, Any]:
    """What the pages take for given, and a photograph and a folder that they name."""
    ends = np.asarray(mm_jax.sample_latents(gen, seeds=[1, 2], truncation_psi=0.5))
    t = np.linspace(0, 1, 8, dtype=np.float32)[:, None, None]
    ws = ends[:1] * (1 - t) + ends[1:] * t
    frames = np.clip(np.asarray(mm_jax.synthesize(gen, ws)), -1, 1)
    (folder / "runs/mine/smile").mkdir(parents=True)
    media.save_png(folder / "me.png", media.to_uint8(frames[0]))
    (folder / "me.png").rename(folder / "me.jpg")
    return {
        "gen": gen,
        "clip": clip,
        "encoder": encoder,
        "start": ends,
        "frames": frames,
        "images": frames[:2],
        "image": media.to_uint8(frames[0]),
        "edited": frames[1],
        "rebuilt": frames[0],
        "arcface": lambda images: images.mean(axis=(1, 2)),
        "ws": ws,
        "degrees": t[:, 0, 0],
        "my_method": lambda gen: ends[1] - ends[0],
        "my_network": lambda image: [landmarks(len(image))],
    }


@pytest.fixture
def small(tiny_generator, tiny_clip, monkeypatch):
    """Small random models in place of the bundled ones: generator, CLIP and encoder."""
    trunk = TrunkConfig(resolution=16, fold=1, channels=(4, 4), activation="relu", hidden=8)
    key = jax.random.key(0)
    config = SmallConfig(trunk=trunk, rows=6, width=12)
    encoder = Encoder.make(config, Encoder.init(config, key))
    reads = probe.ProbeConfig(trunk=trunk, factors=("smile", "age"))
    judge = probe.Probe.make(reads, probe.Probe.init(reads, key))
    monkeypatch.setattr(mm_jax, "load_generator", lambda name: tiny_generator)
    monkeypatch.setattr(mm_jax, "load_clip", lambda name: tiny_clip)
    monkeypatch.setattr(mm_jax, "load_encoder", lambda name: encoder)
    monkeypatch.setattr(probe, "load_probe", lambda name: judge)
    # A random CLIP reads much the same by all prompts, so little of a motion may be left, or read.
    monkeypatch.setattr(decouple_module, "_LEFT", -np.inf)
    monkeypatch.setattr(calibration, "_LEAST", 0.0)
    return tiny_generator, tiny_clip, encoder


@pytest.fixture
def seen(monkeypatch):
    """Faces are found where nothing else is said: random pictures hold none."""
    find = alignment.find_faces

    def finding(image, detector=None):
        return find(image, detector or (lambda image: [Face(landmarks(len(image)))]))

    monkeypatch.setattr(alignment, "find_faces", finding)


def check(left: dict[str, Any]) -> None:
    for name in ("images", "edited", "whole", "crop", "readings"):
        if name in left:
            assert np.isfinite(np.asarray(left[name])).all(), name


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_on_small_models(page, small, seen, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check(run(page, given(*small, tmp_path)))


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_on_the_bundled_models(page, seen, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    models = (
        mm_jax.load_generator("people"),
        mm_jax.load_clip("people-clip"),
        mm_jax.load_encoder("people-encoder"),
    )
    check(run(page, given(*models, tmp_path)))
