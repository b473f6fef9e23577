"""The comparison: measures with known answers, and a whole run on tiny networks."""

from __future__ import annotations

import csv
import json
import multiprocessing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

from mm_jax.anchors.prompts import MOTIONS, fill
from mm_jax.artifacts import Anchors
from mm_jax.baselines.world import Direction
from mm_jax.checkpoints import save_generator
from mm_jax.errors import DataError, UsageError
from mm_jax.evaluation import (
    compared,
    compared_claims,
    compared_dci,
    compared_gradients,
    compared_jobs,
    compared_numbers,
    compared_parts,
    compared_report,
    compared_tables,
    compared_videos,
)
from mm_jax.evaluation.compared_judge import Judged, measure
from mm_jax.evaluation.compared_measures import (
    Calibration,
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
from mm_jax.evaluation.reading import read_images
from mm_jax.evaluation.results import files_of, markdown, publish
from mm_jax.latents import sample_latents, synthesize
from mm_jax.nn.trunk import TrunkConfig
from mm_jax.perceptual.probe import Probe, ProbeConfig
from mm_jax.progress import silent
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


def test_an_expected_amount_is_read_once_where_it_is_close() -> None:
    read: list[float] = []

    def response(amounts: np.ndarray) -> np.ndarray:
        read.extend(amounts)
        return 2 * np.tanh(amounts)

    close = calibrate(response, 1.0, near=0.53)
    assert read == [0.53]
    np.testing.assert_allclose(close, [0.53, 2 * np.tanh(0.53)])
    for near in (0.2, 2.0):
        read.clear()
        far = calibrate(response, 1.0, near=near)
        assert 1 < len(read) <= 3
        np.testing.assert_allclose(far.amount, np.arctanh(0.5), rtol=0.15)


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
    assert compared_claims.rank_metrics([_anchors()])["components_for_90"] == 1
    assert compared_claims.components_for(np.array([0.5, 0.89, 0.9, 1.0]), 0.9) == 3
    other = np.zeros((3, 4), np.float32)
    other[:, 1] = 1.0
    along = _anchors()
    across = Anchors(
        along.start + np.asarray(along.degrees)[:, None, None] * other, along.start, along.degrees
    )
    found = compared_claims.rank_metrics([along, across], method="svd")
    assert found["components_for_90"] == 2
    assert found["pc1_ratio"] == pytest.approx(0.5, abs=1e-5)


def test_text_and_video_agree_where_w_lives() -> None:
    covariance = np.diag([1.0, 1.0, 1e-6])
    text, video = np.zeros((2, 3)), np.zeros((2, 3))
    text[0], video[1] = [1.0, 0, 5], [1.0, 0, -5]  # other rows, and a dead dimension
    assert compared_claims.live_cosine(text, video, covariance) == pytest.approx(1.0)
    assert text.ravel() @ video.ravel() == 0


def test_both_ends_of_uneven_steps() -> None:
    found = compared_gradients.evenness(np.array([0.0, 1, 2, 3]))
    assert found["linearity"] == pytest.approx(1) and found["step_variation"] == pytest.approx(0)
    bent = compared_gradients.evenness(np.array([0.0, 2, 3, 3.1]))
    assert bent["linearity"] < 0.9 and bent["step_variation"] > 0.5


def test_two_motions_that_add_up_and_two_that_do_not() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((2, 8, 3))
    first[:, 0] += 2
    second[:, 1] -= 2
    alone, targets = {"a": first, "b": second}, {"a": 0, "b": 1}
    found = compared_gradients.composed(alone, first + second, targets)
    assert found["interference"] == pytest.approx(0, abs=1e-12)
    sums = (first + second).mean(axis=0)
    assert found["left"]["a"] == pytest.approx(sums[0] / first[:, 0].mean())
    beyond = np.array([0.3, 0, -0.6])
    found = compared_gradients.composed(alone, first + second + beyond, targets)
    assert found["interference"] == pytest.approx(0.3)


def test_a_direction_is_a_subspace_of_that_strength() -> None:
    move = np.random.default_rng(0).standard_normal((3, 4))
    found = Direction(move).subspace(0.7)
    np.testing.assert_allclose(found.direction, 0.7 * move, rtol=1e-5)


def test_a_variant_without_a_direction_is_a_row_that_says_so(tmp_path: Path) -> None:
    def find(*_: Any) -> Direction:
        raise DataError("nothing in common")

    run: Any = SimpleNamespace(file=lambda name: tmp_path / Path(name).name)
    judged: Any = SimpleNamespace(judge=SimpleNamespace(factors=("smile", "anger")))
    options = ComparedEval(edits=("smile", "anger"))
    variants = [compared_gradients.Variant("spoiled", "all corrupted", find)]
    found = compared_gradients.measure_variants(variants, None, judged, run, options, silent)  # type: ignore[arg-type]
    assert found["spoiled"]["motions"]["smile"] == {"why_not": "nothing in common"}
    assert (tmp_path / "spoiled.json").exists()
    # In its table the others' means stay theirs.
    found["sound"] = {
        "title": "as it is",
        "motions": {m: {"leakage_mean": 0.1, "leakage_max": 0.2, "right_way": 1.0}
                    for m in ("smile", "anger")},
    }  # fmt: skip
    numbers = {"motions": ["smile", "anger"], "few": 4}
    (table,) = compared_tables._anchor_variants(numbers, found)
    assert table.rows[0] == ["all corrupted", "none found", "none found", None, None]
    assert table.rows[1][1:] == ["10.0 / 20", "10.0 / 20", pytest.approx(10), 1.0]


def test_every_motion_has_other_words() -> None:
    assert set(compared_gradients.PARAPHRASES) == set(MOTIONS)
    for name, others in compared_gradients.PARAPHRASES.items():
        assert len({MOTIONS[name].template, *others}) == 3
        assert all(fill(one, "50%") for one in others)


def test_mixed_faces_have_rows_of_two() -> None:
    ws, others = np.zeros((40, 5, 2)), np.ones((40, 5, 2))
    found = compared_dci.mixed(ws, others, jax.random.key(0))[:, :, 0]
    assert (found[:, 0] == 0).all() and (found[:, -1] == 1).all()
    assert (np.diff(found, axis=1) >= 0).all() and len(set(found.sum(axis=1))) == 4


def test_identity_along_a_video() -> None:
    turn = np.deg2rad([0.0, 10, 20])
    found = compared_videos.identity_along(np.stack([np.cos(turn), np.sin(turn)], axis=1))
    ten, twenty = np.cos(np.deg2rad([10, 20]))
    np.testing.assert_allclose(found, [ten, (2 * ten + twenty) / 3])
    assert compared_videos.other_motion("b", ("a", "b", "c")) == "c"
    assert compared_videos.other_motion("c", ("a", "b", "c")) == "a"


def test_two_judges_rank_alike_or_not() -> None:
    options = ComparedEval()
    means = {
        name: np.array([value])
        for name, value in (("random", 0.5), ("clip_means", 0.2), ("ours_gradient", 0.1),
                            ("ceiling_regression", 0.01))
    }  # fmt: skip
    same = compared_numbers.ranking(means, means, options)
    assert same["methods"] == ["random", "clip_means", "ours_gradient"]
    assert same["spearman"] == pytest.approx(1) and same["first_alike"]
    turned = {name: 1 - value for name, value in means.items()}
    other = compared_numbers.ranking(means, turned, options)
    assert other["spearman"] == pytest.approx(-1) and not other["first_alike"]
    # A third network has been seen by no method.
    third = compared_numbers.ranking(means, means, options.replace(second="elsewhere"))
    assert third["methods"] == list(means)
    two = {name: means[name] for name in ("random", "clip_means")}
    assert compared_numbers.ranking(two, two, options)["spearman"] is None


def test_one_start_against_several() -> None:
    several = np.array([0.1, 0.12, 0.08])
    found = compared_numbers.one_start({"ours_one_start": 2 * several, "ours_optimize": several})
    np.testing.assert_allclose(found, [2, 2, 2])
    assert compared_numbers.one_start({"ours_optimize": several}) is None


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
    return {
        "gen": tiny_generator, "clip": tiny_clip, "probe": probes[0], "judge": probes[1],
        "second": probes[0],
    }  # fmt: skip


SHORT = ComparedEval(
    identity="none", edits=("smile",), unseen=tuple(range(4)), calibrated_on=(10, 11),
    population=tuple(range(20, 28)), few=2, repetitions=2, reach=2, claims=False,
    baselines=("random", "clip_regression"), reference="clip_regression",
    looked_at=ComparedEval().looked_at.replace(
        samples=16, jacobian_faces=2, sketch=2, starts=2, optimize_steps=2, averaged=4
    ),
)  # fmt: skip
WHOLE = SHORT.replace(
    claims=True,
    edits=("smile", "aging"),
    baselines=(
        "random", "styleclip", "clip_regression", "ours_one_start", "ours_optimize", "ours_sample",
        "ours_gradient", "ours_refined",
    ),
)  # fmt: skip


def compare(models: dict[str, Any], options: ComparedEval, folder: Path) -> tuple[RunFolder, str]:
    promised = [*compared.outputs(options), *files_of("compared")]
    run = RunFolder.open(folder, command="mm_eval", settings={}, outputs=promised)
    return run, publish(compared.evaluate(models, run, options), run, "compared")


def test_processes_find_what_one_does(
    models: dict[str, Any], tiny_clip_dir: Path, tmp_path: Path
) -> None:
    for name in ("probe", "judge"):
        models[name].save(tmp_path / name)
    options = SHORT.replace(
        generator=str(save_generator(models["gen"], tmp_path / "gen")), clip=str(tiny_clip_dir),
        probe=str(tmp_path / "probe"), judge=str(tmp_path / "judge"),
        second=str(tmp_path / "probe"),
    )  # fmt: skip
    opened = compared.open_models(options)
    alone, _ = compare(opened, options, tmp_path / "alone")
    shared, _ = compare(opened, options.replace(jobs=2), tmp_path / "shared")
    found = [(name, r) for r in (0, 1) for name in compared_parts.used(options, r)]
    for file in (file for name, r in found for file in compared_parts.files_of(name, r)):
        if file.endswith(".npz"):
            want, got = (np.load(run.file(file)) for run in (alone, shared))
            for name in want.files:
                np.testing.assert_allclose(
                    got[name], want[name], rtol=1e-3, atol=1e-3, err_msg=file
                )
    # What is there is not done again, and starts no process.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compared_jobs, "ProcessPoolExecutor", None)
        compare(opened, options.replace(jobs=2), tmp_path / "shared")
    # What is wrong in one of them is said as it is in one process.
    (shared.path / "found0" / "random.json").write_text("{")
    for file in ("random.json", "random.npz"):
        (shared.path / "found1" / file).unlink()
    with pytest.raises(DataError, match=r"random\.json"):
        compared_jobs.fill(shared, options.replace(jobs=2), progress=silent)
    assert not multiprocessing.active_children()


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
    assert [line["method"] for line in lines] == [
        name for name in options.baselines for _ in options.edits
    ]
    assert all("second" in one["mean"] for one in numbers["methods"].values())
    assert "| random direction | nothing |" in text
    assert "<svg" in run.file(compared_report.CHART).read_text()
    for table in compared_tables.tables(numbers, numbers["claims"]):
        assert markdown(table) in text  # the tables are those of the json alone
    if options.claims:
        assert numbers["methods"]["styleclip"]["motions"]["smile"]["space"] == "S"
        claims = numbers["claims"]
        assert set(claims) == {
            "anchors", "of_anchors", "of_gradients", "calibrated", "composed", "dci", "videos"
        }  # fmt: skip
        assert list(claims["of_anchors"]) == [one.name for one in compared_claims.changes(options)]
        assert list(claims["of_gradients"]) == [one.name for one in compared_gradients.variants()]
        assert list(claims["dci"]["spaces"]) == ["Z", "W", "W+", "S"]
        assert list(claims["composed"]) == ["smile, aging"]
        assert claims["composed"]["smile, aging"]["order"] < 1e-3
        # In W it is the method of the table, of the same faces.
        same = claims["of_gradients"]["gradients_w"]["motions"]["smile"]["amount"]
        own = numbers["methods"]["ours_gradient"]["motions"]["smile"]["amount"]
        assert same == pytest.approx(own, rel=1e-4)
        assert len(numbers["one_start"]) == 3

    # What is there is not found again; what is lacking is, and comes out as before.
    before = json.loads(run.file("found1/clip_regression.json").read_text())
    run.file("found1/clip_regression.json").unlink()
    for place in ("styleclip.style_changes", "world.text_anchors", "world.rendering"):
        monkeypatch.setattr(f"mm_jax.baselines.{place}", None)
    _, again = compare(models, options, tmp_path)
    after = json.loads(run.file("found1/clip_regression.json").read_text())
    for record in (after, before):
        for own in record["motions"].values():
            own.pop("cpu_seconds")
    assert after == before
    assert again == text


def test_who_stays_the_same_and_who_reads_again(models: dict[str, Any]) -> None:
    gen, judge = models["gen"], models["judge"]
    ws = np.asarray(sample_latents(gen, seeds=range(6), truncation_psi=0.7))
    images = np.asarray(synthesize(gen, ws))
    units = np.array([1.0, 2.0, 4.0])

    def told(shown: Any) -> Any:
        return jax.numpy.stack([shown.mean(axis=(1, 2, 3)), shown.std(axis=(1, 2, 3))], axis=1)

    identity = jax.tree_util.Partial(told)
    read = read_images(judge, images, batch=4) / units
    again = read_images(models["second"], images, batch=4) / units
    judged = Judged(
        gen, judge, identity, units, np.zeros(3), ws, read, np.asarray(told(images)), ws, read,
        4, models["second"], units, again,
    )  # fmt: skip
    move = Direction(np.random.default_rng(0).standard_normal(ws.shape[1:]).astype(np.float32))
    at, scaled = np.array([0.0, 0.5, 1.0]), Calibration(0.3, 1.0)
    how: dict[str, Any] = {"target": 0, "sign": 1, "scaled": scaled}
    found = measure(judged, move, at, who=True, second=True, **how)
    moved = np.asarray(synthesize(gen, ws + np.float32(0.3) * np.asarray(move.move)))
    wanted = read_images(models["second"], moved, batch=4) / units - again
    np.testing.assert_allclose(found.second, wanted, atol=1e-3)  # type: ignore[arg-type]
    kept = (np.asarray(told(moved)) * judged.people).sum(axis=-1).mean()
    assert found.metrics["identity_kept"] == pytest.approx(float(kept), rel=1e-3)
    plain = measure(judged, move, at, **how)
    np.testing.assert_allclose(plain.changes, found.changes, atol=1e-6)
    assert plain.second is None and plain.metrics["identity_kept"] is None


def test_edited_videos_are_compared_with_what_they_were(models: dict[str, Any]) -> None:
    gen = models["gen"]
    ws = np.asarray(sample_latents(gen, seeds=range(5), truncation_psi=0.7))

    def told(shown: Any) -> Any:
        return shown[:, :4, :4, 0].reshape(len(shown), -1)

    judged = Judged(
        gen, models["judge"], jax.tree_util.Partial(told), np.ones(3), np.zeros(3), ws,
        np.zeros((5, 3)), np.zeros((5, 16)), ws, np.zeros((5, 3)), 4,
    )  # fmt: skip
    frames = SimpleNamespace(ws=ws)
    world: Any = SimpleNamespace(videos={"smile": ""}, video_anchors=lambda motion: frames)

    def found(amount: float) -> list[Any]:
        move = Direction(np.ones(ws.shape[1:], np.float32))
        return [SimpleNamespace(metrics={"aging": {"amount": amount}}, directions={"aging": move})]

    options = ComparedEval(edits=("smile", "aging"))
    of = {"still": found(0.0), "moved": found(1.0), "none": [SimpleNamespace(metrics={})]}
    result = compared_videos._measure(world, judged, of, options, lambda *_: None)
    assert result["videos"] == {"smile": "aging"} and set(result["methods"]) == {"still", "moved"}
    assert result["methods"]["still"] == pytest.approx(
        {"TL-ID by recogniser": 1.0, "TG-ID by recogniser": 1.0}, abs=1e-4
    )
    assert result["methods"]["moved"]["TL-ID by recogniser"] != pytest.approx(1.0, abs=1e-3)


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
    assert list(compared.videos_of(options.replace(videos="people-videos"))) == list(options.edits)
    with pytest.raises(UsageError, match="give a folder or a bundled model"):
        compared.videos_of(options.replace(videos=str(tmp_path / "none")))
    assert not compared.videos_of(options.replace(videos="", generator=str(tmp_path)))
