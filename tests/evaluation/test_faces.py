"""The topic of strangers: what is edited, what is read, and the files; networks are planted."""

import json
from pathlib import Path

import numpy as np
import pytest

from mm_jax import zoo
from mm_jax.artifacts import Subspace, save_subspace
from mm_jax.errors import DataError, UsageError
from mm_jax.evaluation import faces
from mm_jax.evaluation.options import FacesEval
from mm_jax.evaluation.results import files_of, publish
from mm_jax.faces.judge import READ
from mm_jax.faces.readings import Readings
from mm_jax.runs import RunFolder


@pytest.fixture
def options(tiny_generator, tmp_path):
    shape = (1, tiny_generator.config.num_ws, tiny_generator.config.w_dim)
    step = np.random.RandomState(0).randn(*shape).astype(np.float32)
    subspace = Subspace(
        step / np.linalg.norm(step), 2.0, np.ones(1), np.zeros(shape[1:], np.float32), 1.0,
        np.ones(shape[1], bool), {},
    )  # fmt: skip
    (tmp_path / "demo" / "aging").mkdir(parents=True)
    save_subspace(tmp_path / "demo" / "aging" / "subspace.npz", subspace)
    return FacesEval(
        subspaces=str(tmp_path / "demo"), edits=("aging",), identities=(1, 2, 3), measured=3,
        batch=4,
    )  # fmt: skip


class Reader:
    """Counts the images it is shown; each next one of an identity is older by ten years."""

    def __init__(self, steps, *, blind=False):
        self.steps, self.blind, self.shown = steps, blind, 0

    def __call__(self, images):
        number = self.shown + np.arange(len(images))
        self.shown += len(images)
        values = {name: 0.5 + 0.01 * (number // self.steps) for name in READ}
        values["age"] = 30 + 10.0 * (number % self.steps) + number // self.steps
        descriptors = np.eye(128, dtype=np.float32)[number // self.steps]
        return Readings(values, descriptors, np.full(len(images), not self.blind))


def test_the_table_and_the_files(tiny_generator, options, tmp_path):
    run = RunFolder.open(
        tmp_path / "out", command="mm_eval", settings={}, outputs=files_of("faces")
    )
    reader = Reader(3)
    result = faces.evaluate({"gen": tiny_generator}, run, options, reader=reader)
    text = publish(result, run, "faces")
    assert reader.shown == 9 and not run.missing()
    assert "| aging | age | 1.000 | 1.000 | 0.000 | 0.000" in text
    verdict = json.loads(run.file("faces.json").read_text())["verdicts"]["aging"]
    assert (verdict["n"], verdict["unread"], verdict["identity_change"]) == (3, 0, 0)
    assert verdict["identity_between"] == pytest.approx(2**0.5)


def test_a_motion_without_faces_is_named(tiny_generator, options, tmp_path):
    with pytest.raises(DataError, match=r"aging: a face must be found at every .*, got 0 of 3"):
        faces.evaluate({"gen": tiny_generator}, None, options, reader=Reader(3, blind=True))


def test_options_are_checked():
    with pytest.raises(UsageError, match="identities must be at least two seeds"):
        FacesEval(identities=(1,))


def test_without_a_folder_motions_are_the_bundled_ones(tiny_generator, monkeypatch, options):
    with pytest.raises(UsageError, match=r"subspaces is missing: no aging of .* is bundled"):
        faces.evaluate({"gen": tiny_generator}, None, options.replace(subspaces=""))
    bundled = {"aging": Path(options.subspaces, "aging", "subspace.npz")}
    monkeypatch.setattr(zoo, "bundled_motions", lambda gen: bundled)
    result = faces.evaluate(
        {"gen": tiny_generator}, None, options.replace(subspaces=""), reader=Reader(3)
    )
    assert result.metrics["verdicts"]["aging"]["n"] == 3
