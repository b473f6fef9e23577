"""The table of the demonstration's metrics; motions that are installed as the bundled ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mm_jax.anchors.folder import SUBSPACE
from mm_jax.anchors.prompts import MOTIONS
from mm_jax.anchors.text import text_anchors
from mm_jax.artifacts import load_subspace, save_subspace
from mm_jax.demo import report
from mm_jax.demo import run as demo
from mm_jax.demo.options import DemoOptions
from mm_jax.edit_metrics import MotionTruth
from mm_jax.latents import sample_latents
from mm_jax.runs import RunFolder
from mm_jax.subspace.calibration import Calibration
from mm_jax.subspace.decompose import extract_subspace


@pytest.mark.parametrize(("ends", "about_rest"), [((-1.0, 1.5), True), ((0.5, 2.0), False)])
def test_installed_motions_are_calibrated_where_readings_change_about_rest(
    tiny_generator: Any,
    tiny_clip: Any,
    tmp_path: Path,
    monkeypatch: Any,
    ends: tuple[float, float],
    about_rest: bool,
) -> None:
    options = DemoOptions(motions=("smile",), videos=())
    start = sample_latents(tiny_generator, seeds=[0])[0]
    how = {"degrees": options.anchors.degrees, "strategy": "gradient", "gradients": 16}
    anchors = text_anchors(
        tiny_generator, tiny_clip, template=MOTIONS["smile"].template, start=start, **how
    )
    run = RunFolder.open(tmp_path / "run", command="mm_demo", settings={}, outputs=[])
    save_subspace(tmp_path / "run" / "smile" / SUBSPACE, extract_subspace(anchors))
    # A random CLIP hardly tells its degrees apart.
    asked: dict[str, Any] = {}
    at = np.linspace(-2, 2, 5)
    curve = Calibration(at, (at + 2) / 4, ends)
    monkeypatch.setattr(demo, "calibrate", lambda *_, **how: asked.update(how) or curve)
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
    assert asked["template"] == MOTIONS["smile"].template and len(meta["limits"]) == 2
    calibration = Calibration.of(meta)
    if not about_rest:
        assert calibration is None
    else:
        assert calibration is not None and calibration.to_dict() == curve.to_dict()


@pytest.mark.parametrize(("leakage", "missed"), [(0.2, False), (0.38, True)])
def test_the_mark_of_a_missed_aim_is_explained(capsys: Any, leakage: float, missed: bool) -> None:
    truth = MotionTruth(
        spearman=1.0, right_way=1.0, leakage_mean=0.05, leakage_max=leakage, leakage_abs_mean=0.1,
        leakage_abs_max=0.2, n=8, target_change=1.0, per_factor=(), per_factor_abs=(),
    )  # fmt: skip
    report.print_truth({"smile": truth})
    out = " ".join(capsys.readouterr().out.split())
    assert (f"{leakage:.3f} !" in out) == ("! misses its aim" in out) == missed
