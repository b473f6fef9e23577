"""The comparison: measures with known answers, and a whole run on tiny networks."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from mm_jax.artifacts import Anchors
from mm_jax.errors import DataError, UsageError
from mm_jax.evaluation import compared, compared_claims, compared_report
from mm_jax.evaluation.compared_measures import (
    Draws,
    calibrate,
    curve,
    differences,
    figures_of,
    interval,
    linearity,
    saturation,
    step_variation,
)
from mm_jax.evaluation.options import ComparedEval
from mm_jax.evaluation.results import files_of, markdown, publish
from mm_jax.nn.trunk import TrunkConfig
from mm_jax.perceptual.probe import Probe, ProbeConfig
from mm_jax.runs import RunFolder

STRENGTHS = np.array([0.0, 0.5, 1.0, 1.5, 2.0])


def changes_of(effects: Any, *, noise: float = 0.0, faces: int = 40) -> np.ndarray:
    """Changes [N, S, F] of faces that all answer linearly, with noise of zero mean."""
    spread = np.random.default_rng(0).standard_normal((faces, 1, len(effects)))
    spread = noise * (spread - spread.mean(axis=0))
    return STRENGTHS[None, :, None] * (np.asarray(effects)[None, None] + spread)


# Strength 1.


def test_a_linear_answer_is_scaled_exactly() -> None:
    np.testing.assert_allclose(calibrate(lambda a: 0.7 * a, 2.0), [1 / 0.7, 1.0])
    np.testing.assert_allclose(calibrate(lambda a: 4.0 * a, 1.0), [0.25, 1.0])


def test_a_bent_answer_is_scaled_closely() -> None:
    found = calibrate(lambda a: 2 * np.tanh(a), 1.0)
    np.testing.assert_allclose(found.amount, np.arctanh(0.5), rtol=0.01)


def test_a_mirrored_direction_stays_mirrored() -> None:
    np.testing.assert_allclose(calibrate(lambda a: -a, 1.0), [1.0, -1.0])


def test_what_is_out_of_reach_is_told() -> None:
    found = calibrate(lambda a: 0.5 * np.sin(np.pi * a), 1.0)
    np.testing.assert_allclose(found, [0.5, 0.5])
    with pytest.raises(DataError, match="does not answer"):
        calibrate(lambda a: 0 * a, 1.0)
    with pytest.raises(DataError, match="not finite"):
        calibrate(lambda a: a * np.nan, 1.0)


# Along the strength.


def test_even_steps_and_bent_ones() -> None:
    assert linearity(STRENGTHS, 3 * STRENGTHS) == pytest.approx(1.0)
    assert step_variation(3 * STRENGTHS) == pytest.approx(0.0)
    assert saturation(STRENGTHS, 3 * STRENGTHS) is None
    bent = np.array([0.0, 1.0, 2.0, 2.4, 2.5])
    # R2 of a straight line is the squared correlation.
    assert linearity(STRENGTHS, bent) == pytest.approx(np.corrcoef(STRENGTHS, bent)[0, 1] ** 2)
    steps = np.array([1, 1, 0.4, 0.1])
    assert step_variation(bent) == pytest.approx(steps.std() / steps.mean())
    assert saturation(STRENGTHS, bent) == 1.0
    assert saturation(STRENGTHS, -bent) == 1.0
    # What turns back is slower than half, too.
    assert saturation(STRENGTHS, np.array([0, 1.0, 2, 3, 2])) == 1.5


def test_figures_of_a_linear_edit() -> None:
    found = figures_of(changes_of([0.1, -1.0, 0.3]), STRENGTHS, target=1, sign=-1)
    assert found["leakage_mean"] == pytest.approx(0.2)
    assert found["leakage_max"] == pytest.approx(0.3)
    assert found["target_change"] == pytest.approx(1.0)
    assert (found["spearman"], found["right_way"]) == (1.0, 1.0)
    np.testing.assert_allclose(found["moved"], [0.1, -1.0, 0.3])
    np.testing.assert_allclose(found["curve"]["target"], STRENGTHS)
    np.testing.assert_allclose(found["curve"]["others"], 0.2 * STRENGTHS)
    # At strengths 0 and 1 alone.
    ends = figures_of(changes_of([0.1, -1.0, 0.3])[:, [0, 2]], STRENGTHS[[0, 2]], target=1, sign=-1)
    assert ends["leakage_mean"] == pytest.approx(0.2)
    assert ends["spearman"] is None and ends["curve"] is None


def test_the_curve_of_single_faces_does_not_cancel() -> None:
    changes = np.zeros((2, 1, 2))
    changes[:, 0] = [[1.0, 0.5], [1.0, -0.5]]
    found = curve(changes, 0)
    assert (found["others"], found["others_abs"]) == ([0.0], [0.5])
    assert (found["target"], found["target_abs"]) == ([1.0], [1.0])


# Intervals.


def test_without_noise_intervals_have_no_width() -> None:
    draws = Draws.make(40, 3, count=50)
    same = [changes_of([1.0, 0.2, 0.4])[:, 2]] * 3
    np.testing.assert_allclose(draws.leakage(same, 0), np.tile([0.3, 0.4], (51, 1)))
    np.testing.assert_allclose(
        draws.band(changes_of([1.0, 0.2, 0.4]), 0), np.tile(0.3 * STRENGTHS, (51, 1))
    )


def test_intervals_hold_both_kinds_of_chance() -> None:
    draws = Draws.make(40, 4, count=2000)
    # Over faces: the mean of 40 numbers of standard deviation 0.5 has 0.08.
    noisy = changes_of([1.0, 1.0], noise=0.0)[:, 2].copy()
    noisy[:, 1] += 0.5 * np.tile([1, -1], 20)
    drawn = draws.leakage([noisy], 0)[:, 0]
    assert drawn[0] == pytest.approx(1.0)
    assert np.std(drawn[1:]) == pytest.approx(0.5 / np.sqrt(40), rel=0.1)
    # Over repetitions: the mean of four leakages 0.1, 0.1, 0.3, 0.3 has 0.05.
    found = [changes_of([1.0, leak])[:, 2] for leak in (0.1, 0.1, 0.3, 0.3)]
    drawn = draws.leakage(found, 0)[:, 0]
    assert drawn[0] == pytest.approx(0.2)
    assert np.std(drawn[1:]) == pytest.approx(0.05, rel=0.1)
    bounds = interval(drawn[0], drawn[1:])
    assert bounds.low == pytest.approx(0.1, abs=0.02) and bounds.high == pytest.approx(
        0.3, abs=0.02
    )


def test_differences_are_paired() -> None:
    draws = Draws.make(40, 1, count=500)
    first = changes_of([1.0, 0.5], noise=0.3)[:, 2]
    second = first.copy()
    second[:, 1] += 0.1 * first[:, 0]  # always a tenth of the target more
    drawn = {name: draws.leakage([one], 0)[:, 0] for name, one in {"a": first, "b": second}.items()}
    assert np.std(drawn["a"]) > 0.02
    found = differences(drawn, "a")
    assert list(found) == ["b"]
    np.testing.assert_allclose(found["b"], [0.1, 0.1, 0.1], atol=1e-6)


# Claims.


def _anchors(count: int = 10, rows: int = 3, width: int = 4) -> Anchors:
    degrees = np.linspace(0, 1, count, dtype=np.float32)
    step = np.zeros((rows, width), np.float32)
    step[:, 0] = 1.0
    start = np.ones((rows, width), np.float32)
    return Anchors(start + degrees[:, None, None] * step, start, degrees, {})


def test_fewer_degrees_keep_both_ends() -> None:
    found = compared_claims.fewer_degrees(_anchors(), 3)
    np.testing.assert_allclose(found.degrees, [0, 4 / 9, 1], atol=1e-6)
    assert found.ws.shape == (3, 3, 4)


@pytest.mark.parametrize(("share", "bad"), [(0.0, 0), (0.2, 4), (0.4, 8)])
def test_a_share_of_the_anchors_is_replaced(share: float, bad: int) -> None:
    sets = [_anchors(), _anchors()]
    strangers = np.full((20, 3, 4), 9.0)
    found = compared_claims.corrupted(sets, share, strangers, jax.random.key(0))
    replaced = [(one.ws == 9.0).all(axis=(1, 2)) for one in found]
    assert sum(int(r.sum()) for r in replaced) == bad
    for one, own, r in zip(found, sets, replaced, strict=True):
        np.testing.assert_array_equal(one.ws[~r], own.ws[~r])


def test_rank_of_a_straight_motion_and_of_a_bent_one() -> None:
    assert compared_claims.rank_figures([_anchors()])["components_for_90"] == 1
    assert compared_claims.components_for(np.array([0.5, 0.89, 0.9, 1.0]), 0.9) == 3
    other = np.zeros((3, 4), np.float32)
    other[:, 1] = 1.0
    along = _anchors()
    across = Anchors(
        along.start + np.asarray(along.degrees)[:, None, None] * other, along.start, along.degrees
    )
    found = compared_claims.rank_figures([along, across], method="svd")
    assert found["components_for_90"] == 2
    assert found["pc1_ratio"] == pytest.approx(0.5, abs=1e-5)


def test_text_and_video_agree_where_w_lives() -> None:
    covariance = np.diag([1.0, 1.0, 1e-6])
    text, video = np.zeros((2, 3)), np.zeros((2, 3))
    text[0], video[1] = [1.0, 0, 5], [1.0, 0, -5]  # other rows, and a dead dimension
    assert compared_claims.live_cosine(text, video, covariance) == pytest.approx(1.0)
    assert text.ravel() @ video.ravel() == 0


# A whole run.


@pytest.fixture(scope="module")
def models(tiny_generator: Any, tiny_clip: Any) -> dict[str, Any]:
    config = ProbeConfig(
        trunk=TrunkConfig(resolution=16, fold=2, channels=(8,), activation="gelu", hidden=8),
        factors=("smile", "yaw", "age"),
    )
    probes = [
        Probe.make(config, Probe.init(config, jax.random.key(seed)), meta={"name": f"p{seed}"})
        for seed in (0, 1)
    ]
    return {"gen": tiny_generator, "clip": tiny_clip, "probe": probes[0], "judge": probes[1]}


SHORT = ComparedEval(
    identity="none", edits=("smile",), unseen=tuple(range(4)), calibrated_on=(10, 11),
    population=tuple(range(20, 28)), few=2, repetitions=2, reach=2, claims=False,
    baselines=("random", "clip_regression"), reference="clip_regression",
    looked_at=ComparedEval().looked_at.replace(
        samples=16, jacobian_faces=2, sketch=2, starts=2, optimize_steps=2
    ),
)  # fmt: skip
WHOLE = SHORT.replace(
    claims=True, baselines=("random", "styleclip", "clip_regression", "ours_optimize")
)


def compare(models: dict[str, Any], options: ComparedEval, folder: Path) -> tuple[RunFolder, str]:
    promised = [*compared.outputs(options), *files_of("compared")]
    run = RunFolder.open(folder, command="mm_eval", settings={}, outputs=promised)
    return run, publish(compared.evaluate(models, run, options), run, "compared")


@pytest.mark.parametrize(
    "options", [SHORT, pytest.param(WHOLE, marks=pytest.mark.slow)], ids=["short", "whole"]
)
def test_a_run_is_written_read_back_and_resumed(
    models: dict[str, Any], options: ComparedEval, tmp_path: Path, monkeypatch: Any
) -> None:
    run, text = compare(models, options, tmp_path)
    assert not run.missing()
    held = {p.relative_to(run.path).as_posix() for p in run.path.rglob("*") if p.is_file()}
    assert held == {*run.outputs, "config.json"}
    numbers = json.loads(run.file("compared.json").read_text())
    method = numbers["methods"]["clip_regression"]["motions"]["smile"]
    assert len(method["leakage_by_repetition"]) == 2
    mean = np.mean(method["leakage_by_repetition"])
    assert method["leakage"][0] == pytest.approx(mean, rel=1e-4)
    others = set(options.baselines) - {"clip_regression"}
    assert set(numbers["differences"]["clip_regression"]) == others
    lines = list(csv.DictReader(run.file("compared.csv").read_text().splitlines()))
    assert [line["method"] for line in lines] == list(options.baselines)
    assert "| random direction | nothing |" in text
    assert "<svg" in run.file(compared_report.CHART).read_text()
    for table in compared_report.tables(numbers, numbers["claims"]):
        assert markdown(table) in text  # the tables are those of the json alone
    if options.claims:
        assert numbers["methods"]["styleclip"]["motions"]["smile"]["space"] == "S"
        assert set(numbers["claims"]) == {
            "anchors", *(variant.name for variant in compared_claims.variants(options))
        }  # fmt: skip

    # What is there is not found again; what is lacking is, and comes out as before.
    before = json.loads(run.file("found1/clip_regression.json").read_text())
    run.file("found1/clip_regression.json").unlink()
    for place in ("styleclip.style_changes", "world.text_anchors", "world.rendering"):
        monkeypatch.setattr(f"mm_jax.baselines.{place}", None)
    _, again = compare(models, options, tmp_path)
    after = json.loads(run.file("found1/clip_regression.json").read_text())
    for record in (after, before):
        record["motions"]["smile"].pop("seconds")
    assert after == before
    assert again == text


@pytest.mark.parametrize(
    ("message", "changes"),
    [
        ("reference='sefa' is none of", {"reference": "sefa", "baselines": ("random",)}),
        ("share a seed", {"unseen": (1, 2), "calibrated_on": (2, 3)}),
        ("unseen must be at least two", {"unseen": (1,)}),
        ("repetitions must be at least 1", {"repetitions": 0}),
    ],
)
def test_bad_options(message: str, changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=message):
        ComparedEval(**changes)


def test_videos_are_found_by_name(tmp_path: Any) -> None:
    (tmp_path / "smile.mp4").write_bytes(b"")
    options = ComparedEval(videos=str(tmp_path))
    assert list(compared.videos_of(options)) == ["smile"]
    assert not compared.videos_of(options.replace(baselines=("random",), reference="random"))
    with pytest.raises(DataError, match="no such folder"):
        compared.videos_of(options.replace(videos=str(tmp_path / "none")))
    assert not compared.videos_of(options.replace(videos="", generator=str(tmp_path)))
