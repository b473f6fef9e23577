"""Motions that are installed as the bundled ones."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from mm_jax.anchors.folder import SUBSPACE
from mm_jax.anchors.prompts import MOTIONS
from mm_jax.anchors.text import text_anchors
from mm_jax.artifacts import load_subspace, save_subspace
from mm_jax.demo import run as demo
from mm_jax.demo.options import DemoOptions
from mm_jax.latents import sample_latents
from mm_jax.runs import RunFolder
from mm_jax.subspace.calibration import Calibration
from mm_jax.subspace.decompose import extract_subspace


def test_installed_motions_are_calibrated(
    tiny_generator: Any, tiny_clip: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    options = DemoOptions(motions=("smile",), videos=())
    start = sample_latents(tiny_generator, seeds=[0])[0]
    how = {"degrees": options.anchors.degrees, "strategy": "gradient", "gradients": 16}
    anchors = text_anchors(
        tiny_generator, tiny_clip, template=MOTIONS["smile"].template, start=start, **how
    )
    run = RunFolder.open(tmp_path / "run", command="mm_demo", settings={}, outputs=[])
    found = extract_subspace(anchors)
    # A random CLIP hardly tells its degrees apart: strength 1 goes far.
    found = dataclasses.replace(found, scale=10 * found.scale)
    save_subspace(tmp_path / "run" / "smile" / SUBSPACE, found)
    recorded: list[str] = []
    monkeypatch.setattr(demo, "ASSETS", tmp_path / "assets")
    monkeypatch.setattr(demo, "record", recorded.append)
    (tmp_path / "assets" / "people-motions").mkdir(parents=True)
    (tmp_path / "assets" / "people-motions" / "old.npz").write_bytes(b"")

    where = demo.install_motions(tiny_generator, tiny_clip, "people", run, options)
    assert recorded == ["people-motions"]
    assert sorted(file.name for file in where.iterdir()) == ["smile.json", "smile.npz"]
    meta = load_subspace(where / "smile.npz").meta
    assert meta["template"] == MOTIONS["smile"].template and "settings" not in meta
    calibration = Calibration.of(meta)
    assert calibration is not None
    low, high = calibration.saturates
    assert low < 0.5 and high > 0.0 and len(meta["limits"]) == 2
