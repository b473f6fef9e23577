"""mm_extract --video end to end, on a tiny generator."""

import json

import numpy as np
import pytest

from mm_jax import media
from mm_jax.artifacts import load_anchors, load_subspace
from mm_jax.latents import mean_latent, sample_latents, synthesize
from tests.faces.test_readings import upright

T = 6
# The start codes are taken as they are: what inversion does is tested where it lives.
QUICK = ("--aligned", "--clip_steps=0", "--together_steps=0", "--nodrop")


@pytest.fixture
def clip(tiny_generator, tmp_path):
    """A clip of the tiny generator's own pictures, of 32 px."""
    one, other = np.asarray(sample_latents(tiny_generator, seeds=[1, 2]))
    way = np.linspace(0, 1, T, dtype=np.float32)[:, None, None] * (other - one)
    frames = np.asarray(synthesize(tiny_generator, mean_latent(tiny_generator) + way))
    media.save_mp4(tmp_path / "turn.mp4", frames.repeat(2, axis=1).repeat(2, axis=2), fps=10)
    return tmp_path / "turn.mp4"


def test_a_clip_becomes_a_subspace(call, clip, generator_dir, tmp_path):
    args = (f"--generator={generator_dir}", "--video=turn.mp4", "--frames_wanted=4", *QUICK)
    # From the mean code without steps nothing moves, and that is said.
    status, _, err = call("mm_extract", *args, "--outdir=still")
    assert status == 1 and "do not move" in err
    args = (*args[:-3], "--clip_steps=10", "--together_steps=10", "--nodrop")
    status, out, err = call("mm_extract", *args, "--outdir=out")
    assert status == 0, err
    assert "not read back, as there is no prompt" in out
    folder = tmp_path / "out"
    config = json.loads((folder / "config.json").read_text())
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert set(config["outputs"]) == files - {"config.json"}
    anchors = load_anchors(folder / "anchors_turn.npz")
    assert anchors.meta["kept"] == [0, 2, 3, 5] and anchors.meta["clip"] == "turn.mp4"
    # Frames of videos may be bad: by default they are decomposed by robust PCA.
    assert load_subspace(folder / "subspace.npz").meta["rpca"]["outliers"] == "rows"
    assert media.read_image(folder / "clip_turn.png").shape == (2 * 16 + 2, 4 * 16 + 6, 3)
    page = (folder / "report.html").read_text()
    assert "Video turn" in page and "4 of 4 frames taken, of 6 in all" in page
    stamps = {p: p.stat().st_mtime_ns for p in folder.iterdir()}
    assert call("mm_extract", *args, "--outdir=out")[0] == 0
    assert stamps == {p: p.stat().st_mtime_ns for p in folder.iterdir()}


def test_a_face_that_only_trembles_is_no_motion(call, clip, generator_dir, tmp_path):
    rng = np.random.default_rng(0)
    known = {str(i): (upright() / 10 + 16 + rng.normal(scale=0.1, size=(68, 2))) for i in range(T)}
    (tmp_path / "l.json").write_text(json.dumps({name: p.tolist() for name, p in known.items()}))
    args = (f"--generator={generator_dir}", "--video=turn.mp4", "--landmarks=l.json", *QUICK[1:-1])
    args = (*args, "--clip_steps=1", "--together_steps=1", "--smoothing=0")
    status, out, err = call("mm_extract", *args, "--outdir=out")
    assert status == 1 and "no motion was found: turn.mp4: the face does not move" in err
    assert "6 frames are rebuilt at" in err and not (tmp_path / "out" / "subspace.npz").exists()
    assert "No motion was found" in (tmp_path / "out" / "report.html").read_text()
    status, out, err = call("mm_extract", *args, "--keep", "--outdir=out")
    assert status == 0 and "it is kept" in out and load_subspace(tmp_path / "out" / "subspace.npz")


@pytest.mark.parametrize(
    ("status", "words", "args"),
    [
        (2, "exactly one of", ["--video=turn.mp4", "--motion=smile"]),
        (1, "no such file or folder", ["--video=none.mp4"]),
        (1, "must hold at least two frames, got one", ["--video=still.mp4"]),
        (2, "at least 2", ["--video=turn.mp4", "--frames_wanted=1"]),
        (2, "not both", ["--video=turn.mp4", "--frames_wanted=3", "--sample_fps=2"]),
        (2, "takes one frame", ["--video=turn.mp4", "--sample_fps=0.1"]),
        (2, "smoothing must be at least 0, got -1", ["--video=turn.mp4", "--smoothing=-1"]),
        (2, "rows 0 to 5", ["--video=turn.mp4", "--layers=0-9"]),
        (2, "same name", ["--video=turn.mp4", "--video=more/turn.mp4"]),
        (1, "must be square", ["--video=wide.mp4"]),
    ],
)
def test_bad_clips_and_flags(call, clip, generator_dir, status, words, args):
    media.save_mp4("still.mp4", np.zeros((1, 16, 16, 3), np.uint8))
    media.save_mp4("wide.mp4", np.zeros((3, 16, 20, 3), np.uint8))
    gen = f"--generator={generator_dir}"
    got, _, err = call("mm_extract", gen, *QUICK, *args, "--outdir=out")
    assert got == status and words in err and err.count("\n") == 1, err
