"""mm_sample end to end on a tiny generator."""

import json

import numpy as np
import pytest

from mm_jax import latents as spaces
from mm_jax import media
from mm_jax.artifacts import Latents, load_latents, save_latents
from mm_jax.zoo import load_generator


@pytest.fixture
def sample(call, generator_dir):
    return lambda *args: call("mm_sample", f"--generator={generator_dir}", *args)


@pytest.fixture
def sample_fails(fails, generator_dir):
    def run(status, words, *args):
        fails(status, words, "mm_sample", f"--generator={generator_dir}", "--outdir=out", *args)

    return run


def test_pictures_sheet_and_codes(sample, tmp_path, generator_dir):
    status, out, _ = sample("--seeds=0-4,9", "--batch=4", "--outdir=out")
    assert status == 0
    assert "6 images" in out
    stored = load_latents("out/latents.npz")
    gen = load_generator(generator_dir)
    ws = spaces.sample_latents(gen, seeds=[0, 1, 2, 3, 4, 9], truncation_psi=0.7)
    np.testing.assert_allclose(stored.ws, ws, atol=1e-6)
    assert stored.seeds == (0, 1, 2, 3, 4, 9)
    want = media.to_uint8(spaces.synthesize(gen, ws))
    for name, picture in zip(stored.names or (), want, strict=True):
        got = media.to_uint8(media.read_image(f"out/{name}.png"))
        assert np.abs(got.astype(int) - picture).max() <= 1
    assert media.read_image("out/grid.png").shape == (32, 48, 3)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["settings"]["seeds"] == "0-4,9"
    assert set(config["outputs"]) == {p.name for p in (tmp_path / "out").iterdir()} - {
        "config.json"
    }


def test_an_array_is_unclipped_float32(sample, generator_dir):
    assert sample("--seeds=0-2", "--trunc=1", "--format=npy", "--batch=2", "--outdir=out")[0] == 0
    gen = load_generator(generator_dir)
    images = np.load("out/images.npy")
    assert images.dtype == np.float32
    want = spaces.synthesize(gen, spaces.sample_latents(gen, seeds=range(3)))
    np.testing.assert_allclose(images, want, atol=1e-5)


def test_random_noise_does_not_depend_on_the_batch(sample):
    for batch in (1, 3):
        status, _, err = sample(
            "--seeds=0-3", "--noise_mode=random", "--format=npy", f"--batch={batch}",
            f"--outdir=out{batch}",
        )  # fmt: skip
        assert status == 0, err
    np.testing.assert_allclose(np.load("out1/images.npy"), np.load("out3/images.npy"), atol=1e-5)


def test_running_again_does_what_is_missing(sample, tmp_path):
    args = ("--seeds=0-3", "--outdir=out")
    sample(*args)
    out = tmp_path / "out"
    (out / "seed0002.png").unlink()
    stamps = {p.name: p.stat().st_mtime_ns for p in out.iterdir()}
    assert sample(*args)[0] == 0
    after = {p.name: p.stat().st_mtime_ns for p in out.iterdir()}
    assert {k: v for k, v in after.items() if k != "seed0002.png"} == stamps


def test_another_run_is_refused_unless_told(sample, tmp_path):
    sample("--seeds=0-3", "--outdir=out")
    status, _, err = sample("--seeds=0-1", "--outdir=out")
    assert status == 2
    assert "--overwrite" in err
    assert sample("--seeds=0-1", "--outdir=out", "--overwrite")[0] == 0
    assert not (tmp_path / "out" / "seed0003.png").exists()


def test_stored_codes_give_their_names(sample, generator_dir, tmp_path):
    gen = load_generator(generator_dir)
    ws = spaces.sample_latents(gen, seeds=[5, 6])
    save_latents("codes.npz", Latents(ws, names=("ann", "bob")))
    assert sample("--latents=codes.npz", "--outdir=out")[0] == 0
    assert {"ann.png", "bob.png"} <= {p.name for p in (tmp_path / "out").iterdir()}


def test_a_dry_run_writes_nothing(sample, tmp_path):
    status, out, _ = sample("--seeds=0-1", "--outdir=out", "--dry_run")
    assert status == 0
    assert json.loads(out)["outputs"] == [
        "latents.npz", "seed0000.png", "seed0001.png", "grid.png",
    ]  # fmt: skip
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "args"),
    [
        ("--seeds", ["--seeds=x"]),
        ("--seeds", ["--seeds=5-1"]),
        ("--trunc must be at least -2 and at most 2, got 9", ["--trunc=9"]),
        ("--grid", ["--grid=4"]),
        ("--batch must be at least 1, got 0", ["--batch=0"]),
        ("noise_mode", ["--noise_mode=loud"]),
        ("unknown generator", ["--generator=no_such_model"]),
        ("Unknown command line flag", ["--bogus"]),
    ],
)
def test_bad_usage(sample_fails, words, args):
    sample_fails(2, words, *args)


def test_bad_codes(sample_fails, tmp_path):
    (tmp_path / "noise.npz").write_bytes(b"PK\x03\x04 not really a zip")
    np.savez("nan.npz", ws=np.full((1, 6, 12), np.nan, np.float32))
    np.savez("other.npz", ws=np.zeros((2, 18, 512), np.float32))
    np.savez("empty.npz", x=np.zeros(3))
    np.savez("names.npz", ws=np.zeros((2, 6, 12), np.float32), names=np.array(["../x", "y"]))
    for name, words in (
        ("missing.npz", "no such file"),
        ("noise.npz", "noise.npz"),
        ("nan.npz", "NaN"),
        ("other.npz", "[18, 512]"),
        ("empty.npz", "'ws'"),
        ("names.npz", "names"),
    ):
        sample_fails(1, words, f"--latents={name}")


def test_one_code_is_one_picture(sample):
    np.savez("one.npz", ws=np.zeros((6, 12), np.float32))
    assert sample("--latents=one.npz", "--outdir=out")[0] == 0
    assert media.read_image("out/code0000.png").shape == (16, 16, 3)


def test_an_unwritable_outdir(sample_fails, tmp_path):
    (tmp_path / "file").write_text("")
    sample_fails(1, "cannot write to outdir", "--outdir=file/out")


def test_a_damaged_generator(fails, tmp_path):
    (tmp_path / "gen").mkdir()
    fails(1, "config.json", "mm_sample", "--generator=gen", "--outdir=out")
