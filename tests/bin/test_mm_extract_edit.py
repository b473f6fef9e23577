"""mm_extract and mm_edit end to end, on a tiny generator and a tiny CLIP."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from mm_jax import media
from mm_jax.anchors import finish
from mm_jax.anchors.calibrate import calibrate, calibrated
from mm_jax.anchors.prompts import MOTIONS
from mm_jax.anchors.text import text_anchors
from mm_jax.artifacts import (
    Anchors,
    load_anchors,
    load_subspace,
    save_anchors,
    save_subspace,
)
from mm_jax.editing import apply_edit
from mm_jax.latents import sample_latents, synthesize
from mm_jax.nn.irse50 import IRSEConfig
from mm_jax.perceptual.arcface import (
    ArcFace,
    ArcFaceConfig,
    embed_faces,
    load_arcface,
    save_arcface,
)
from mm_jax.perceptual.clip_files import load_clip
from mm_jax.subspace.calibration import Calibration
from mm_jax.subspace.decompose import extract_subspace
from mm_jax.zoo import load_generator
from tests.anchors.test_calibrate import one_sided
from tests.anchors.test_finish import reading
from tests.conftest import random_params

L, D = 6, 12
SMILING = MOTIONS["smile"].template


@pytest.fixture
def stored(tmp_path):
    """Two files of anchors that move along one direction."""
    rng = np.random.default_rng(0)
    direction = rng.standard_normal((L, D)).astype(np.float32)
    for i in range(2):
        start = rng.standard_normal((L, D)).astype(np.float32)
        degrees = np.linspace(0, 1, 5, dtype=np.float32)
        noise = 0.01 * rng.standard_normal((5, L, D)).astype(np.float32)
        ws = start[None] + degrees[:, None, None] * direction[None] + noise
        save_anchors(tmp_path / f"anchors_a{i}.npz", Anchors(ws, start, degrees))
    return direction


@pytest.fixture
def extract(call, generator_dir, tiny_clip_dir):
    def run(*args):
        models = (f"--generator={generator_dir}", f"--clip={tiny_clip_dir}")
        return call("mm_extract", *models, *args)

    return run


@pytest.fixture
def edit(call, generator_dir):
    return lambda *args: call("mm_edit", f"--generator={generator_dir}", *args)


# Random networks find nothing, which is as good for what is tested here.
ASKED = ("--motion=smile", "--degrees=no,100%", "--seeds=0,1", "--steps=4", "--norepair")
SMILE = (*ASKED, "--keep")


@pytest.fixture(scope="module")
def smile_once(binary, tmp_path_factory, generator_dir, tiny_clip_dir):
    """A subspace from prompts, made once."""
    out = tmp_path_factory.mktemp("runs") / "smile"
    models = (f"--generator={generator_dir}", f"--clip={tiny_clip_dir}")
    assert binary("mm_extract", *models, *SMILE, f"--outdir={out}") == 0
    return out


@pytest.fixture
def smile(smile_once, tmp_path):
    """A copy of it, in out/smile."""
    shutil.copytree(smile_once, tmp_path / "out" / "smile")


def test_from_prompts(smile, extract, tmp_path):
    out = tmp_path / "out" / "smile"
    config = json.loads((out / "config.json").read_text())
    assert set(config["outputs"]) == {p.name for p in out.iterdir()} - {"config.json"}
    anchors = load_anchors(out / "anchors_seed0001.npz")
    assert anchors.ws.shape == (2, L, D)
    assert anchors.meta["prompts"][1] == "a person with 100% smile"
    subspace = load_subspace(out / "subspace.npz")
    assert subspace.basis.shape == (1, L, D)
    assert subspace.meta["anchor_sets"] == 2
    assert subspace.meta["method"] == "svd"
    found = json.loads((out / "readback.json").read_text())
    assert subspace.meta["read_back"]["degree_read_back"] == found["degree_read_back"]
    assert np.shape(found["readings"]) == (24, 5)
    assert media.read_image(out / "anchors_seed0000.png").shape == (16, 3 * 16, 3)
    assert media.read_image(out / "motion.png").shape == (2 * 16, 5 * 16, 3)
    page = (out / "report.html").read_text()
    assert "a person with {degree} smile" in page
    assert "<svg" in page
    assert "Degree read back of a person" in page


def test_the_strategy_is_the_one_that_is_asked_for(extract):
    short = ("--motion=smile", "--degrees=no,100%", "--seeds=0,1", "--keep")
    for flags, strategy in (
        (("--gradients=4",), "gradient"),
        (("--steps=2",), "optimize"),
        (("--strategy=gradient", "--gradients=4"), "gradient"),
        (("--samples=16", "--matches=2"), "sample"),
    ):
        out = f"out/{strategy}{len(flags)}"
        status, _, err = extract(*short, *flags, f"--outdir={out}")
        assert status == 0, err
        anchors = load_anchors(f"{out}/anchors_seed0000.npz")
        assert anchors.meta["strategy"] == anchors.meta["settings"]["strategy"] == strategy


def test_the_released_codes_way_is_one_flag(extract):
    status, _, err = extract(
        "--motion=smile", "--degrees=no,50%,100%", "--method=compat", "--steps=2", "--norepair",
        "--keep", "--outdir=out",
    )  # fmt: skip
    assert status == 0, err
    assert sorted(p.name for p in Path("out").glob("anchors_*.npz")) == ["anchors_seed0000.npz"]
    subspace = load_subspace("out/subspace.npz")
    assert (subspace.meta["method"], subspace.meta["strategy"]) == ("compat", "optimize")


def smiling(generator_dir, tiny_clip_dir):
    """A motion that this CLIP reads as a smile, found by its own gradients."""
    gen, clip = load_generator(generator_dir), load_clip(tiny_clip_dir)
    anchors = text_anchors(
        gen, clip, template=MOTIONS["smile"].template, degrees=("no", "100%"),
        start=sample_latents(gen, seeds=[0])[0], strategy="gradient", gradients=16,
    )  # fmt: skip
    found = extract_subspace(anchors)
    # A random CLIP hardly tells its degrees apart: strength 1 goes far.
    return dataclasses.replace(found, scale=found.scale * 10, meta={})


def test_a_stored_subspace_is_calibrated_and_edits_take_even_steps(
    extract, edit, generator_dir, tiny_clip_dir
):
    save_subspace("own.npz", smiling(generator_dir, tiny_clip_dir))
    asked = ("--subspace=own.npz", "--degrees=no,100%", "--keep")
    status, _, err = extract(*asked, "--outdir=bare")
    assert status == 2 and "give one that says what it is, or a motion, as --calibrate" in err
    status, _, err = extract(*asked, "--calibrate=smile", "--outdir=out")
    assert status == 0, err
    assert {p.name for p in Path("out").iterdir()} == {
        "config.json", "subspace.npz", "subspace.json", "readback.json"
    }  # fmt: skip
    stored = load_subspace("out/subspace.npz")
    if "calibration" not in stored.meta:  # what random networks find need not count as found
        gen, clip = load_generator(generator_dir), load_clip(tiny_clip_dir)
        how = {"template": MOTIONS["smile"].template, "degrees": ("no", "100%")}
        stored = calibrated(stored, calibrate(gen, clip, stored, **how))
        save_subspace("out/subspace.npz", stored)
    calibration = Calibration.of(stored.meta)
    assert calibration is not None
    one = ("--subspace=out/subspace.npz", "--seeds=3", "--format=npy")
    own = ",".join(map(str, calibration.strengths_of([0, 0.5, 1])))
    assert edit(*one, "--strength=0,0.5,1", "--calibrated", "--outdir=even")[0] == 0
    assert edit(*one, f"--strength={own}", "--outdir=same")[0] == 0
    even, same = (np.load(f"{name}/seed0003.npy") for name in ("even", "same"))
    np.testing.assert_allclose(even, same, atol=1e-4)
    status, _, err = edit(*one, "--strength=0,9", "--outdir=far")
    assert status == 0 and "some of the strengths are beyond" in err
    status, _, err = edit("--subspace=own.npz", *one[1:], "--calibrated", "--outdir=none")
    assert status == 1 and "own.npz has no calibration; mm_extract --subspace=own.npz" in err


def test_a_prompt_about_one_side_of_a_motion_does_not_calibrate_it(
    extract, generator_dir, tiny_clip_dir, monkeypatch
):
    save_subspace("own.npz", smiling(generator_dir, tiny_clip_dir))
    asked = ("--subspace=own.npz", "--degrees=no,100%", "--keep")
    monkeypatch.setattr(finish, "calibrate", lambda *_, **__: one_sided())
    monkeypatch.setattr(finish, "read_back", lambda *_, **__: reading(1.0))
    status, out, err = extract(*asked, "--calibrate=smile", "--outdir=out")
    last = err.splitlines()[-1]
    assert status == 1 and not out
    assert last.startswith("mm_extract: out/subspace.npz is written, but without a calibration: ")
    assert "from strength 0.50 to 1.50 only, not about 0" in last
    # Of a motion's own prompt nobody asked for it: that is a note.
    stored = load_subspace("out/subspace.npz")
    assert "calibration" not in stored.meta
    save_subspace("own.npz", dataclasses.replace(stored, meta={"template": SMILING}))
    status, out, err = extract(*asked, "--outdir=again")
    assert status == 0 and "degree read back 1.00" in out
    assert "note: strengths are not calibrated: what CLIP reads changes from strength 0.50" in err


def test_a_motion_is_decoupled_from_others(extract, monkeypatch):
    short = ("--motion=smile", "--degrees=no,100%", "--seeds=0", "--gradients=8", "--keep")
    without = ("--without=anger", "--without=a {degree} old man")
    # A random CLIP takes all prompts for much the same, and that is said.
    status, _, err = extract(*short, *without, "--outdir=same")
    assert status == 1 and "CLIP does not tell the motion from" in err.splitlines()[-1]
    asked = []

    def decoupled(gen, clip, subspace, others, **how):
        asked.append((others, how["degrees"]))
        return dataclasses.replace(subspace, meta={**subspace.meta, "without": {"prompts": others}})

    with monkeypatch.context() as patch:
        patch.setattr(finish, "decouple", decoupled)
        status, _, err = extract(*short, *without, "--outdir=out")
    assert status == 0, err
    prompts = (MOTIONS["anger"].template, "a {degree} old man")
    assert asked == [(prompts, ("no", "100%"))]
    assert load_subspace("out/subspace.npz").meta["without"]["prompts"] == list(prompts)
    status, _, err = extract(*short, "--without=smile", "--outdir=own")
    assert status == 2 and "cannot be decoupled from its own prompt" in err


def test_nothing_found_is_said_and_not_kept(extract, edit):
    status, out, err = extract(*ASKED, "--outdir=out")
    assert status == 1 and not out
    last = err.splitlines()[-1]
    assert last.startswith("mm_extract: nothing was found: degree read back ")
    assert "wanted 0.3 and 0.6" in last and "--keep" in last
    assert not Path("out/subspace.npz").exists()
    found = json.loads(Path("out/readback.json").read_text())
    assert not found["found"] and found["degree_read_back"] < 0.3
    page = Path("out/report.html").read_text()
    assert 'class="banner bad">Nothing was found: degree read back' in page
    # The same again from what is there, then kept in the same folder.
    stamps = {p: p.stat().st_mtime_ns for p in Path("out").iterdir()}
    assert extract(*ASKED, "--outdir=out")[0] == 1
    assert stamps == {p: p.stat().st_mtime_ns for p in Path("out").iterdir()}
    status, out, _ = extract(*ASKED, "--keep", "--outdir=out")
    assert status == 0 and out.startswith("nothing was found, but it is kept: degree read back")
    fresh = {p.name for p in Path("out").iterdir() if p not in stamps}
    assert fresh == {"subspace.npz", "subspace.json"}
    status, _, err = edit("--subspace=out/subspace.npz", "--seeds=3", "--format=png",
                          "--strength=0,1", "--outdir=edit")  # fmt: skip
    assert status == 0 and "note: out/subspace.npz was kept although nothing was found" in err


def test_stored_anchors_of_a_prompt_are_read_back(smile, extract):
    one = "--anchors=out/smile/anchors_seed0000.npz"
    status, _, err = extract(one, "--outdir=again")
    assert status == 1 and "nothing was found" in err


def test_a_motion_that_robust_pca_takes_for_outliers_is_noted(extract):
    rng = np.random.default_rng(0)
    start, direction = rng.standard_normal((2, L, D))
    degrees = np.linspace(0, 1, 5)
    ws = start + degrees[:, None, None] * direction
    for moved in ws.reshape(5, -1):
        moved[rng.choice(L * D, 3, replace=False)] += 6.0
    save_anchors("own.npz", Anchors(ws, start, degrees))
    status, _, err = extract("--anchors=own.npz", "--method=rpca", "--outdir=robust")
    assert status == 0 and "note: robust PCA took" in err and "--method=svd" in err
    status, _, err = extract("--anchors=own.npz", "--outdir=plain")
    assert status == 0 and "note: robust PCA" not in err


def test_strange_words_and_degrees_are_noted(extract):
    status, _, err = extract(
        "--text=a purple {degree} elephant", "--degrees=slightly,very", "--seeds=0", "--steps=4",
        "--keep", "--outdir=out",
    )  # fmt: skip
    assert status == 0, err
    assert "never saw “purple”, “slightly”, “elephant”, “very” in its training" in err
    assert "no number in “slightly”, “very”: all degrees count by their order" in err


def test_extraction_resumes(smile, extract, tmp_path):
    out = tmp_path / "out" / "smile"
    (out / "subspace.npz").unlink()
    (out / "anchors_seed0001.npz").unlink()
    stamps = {p.name: p.stat().st_mtime_ns for p in out.iterdir()}
    status, _, _ = extract(*SMILE, "--outdir=out/smile")
    assert status == 0
    after = {p.name: p.stat().st_mtime_ns for p in out.iterdir()}
    fresh = {name for name, stamp in after.items() if stamps.get(name) != stamp}
    want = {"anchors_seed0001.npz", "anchors_seed0001.json", "subspace.npz", "subspace.json"}
    assert fresh == want


@pytest.fixture(scope="module")
def arcface(tmp_path_factory):
    """A small face recogniser that knows no faces, as a folder."""
    body = IRSEConfig(stem_channels=4, channels=(4, 6), units=(1, 1), reduction=2)
    config = ArcFaceConfig(body=body, resolution=16, embedding=5)
    network = ArcFace.make(config, random_params(ArcFace.shapes(config)), meta={"name": "few"})
    return save_arcface(network, tmp_path_factory.mktemp("models") / "arcface")


def test_arcface_holds_the_identity(smile, extract, arcface, generator_dir):
    status, _, err = extract(
        *SMILE, f"--arcface={arcface}", "--identity_weight=1000", "--outdir=out/same"
    )
    assert status == 0, err
    likeness = {}
    network = load_arcface(arcface)
    for name in ("smile", "same"):
        anchors = load_anchors(f"out/{name}/anchors_seed0000.npz")
        codes = np.concatenate([np.asarray(anchors.start)[None], np.asarray(anchors.ws)])
        vectors = embed_faces(network, synthesize(load_generator(generator_dir), codes))
        likeness[name] = float((vectors[1:] @ vectors[0]).min())
        settings = anchors.meta["settings"]
    assert (settings["identity"], settings["identity_weight"]) == ("few", 1000)
    assert 1 - likeness["same"] < 0.5 * (1 - likeness["smile"])
    assert json.loads(Path("out/same/config.json").read_text())["settings"]["judges_fingerprint"]


def test_sampled_anchors(extract):
    status, _, err = extract(
        "--text={degree} angry", "--strategy=sample", "--samples=32", "--matches=4",
        "--degrees=no,100%", "--keep", "--outdir=out",
    )  # fmt: skip
    assert status == 0, err
    assert load_anchors("out/anchors_seed0000.npz").meta["strategy"] == "sample"


def test_from_stored_anchors(extract, stored):
    status, out, err = extract(
        "--anchors=anchors_a0.npz", "--anchors=anchors_a1.npz", "--method=rpca", "--outdir=out"
    )
    assert status == 0, err
    assert "not read back, as there is no prompt" in out
    subspace = load_subspace("out/subspace.npz")
    flat = stored.ravel() / np.linalg.norm(stored)
    assert np.asarray(subspace.basis).ravel() @ flat > 0.99
    assert subspace.scale == pytest.approx(np.linalg.norm(stored), rel=0.05)


def test_edit_writes_strips_clips_and_frames(smile, edit, generator_dir, tmp_path):
    status, out, err = edit(
        "--subspace=out/smile/subspace.npz", "--seeds=3,4", "--strength=-1:1", "--frames=5",
        "--format=mp4,gif,png,npy", "--columns=3", "--batch=4", "--outdir=out/edit",
    )  # fmt: skip
    assert status == 0, err
    assert "2 faces of 5 frames" in out
    folder = tmp_path / "out" / "edit"
    config = json.loads((folder / "config.json").read_text())
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert set(config["outputs"]) == files - {"config.json"}
    gen = load_generator(generator_dir)
    ws = sample_latents(gen, seeds=[3, 4], truncation_psi=0.7)
    subspace = load_subspace("out/smile/subspace.npz")
    want = synthesize(gen, apply_edit(ws, subspace, np.linspace(-1, 1, 5))[1])
    np.testing.assert_allclose(np.load(folder / "seed0004.npy"), want, atol=1e-4)
    strip = media.to_uint8(media.read_image(folder / "seed0004_strip.png"))
    assert strip.shape == (16, 48, 3)
    middle = media.to_uint8(media.read_image(folder / "seed0004" / "frame0002.png"))
    np.testing.assert_array_equal(strip[:, 16:32], middle)
    assert "seed0004_strip.png" in (folder / "report.html").read_text()


def test_subspaces_add_up(smile, edit):
    one = "--subspace=out/smile/subspace.npz"
    shared = ("--seeds=3", "--format=npy")
    assert edit(one, one, "--strength=0.5,1", *shared, "--outdir=both")[0] == 0
    assert edit(one, "--strength=1,2", *shared, "--outdir=twice")[0] == 0
    assert edit(one, one, "--strength=1,2", "--strength=0,0", *shared, "--outdir=each")[0] == 0
    both, twice, each = (np.load(f"{name}/seed0003.npy") for name in ("both", "twice", "each"))
    np.testing.assert_allclose(both, twice, atol=1e-4)
    np.testing.assert_allclose(each, twice, atol=1e-4)


def test_random_noise_stands_still_in_a_clip(smile, edit):
    status, _, err = edit(
        "--subspace=out/smile/subspace.npz", "--seeds=3,4", "--strength=0,0", "--format=npy",
        "--noise_mode=random", "--outdir=still",
    )  # fmt: skip
    assert status == 0, err
    frames = np.load("still/seed0003.npy")
    np.testing.assert_allclose(frames[0], frames[1], atol=1e-6)


def test_a_dry_run_writes_nothing(extract, edit, stored, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    assert extract("--motion=smile", "--outdir=out", "--dry_run")[0] == 0
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "args"),
    [
        ("exactly one of", []),
        ("exactly one of", ["--motion=smile", "--text={degree} x"]),
        ("{degree}", ["--text=a smile"]),
        ("2 times", ["--text={degree} {degree}"]),
        ("holds {x}, which nothing replaces", ["--text={degree} smile and {x}"]),
        ("nothing grows", ["--motion=smile", "--degrees=no,0%"]),
        ("--degrees", ["--motion=smile", "--degrees=no"]),
        ("twice", ["--motion=smile", "--degrees=no,no"]),
        ("rank must be at least 1, got 0", ["--motion=smile", "--rank=0"]),
        ("rank must be at most the number of anchors, 44, got 45", ["--motion=smile", "--rank=45"]),
        ("explained", ["--motion=smile", "--explained=2"]),
        ("layers", ["--motion=smile", "--layers=x"]),
        ("rows 0 to 5", ["--motion=smile", "--layers=0-7"]),
        ("steps", ["--motion=smile", "--steps=0"]),
        ("should be one of", ["--motion=laugh"]),
        ("unknown", ["--motion=smile", "--clip=no_such_clip"]),
        ("unknown", ["--motion=smile", "--arcface=no_such_folder"]),
        (
            "identity is for strategy=optimize, but the strategy is sample",
            ["--motion=smile", "--strategy=sample", "--arcface=x"],
        ),
        (
            "steps is for strategy=optimize, but the strategy is gradient",
            ["--motion=smile", "--strategy=gradient", "--steps=3"],
        ),
        (
            "gradients is for strategy=gradient, but the strategy is optimize",
            ["--motion=smile", "--steps=3", "--gradients=3"],
        ),
        ("neither a prompt with {degree} nor a motion", ["--motion=smile", "--without=age"]),
        ("neither a prompt with {degree} nor a motion", ["--motion=smile", "--calibrate=x"]),
        ("are optimised", ["--anchors=x.npz", "--arcface=x"]),
        ("refine does nothing beside --anchors", ["--anchors=x.npz", "--refine=100"]),
        ("strategy does nothing beside --video", ["--video=x.mp4", "--strategy=optimize"]),
        ("steps does nothing beside --subspace", ["--subspace=x.npz", "--steps=9"]),
        ("refine must be 0 or at least 64 faces", ["--motion=smile", "--refine=9"]),
        ("needs --identity", ["--motion=smile", "--identity_weight=0.1"]),
        ("above 0", ["--motion=smile", "--arcface=x", "--identity_weight=0"]),
    ],
)
def test_extract_bad_usage(fails, generator_dir, tiny_clip_dir, words, args):
    models = (f"--generator={generator_dir}", f"--clip={tiny_clip_dir}")
    fails(2, words, "mm_extract", *models, "--outdir=out", *args)


def test_extract_bad_anchors(fails, generator_dir, tmp_path):
    np.savez("short.npz", ws=np.zeros((2, L, D), np.float32))
    save_anchors(
        "wide.npz",
        Anchors(np.zeros((3, 18, 4)), np.zeros((18, 4)), np.arange(3, dtype=np.float32)),
    )
    np.savez(
        "nan.npz",
        ws=np.full((2, L, D), np.nan),
        start=np.zeros((L, D)),
        degrees=np.arange(3.0),
    )
    for name, words in (
        ("missing.npz", "no such file"),
        ("short.npz", "'start'"),
        ("wide.npz", "[18, 4]"),
        ("nan.npz", "NaN"),
    ):
        fails(1, words, "mm_extract", f"--generator={generator_dir}", f"--anchors={name}",
              "--outdir=out")  # fmt: skip


def test_edit_refuses_rows_and_subspaces_that_do_not_fit(smile, fails, generator_dir, tmp_path):
    gen = f"--generator={generator_dir}"
    one = "--subspace=out/smile/subspace.npz"
    fails(2, "rows 0 to 5", "mm_edit", gen, one, "--layers=3-9", "--outdir=out/edit")
    wide = {"mean": np.zeros((18, 4)), "mask": np.ones(18, bool), "singular_values": np.ones(1)}
    basis = np.zeros((1, 18, 4), np.float32)
    basis[0, 0, 0] = 1
    np.savez(tmp_path / "wide.npz", basis=basis, scale=1.0, pc1_ratio=1.0, **wide)
    fails(1, "[18, 4]", "mm_edit", gen, "--subspace=wide.npz", "--outdir=out/edit")


@pytest.mark.parametrize(
    ("status", "words", "args"),
    [
        (
            2,
            "or a bundled one's name: aging, anger",
            [],
        ),
        (2, "--strength", ["--subspace=s.npz", "--strength=fast"]),
        (2, "--frames", ["--subspace=s.npz", "--frames=1"]),
        (2, "2 --strength for 1", ["--subspace=s.npz", "--strength=1", "--strength=2"]),
        (2, "unknown format", ["--subspace=s.npz", "--format=avi"]),
        (2, "--fps", ["--subspace=s.npz", "--fps=x"]),
        (2, "fps must be above 0", ["--subspace=s.npz", "--fps=0"]),
        (2, "--layers", ["--subspace=s.npz", "--layers=1-0"]),
        (2, "columns must be at least 1", ["--subspace=s.npz", "--columns=0"]),
        (1, "no such file", ["--subspace=s.npz"]),
        (2, "does nothing beside --video", ["--subspace=s.npz", "--video=a.mp4", "--live"]),
        (2, "does nothing beside --session", ["--session=a.json", "--live"]),
    ],
)
def test_edit_bad_usage(fails, generator_dir, status, words, args):
    fails(status, words, "mm_edit", f"--generator={generator_dir}", "--outdir=out", *args)
