"""mm_eval: bad usage, and a whole topic on few pictures."""

import json
import shutil

import numpy as np
import pytest

from mm_jax.anchors.prompts import MOTIONS
from mm_jax.artifacts import Subspace, save_subspace
from mm_jax.latents import sample_latents
from mm_jax.zoo import load_generator

SHORT = (
    "--topic=inversion", "--count=3", "--few=2", "--batch=2", "--short_steps=10",
    "--long_steps=10", "--tune_steps=2", "--mean_weights=0.1", "--start_weights=",
)  # fmt: skip


@pytest.mark.parametrize(
    ("status", "words", "args"),
    [
        (2, "--topic is missing", []),
        (2, "should be one of", ["--topic=beauty"]),
        (2, "few must be at most count, 4, got 9", ["--topic=inversion", "--count=4", "--few=9"]),
        (2, "weights must be at least 0", ["--topic=inversion", "--mean_weights=-1"]),
        (2, "list of numbers, e.g. -1,0,1, got 'x'", ["--topic=inversion", "--start_weights=x"]),
        (2, "is none of", ["--topic=inversion", "--methods=short,magic"]),
        (2, "methods lack short", ["--topic=inversion", "--methods=long"]),
        (2, "unknown motion", ["--topic=inversion", "--edits=laugh"]),
        (2, "unknown generator", ["--topic=inversion", "--generator=nowhere"]),
        (2, "'magic' is none of random, ganspace", ["--topic=compared", "--baselines=magic"]),
        (
            2,
            "reference='sefa' is none of",
            ["--topic=compared", "--baselines=random", "--reference=sefa"],
        ),
        (2, "unknown videos 'nowhere': give a folder", ["--topic=compared", "--videos=nowhere"]),
    ],
)
def test_bad_usage(fails, status, words, args):
    fails(status, words, "mm_eval", "--outdir=out", *args)


@pytest.mark.slow
def test_inversion(call, tmp_path):
    gen = load_generator("people")
    codes = np.asarray(sample_latents(gen, seeds=[0, 1]))
    step = (codes[1] - codes[0])[None]
    for motion in MOTIONS:
        subspace = Subspace(
            step / np.linalg.norm(step), np.linalg.norm(step), np.ones(1), codes[0], 1.0,
            np.ones(12, bool), {"generator_fingerprint": gen.fingerprint},
        )  # fmt: skip
        (tmp_path / "demo" / motion).mkdir(parents=True)
        save_subspace(tmp_path / "demo" / motion / "subspace.npz", subspace)
    args = (*SHORT, "--subspaces=demo", "--outdir=out")
    status, out, err = call("mm_eval", *args)
    assert status == 0, err
    assert "| renders | encoder + 10 steps | 3 |" in out
    folder = tmp_path / "out"
    config = json.loads((folder / "config.json").read_text())
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert set(config["outputs"]) == files - {"config.json"}
    figures = json.loads((folder / "inversion.json").read_text())
    assert {row["images"] for row in figures["quality"]} == {"renders", "generated"}
    assert set(figures["editability"][0]["shares"]) == set(MOTIONS)
    rows = {row["codes"]: row["edited"] for row in figures["editability"]}
    assert rows["renders, encoder"] is None
    assert rows["generated, encoder + 10 steps"] > 15 and rows["generated, encoder"] > 15
    # Measured once, put together again.
    shutil.copy(folder / "inversion.md", tmp_path / "first.md")
    (folder / "inversion.md").unlink()
    assert call("mm_eval", *args)[0] == 0
    assert (folder / "inversion.md").read_text() == (tmp_path / "first.md").read_text()
