"""mm_edit --image end to end: a picture with two faces, landmarks from a file, a tiny generator."""

import json
import shutil

import numpy as np
import pytest

from mm_jax import media
from mm_jax.artifacts import Latents, Subspace, load_latents, save_latents, save_subspace
from mm_jax.editing import apply_edit
from mm_jax.latents import synthesize
from mm_jax.zoo import load_generator

L, D = 6, 12
# The faces' codes are given: what is between them and the picture does not depend on them.
FLAGS = ("--keep", "--steps=0", "--strength=0,1", "--format=png,gif", "--landmarks=group.json")


def subspace():
    basis = np.random.default_rng(3).standard_normal((1, L, D)).astype(np.float32)
    basis /= np.linalg.norm(basis)
    return Subspace(
        basis=basis,
        scale=np.float32(3.0),
        singular_values=np.ones(1, np.float32),
        mean=np.zeros((L, D), np.float32),
        pc1_ratio=np.float32(1.0),
        mask=np.ones(L, bool),
    )


@pytest.fixture(scope="module")
def inputs_once(goldens, tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    shutil.copy(goldens / "two_faces.png", folder / "group.png")
    points = json.loads((goldens / "two_faces.json").read_text())["two_faces.png"]
    (folder / "group.json").write_text(json.dumps({"group": points}))
    save_subspace(folder / "s.npz", subspace())
    codes = np.random.default_rng(4).standard_normal((2, L, D)).astype(np.float32)
    save_latents(folder / "start.npz", Latents(codes))
    return folder


def all_faces(generator_dir, folder, out):
    return (
        "mm_edit",
        f"--generator={generator_dir}",
        f"--subspace={folder / 's.npz'}",
        f"--start={folder / 'start.npz'}",
        f"--landmarks={folder / 'group.json'}",
        f"--image={folder / 'group.png'}",
        "--face=all",
        f"--outdir={out}",
        *FLAGS[:4],
    )


@pytest.fixture(scope="module")
def run_once(binary, generator_dir, inputs_once, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "out"
    assert binary(*all_faces(generator_dir, inputs_once, out)) == 0
    return out


@pytest.fixture
def edit(call, generator_dir, inputs_once, tmp_path):
    shutil.copytree(inputs_once, tmp_path, dirs_exist_ok=True)
    return lambda *args: call("mm_edit", f"--generator={generator_dir}", "--subspace=s.npz", *args)


def test_writes_what_it_promises(run_once):
    config = json.loads((run_once / "config.json").read_text())
    files = {p.relative_to(run_once).as_posix() for p in run_once.rglob("*") if p.is_file()}
    assert set(config["outputs"]) == files - {"config.json"}
    assert {"group_full.png", "group_full.gif", "group_face0.gif", "group_face1_strip.png"} < files
    page = (run_once / "report.html").read_text()
    assert "group_full_strip.png" in page and "group_face1_strip.png" in page


def test_the_faces_are_edited_and_put_back(run_once, generator_dir, inputs_once):
    check_edits(run_once, load_generator(generator_dir), inputs_once)


def check_edits(run_once, gen, inputs_once):
    latents = load_latents(run_once / "inversion" / "latents.npz")
    assert latents.names == ("group_face0", "group_face1")
    edited = apply_edit(latents.ws, subspace(), [0.0, 1.0])
    frame = media.read_image(run_once / "group_face1" / "frame0001.png")
    want = np.clip(np.asarray(synthesize(gen, edited[1, 1][None]))[0], -1, 1)
    np.testing.assert_allclose(frame, want, atol=0.01)
    before = media.to_uint8(media.read_image(inputs_once / "group.png")).astype(int)
    first, last = (
        media.to_uint8(media.read_image(run_once / "group_full" / f"frame000{i}.png")).astype(int)
        for i in range(2)
    )
    # Strength 0 is the picture itself; strength 1 changes it about both faces, and there only.
    assert np.abs(first - before).max() <= 1
    change = np.abs(last - before).max(axis=-1)
    assert change[40:130, 20:120].max() > 10 and change[60:120, 175:240].max() > 10
    assert change[:, 148:152].max() == 0 and change[:5].max() == 0


def test_goes_on_where_it_was(run_once, binary, generator_dir, inputs_once, tmp_path):
    out = shutil.copytree(run_once, tmp_path / "out")
    (out / "group_full.png").unlink()
    (out / "group_face0_strip.png").unlink()
    stamps = {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file()}
    assert binary(*all_faces(generator_dir, inputs_once, out)) == 0
    fresh = {
        p.name for p in out.rglob("*") if p.is_file() and stamps.get(p) != p.stat().st_mtime_ns
    }
    assert fresh == {"group_full.png", "group_face0_strip.png"}


def test_the_largest_face_is_said_aloud(edit):
    status, out, err = edit(*FLAGS, "--image=group.png", "--dry_run", "--outdir=out")
    assert status == 0, err
    assert "2 faces: 0 at " in err and "Taken: 0, the largest" in err
    outputs = json.loads(out)["outputs"]
    assert "group_full.gif" in outputs and "inversion/latents.npz" in outputs
    assert "group_face0.gif" not in outputs


def test_detected_faces(edit):
    status, _, err = edit("--image=group.png", "--face=1", "--dry_run", "--outdir=out")
    assert status == 0, err
    assert "Taken: 1" in err


@pytest.mark.parametrize(
    ("status", "words", "args"),
    [
        (2, "--image or --latents, not two of them", ["--latents=x.npz"]),
        (2, "--face must be largest, all, or", ["--face=x"]),
        (2, "faces 0 to 1", ["--face=2"]),
        (2, "aligned", ["--aligned"]),
        (2, "paste", ["--paste=glue"]),
        (2, "feather", ["--feather=0"]),
        (2, "--detector", ["--detector=magic"]),
        (1, "no such file", ["--image=none.png"]),
        (1, "no such file", ["--landmarks=none.json"]),
    ],
)
def test_bad_usage(fails, generator_dir, inputs_once, tmp_path, status, words, args):
    shutil.copytree(inputs_once, tmp_path, dirs_exist_ok=True)
    own = (f"--generator={generator_dir}", "--subspace=s.npz", FLAGS[4], "--outdir=out")
    fails(status, words, "mm_edit", *own, "--image=group.png", *args)


def test_a_file_that_is_no_picture(fails, generator_dir, inputs_once, tmp_path):
    shutil.copytree(inputs_once, tmp_path, dirs_exist_ok=True)
    own = (f"--generator={generator_dir}", "--subspace=s.npz", FLAGS[4], "--outdir=out")
    fails(1, "s.npz is a subspace, not an image", "mm_edit", *own, "--image=s.npz")


def test_files_of_two_pictures_are_distinct(edit, tmp_path):
    shutil.copy(tmp_path / "group.png", tmp_path / "group_full.png")
    known = json.loads((tmp_path / "group.json").read_text())
    (tmp_path / "both.json").write_text(json.dumps({**known, "group_full": known["group"]}))
    status, _, err = edit(
        "--image=group.png,group_full.png", "--landmarks=both.json", "--dry_run", "--outdir=out"
    )
    assert status == 2 and "both be written to group_full_strip.png: rename one" in err


@pytest.mark.parametrize("paste", ["move", "difference"])
def test_what_is_moved_itself_is_not_tuned_to(paste, edit, tmp_path, no_face_left):
    status, out, err = edit(
        "--image=group.png", "--outdir=out", f"--paste={paste}", "--tune_steps=3",
        "--identity=none", *FLAGS,
    )  # fmt: skip
    assert status == 0 and "does not know group" in err and "inverted again near W" in err
    assert list((tmp_path / "out/inversion/pivots").iterdir())
    tuned = (tmp_path / "out/inversion/generator/config.json").exists()
    assert tuned == (paste == "difference") == ("a copy is tuned" in err) == ("usable" in out)


@pytest.mark.slow
def test_a_generator_tuned_to_the_faces(binary, generator_dir, inputs_once, tmp_path):
    out = tmp_path / "out"
    flags = all_faces(generator_dir, inputs_once, out)
    assert binary(*flags, "--tune", "--tune_steps=5", "--steps=4") == 0
    check_edits(out, load_generator(out / "inversion" / "generator"), inputs_once)
