"""The evaluation of another domain on small random models: files, metrics, resuming."""

import json

import jax
import numpy as np
import pytest

from mm_jax.anchors.prompts import MOTIONS
from mm_jax.artifacts import Subspace, save_subspace
from mm_jax.errors import UsageError
from mm_jax.evaluation import domain
from mm_jax.evaluation.motions import target_of
from mm_jax.evaluation.options import DomainEval
from mm_jax.evaluation.renders import KnownRenders
from mm_jax.evaluation.results import files_of, publish
from mm_jax.nn.trunk import TrunkConfig
from mm_jax.people.factors import FACTORS, NUM_FACTORS
from mm_jax.perceptual.probe import Probe, ProbeConfig
from mm_jax.runs import RunFolder
from mm_jax.stylegan2.generator import make_generator


@pytest.fixture(scope="module")
def models(tiny_generator):
    trunk = TrunkConfig(resolution=16, fold=1, channels=(4, 4), activation="relu", hidden=8)
    config = ProbeConfig(trunk=trunk, factors=FACTORS)
    params = [Probe.init(config, jax.random.key(seed)) for seed in (0, 1)]
    synthesis = jax.tree.map(lambda x: 0.9 * x, tiny_generator.params["synthesis"])
    sketch = {**tiny_generator.params, "synthesis": synthesis}
    random = np.random.RandomState(5)
    renders = KnownRenders(
        images=random.uniform(-1, 1, (3, 16, 16, 3)).astype(np.float32),
        z=random.standard_normal((3, tiny_generator.config.z_dim)).astype(np.float32),
        factors=random.uniform(-1, 1, (3, NUM_FACTORS)).astype(np.float32),
        scale=np.ones(NUM_FACTORS, np.float32),
        names=FACTORS,
    )
    return {
        "gen": tiny_generator,
        "renders": renders,
        "sketch": make_generator(tiny_generator.config, sketch),
        "judge": Probe(config, params[0]),
        "sketch_judge": Probe(config, params[1]),
        "clip": None,
    }


@pytest.fixture
def settings(tiny_generator, tmp_path):
    shape = (1, tiny_generator.config.num_ws, tiny_generator.config.w_dim)
    for i, motion in enumerate(MOTIONS):
        step = np.random.RandomState(i).randn(*shape).astype(np.float32)
        subspace = Subspace(
            step / np.linalg.norm(step), 2.0, np.ones(1), np.zeros(shape[1:], np.float32), 1.0,
            np.ones(shape[1], bool), {},
        )  # fmt: skip
        (tmp_path / "demo" / motion).mkdir(parents=True)
        save_subspace(tmp_path / "demo" / motion / "subspace.npz", subspace)
    return DomainEval(
        sketch_generator="given",
        sketch_judge="given",
        subspaces=str(tmp_path / "demo"),
        identities=(1, 2, 3),
        drawings=2,
        inversion_steps=2,
        measured=3,
        batch=4,
    )


def test_all_of_it_and_again(models, settings, tmp_path):
    outputs = [*domain.outputs(settings), *files_of("domain")]
    run = RunFolder.open(tmp_path / "out", command="mm_eval", settings={}, outputs=outputs)
    text = publish(domain.evaluate(models, run, settings), run, "domain")
    assert not run.missing()
    metrics = json.loads(run.file("domain.json").read_text())
    assert set(metrics["truths"]) == {case.title for case in domain.CASES}
    for case in domain.CASES:
        truths = metrics["truths"][case.title]
        assert set(truths) == set(MOTIONS)
        for motion, truth in truths.items():
            assert truth["n"] == (2 if case.drawings else 3)
            factor = FACTORS[target_of(motion, FACTORS)[0]]
            row = f"| {motion} | {factor} | {truth['spearman']:.3f} | {truth['right_way']:.3f} |"
            assert row in text
    # Both generators are given the same codes, and each is read by its own judge.
    with np.load(run.file("readings.npz")) as read:
        faces, sketches = (read[f"{case.title}: smile"] for case in domain.CASES[:2])
        assert np.abs(faces - sketches).max() > 1e-3

    stamps = {p: p.stat().st_mtime_ns for p in run.path.glob("*.npz")}
    run.file("shared.png").unlink()
    assert publish(domain.evaluate(models, run, settings), run, "domain") == text
    assert not run.missing()
    assert stamps == {p: p.stat().st_mtime_ns for p in run.path.glob("*.npz")}


def test_drawings_are_gray_pencil_and_known(models):
    drawings, factors = domain.drawings_of(models["renders"], 2)
    assert drawings.shape == (2, 16, 16, 3)
    np.testing.assert_array_equal(factors, models["renders"].factors[:2])
    assert np.ptp(drawings, axis=-1).max() < 0.2  # paper is a little yellow, no more


def test_settings_and_models_are_checked():
    given = {"sketch_generator": "nowhere", "sketch_judge": "nowhere"}
    with pytest.raises(UsageError, match="drawings must be at least 2, got 1"):
        DomainEval(drawings=1, **given)
    with pytest.raises(UsageError, match="measured must be at least 2, got 1"):
        DomainEval(measured=1, **given)
    with pytest.raises(UsageError, match="unknown generator 'nowhere'"):
        domain.open_models(DomainEval(**given))
