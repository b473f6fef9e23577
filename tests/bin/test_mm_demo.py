"""mm_demo on small random models: every file, the figures, resuming. With the bundled models it is
`make demo` itself."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mm_jax import media
from mm_jax.artifacts import load_anchors
from mm_jax.checkpoints import save_tree
from mm_jax.nn.trunk import Trunk, TrunkConfig
from mm_jax.people.factors import FACTORS, NUM_FACTORS

SMALL = (
    "--motions=smile,closing_eyes", "--starts=0,1", "--faces=2,3", "--identities=4-7",
    "--population=8-12", "--degrees=no,100%", "--steps=2", "--method=svd", "--frames=3",
    "--measured=3", "--batch=4",
)  # fmt: skip


@pytest.fixture(scope="session")
def probe_dir(tmp_path_factory):
    config = TrunkConfig(resolution=16, fold=1, channels=(4, 4), activation="relu", hidden=8)
    module = Trunk(config, NUM_FACTORS)
    params = module.init(jax.random.key(0), jnp.zeros((1, 16, 16, 3)))["params"]
    architecture = {**config.to_dict(), "factors": list(FACTORS)}
    return save_tree(tmp_path_factory.mktemp("probe") / "tiny", "probe", architecture, params)


@pytest.fixture
def models(generator_dir, tiny_clip_dir, probe_dir):
    return (f"--generator={generator_dir}", f"--clip={tiny_clip_dir}", f"--judge={probe_dir}")


def test_all_of_it_and_again(call, models, tmp_path):
    status, out, err = call("mm_demo", *models, *SMALL, "--outdir=out")
    assert status == 0, err
    assert "spearman" in out
    assert "report.html" in out
    folder = tmp_path / "out"
    config = json.loads((folder / "config.json").read_text())
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert set(config["outputs"]) == files - {"config.json"}
    truth = json.loads((folder / "truth.json").read_text())
    assert list(truth) == ["smile", "closing_eyes"]
    figures = {"spearman", "right_way", "leakage_mean", "leakage_max", "n"}
    assert all(set(entry) == figures and entry["n"] == 4 for entry in truth.values())
    assert media.read_image(folder / "smile" / "strips.png").shape == (2 * 16, 3 * 16, 3)
    page = (folder / "report.html").read_text()
    assert "a person with {degree} smile" in page
    assert "data:video/mp4" in page
    with np.load(folder / "smile" / "readings.npz") as stored:
        assert stored["readings"].shape == (4, 3, NUM_FACTORS)

    (folder / "report.html").unlink()
    (folder / "smile" / "seed0002.gif").unlink()
    stamps = {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}
    assert call("mm_demo", *models, *SMALL, "--outdir=out")[0] == 0
    after = {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}
    fresh = {p.name for p, stamp in after.items() if stamps.get(p) != stamp}
    assert fresh == {"report.html", "seed0002.gif"}
    assert json.loads((folder / "truth.json").read_text()) == truth


@pytest.mark.parametrize(
    ("words", "args"),
    [
        ("unknown motion", ["--motions=laugh"]),
        ("given twice", ["--motions=smile,smile"]),
        ("share a seed", ["--starts=700"]),
        ("low", ["--low=1", "--high=0"]),
        ("frames must be at least 2, got 1", ["--frames=1"]),
        ("--identities", ["--identities=a"]),
        ("unknown probe", ["--judge=nobody"]),
    ],
)
def test_bad_usage(fails, models, words, args):
    fails(2, words, "mm_demo", *models, "--outdir=out", *args)


@pytest.mark.slow
def test_a_motion_from_the_bundled_clip(call, models, tmp_path):
    own = ("--motions=head_turn", *SMALL[1:])
    status, _, err = call("mm_demo", *models, *own, "--outdir=out")
    assert status == 0, err
    folder = tmp_path / "out" / "head_turn"
    anchors = load_anchors(folder / "anchors_clip.npz")
    assert anchors.meta["clip"] == "head_turn.mp4"
    assert not list(folder.glob("anchors_seed*"))
    assert "Learned from a bundled video" in (tmp_path / "out" / "report.html").read_text()
    text = (*own, "--clips=none", "--outdir=text")
    assert call("mm_demo", *models, *text)[0] == 0
    assert (tmp_path / "text" / "head_turn" / "anchors_seed0000.npz").exists()
    assert call("mm_demo", *models, *own, "--clips=wave", "--outdir=bad")[0] == 2
