"""mm_invert end to end, on a tiny generator without an encoder."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from mm_jax import media
from mm_jax.artifacts import Latents, load_latents, save_latents
from mm_jax.inversion.losses import psnr
from mm_jax.latents import sample_latents, synthesize
from mm_jax.zoo import load_generator

RUN = ("--steps=10", "--batch=2", "--aligned", "--image=faces")


@pytest.fixture(scope="module")
def faces_once(generator_dir, tmp_path_factory):
    """Three pictures of the generator's own, in a folder."""
    folder = tmp_path_factory.mktemp("pictures") / "faces"
    gen = load_generator(generator_dir)
    for i, image in enumerate(synthesize(gen, sample_latents(gen, seeds=range(3)))):
        media.save_png(folder / f"face{i}.png", image)
    return folder


@pytest.fixture
def faces(faces_once, tmp_path):
    shutil.copytree(faces_once, tmp_path / "faces")


@pytest.fixture(scope="module")
def run_once(binary, generator_dir, faces_once, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "mine"
    args = (f"--generator={generator_dir}", "--tune", "--tune_steps=5", *RUN[:3])
    assert binary("mm_invert", *args, f"--image={faces_once}", f"--outdir={out}") == 0
    return out


def test_writes_codes_pictures_and_figures(run_once, generator_dir):
    config = json.loads((run_once / "config.json").read_text())
    files = {p.relative_to(run_once).as_posix() for p in run_once.rglob("*") if p.is_file()}
    assert set(config["outputs"]) == files - {"config.json"}
    latents = load_latents(run_once / "latents.npz")
    assert latents.names == ("face0", "face1", "face2") and latents.ws.shape == (3, 6, 12)
    # Drawn by the tuned generator, which opens like any other.
    tuned = load_generator(run_once / "generator")
    drawn = media.read_image(run_once / "pictures" / "face1.png")
    np.testing.assert_allclose(
        np.clip(synthesize(tuned, latents.ws[1:2])[0], -1, 1), drawn, atol=0.01
    )
    pair = media.read_image(run_once / "pairs" / "face1.png")
    assert pair.shape == (16, 32, 3)
    np.testing.assert_array_equal(pair[:, 16:], drawn)
    errors = json.loads((run_once / "errors.json").read_text())
    want = psnr(pair[None, :, :16], drawn[None])
    assert errors["face1"]["psnr"] == pytest.approx(float(want[0]), abs=0.1)
    page = (run_once / "report.html").read_text()
    assert "pairs/face2.png" in page and "<svg" in page


def test_goes_on_picture_by_picture(run_once, call, generator_dir, faces, tmp_path):
    plain = (f"--generator={generator_dir}", *RUN, "--outdir=out")
    assert call("mm_invert", *plain)[0] == 0
    out = tmp_path / "out"

    def stamps():
        files = (p for p in out.rglob("*") if p.is_file())
        return {p.relative_to(out).as_posix(): p.stat().st_mtime_ns for p in files}

    before = stamps()
    codes = load_latents(out / "latents.npz").ws
    gone = {"codes/face1.npz", "latents.npz", "pictures/face2.png"}
    for name in gone:
        (out / name).unlink()
    assert call("mm_invert", *plain)[0] == 0
    assert {name for name, stamp in stamps().items() if before[name] != stamp} == gone
    np.testing.assert_allclose(load_latents(out / "latents.npz").ws, codes, atol=2e-3)
    # What it wrote is what mm_edit takes.
    status, _, err = call("mm_sample", *plain[:1], "--latents=out/latents.npz", "--outdir=again")
    assert status == 0, err


def test_starts_from_codes(call, generator_dir, faces):
    gen = load_generator(generator_dir)
    save_latents("codes.npz", Latents(sample_latents(gen, seeds=range(3))))
    args = (f"--generator={generator_dir}", "--image=faces/*.png", *RUN[1:3], "--steps=0")
    assert call("mm_invert", *args, "--start=codes.npz", "--outdir=out")[0] == 0
    np.testing.assert_allclose(
        load_latents("out/latents.npz").ws, load_latents("codes.npz").ws, atol=1e-6
    )


def test_a_dry_run_writes_nothing(call, generator_dir, faces, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    status, out, _ = call(
        "mm_invert", f"--generator={generator_dir}", *RUN, "--outdir=out", "--dry_run"
    )
    assert status == 0 and "pairs/face2.png" in out
    assert sorted(tmp_path.rglob("*")) == before


def test_unknown_images_are_pulled_and_tuned_to(call, generator_dir, faces, tmp_path, no_face_left):
    plain = ("mm_invert", f"--generator={generator_dir}", *RUN, "--tune_steps=5", "--identity=none")
    status, out, err = call(*plain, "--outdir=out")
    assert status == 1 and "0 of 3 images usable" in out and "face0 no face is left" in out
    assert "does not know face0" in err and "--notune" in err
    errors = json.loads((tmp_path / "out/errors.json").read_text())
    assert all(one["pulled"] and one["tuned"] and one["fault"] for one in errors.values())
    tuned, latents = load_generator("out/generator"), load_latents("out/latents.npz")
    drawn = media.read_image("out/pictures/face2.png")
    np.testing.assert_allclose(
        np.clip(synthesize(tuned, latents.ws[2:])[0], -1, 1), drawn, atol=0.01
    )
    assert "banner bad" in Path("out/report.html").read_text()
    # Again it does nothing, and may be told that this will do.
    assert call(*plain, "--outdir=out", "--keep")[0] == 0
    # Begun anew with another wish, nothing of this is left.
    status, out, _ = call(*plain, "--notune", "--pull=0", "--outdir=out", "--overwrite")
    assert status == 1 and "try --tune" in out
    assert not list(Path("out/pivots").iterdir()) and not list(Path("out/generator").iterdir())


@pytest.mark.parametrize(
    ("status", "words", "args"),
    [
        (2, "--image is missing", []),
        (1, "no such file", ["--image=nobody.png"]),
        (1, "no file matches", ["--image=no/*.png"]),
        (1, "holds no images", ["--image=empty"]),
        (1, "not an image", ["--image=text.png"]),
        (1, "must be square, got 24 x 16 pixels", ["--image=wide.png"]),
        (2, "steps must be at least 0, got -1", ["--image=faces", "--steps=-1"]),
        (2, "patience must be at least 1, got 0", ["--image=faces", "--patience=0"]),
        (2, "learning_rate must be above 0, got 0", ["--image=faces", "--learning_rate=0"]),
        (2, "mean_weight must be at least 0, got -1", ["--image=faces", "--mean_weight=-1"]),
        (2, "--tune_steps must be at least 1, got 0", ["--image=faces", "--tune_steps=0"]),
        (2, "should be one of", ["--image=faces", "--space=z"]),
        (2, "unknown encoder", ["--image=faces", "--encoder=none_such"]),
        (1, "latents are [12, 192]", ["--image=faces", "--encoder=people-encoder"]),
        (2, "--start or --encoder", ["--image=faces", "--start=a.npz", "--encoder=x"]),
        (1, "no such file", ["--image=faces", "--start=missing.npz"]),
        (1, "must hold one latent or 3, got 2", ["--image=faces", "--start=two.npz"]),
        (2, "unknown lpips", ["--image=faces", "--lpips=nowhere"]),
        (2, "not searched for faces", ["--image=faces", "--face=0"]),
        (2, "batch must be at least 1, got 0", ["--image=faces", "--batch=0"]),
    ],
)
def test_bad_input(fails, generator_dir, faces, tmp_path, status, words, args):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.png").write_text("not a picture")
    media.save_png(tmp_path / "wide.png", np.zeros((16, 24, 3)))
    save_latents(tmp_path / "two.npz", Latents(np.zeros((2, 6, 12))))
    fails(
        status,
        words,
        "mm_invert",
        f"--generator={generator_dir}",
        "--aligned",
        "--outdir=out",
        *args,
    )
