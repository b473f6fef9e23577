"""mm_batch end to end on small models."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from bin import mm_batch
from mm_jax import cli, media
from mm_jax.alignment import framing_of
from mm_jax.alignment.options import AlignOptions
from mm_jax.anchors.options import AnchorOptions
from mm_jax.artifacts import (
    Latents,
    Subspace,
    load_anchors,
    load_subspace,
    save_latents,
    save_subspace,
)
from mm_jax.artifacts import load_latents as load
from mm_jax.batch.job import load_task
from mm_jax.batch.journal import read_journal
from mm_jax.batch.manifest import item_of
from mm_jax.batch.options import BatchOptions
from mm_jax.batch.tasks import FaceReader
from mm_jax.editing import apply_edit
from mm_jax.inversion.losses import psnr
from mm_jax.inversion.options import InvertOptions
from mm_jax.latents import sample_latents, synthesize
from mm_jax.words import how_to_install
from mm_jax.zoo import load_generator


@pytest.fixture
def batch(call, generator_dir):
    def run(*args):
        status, out, err = call("mm_batch", f"--generator={generator_dir}", "--outdir=out", *args)
        return status, out, err

    return run


@pytest.fixture(scope="module")
def subspace_file(tmp_path_factory):
    basis = np.random.RandomState(0).standard_normal((1, 6, 12)).astype(np.float32)
    found = Subspace(
        basis=basis / np.linalg.norm(basis),
        scale=3.0,
        singular_values=np.ones(1, np.float32),
        mean=np.zeros((6, 12), np.float32),
        pc1_ratio=1.0,
        mask=np.ones(6, np.bool_),
    )
    return save_subspace(tmp_path_factory.mktemp("subspace") / "some.npz", found), found


def journal(shard="0-of-1"):
    return list(read_journal(Path("out/shards") / shard / "journal.jsonl"))


def one_file(record):
    (name,) = record["files"]
    return Path("out/items") / name


def test_samples_once_and_all_the_same_as_alone(batch, generator_dir):
    status, out, err = batch("--task=sample", "--seeds=0-4", "--batch=2")
    assert status == 0, err
    assert "5 are now" in out
    gen = load_generator(generator_dir)
    want = media.to_uint8(synthesize(gen, sample_latents(gen, seeds=range(5), truncation_psi=0.7)))
    records = journal()
    assert sorted(record["item"]["seed"] for record in records) == list(range(5))
    for record in records:
        got = media.to_uint8(media.read_image(one_file(record)))
        assert np.abs(got.astype(int) - want[record["item"]["seed"]]).max() <= 1
    assert json.loads(Path("out/config.json").read_text())["command"] == "mm_batch"

    # The same command does nothing; with more items it does only those, in any number of shards.
    before = {path: path.stat().st_mtime_ns for path in Path("out/items").rglob("*.png")}
    status, out, _ = batch("--task=sample", "--seeds=0-4", "--batch=2")
    assert "5 items were done before, 0 are now" in out
    for index in range(2):
        assert batch("--task=sample", "--seeds=0-7", "--batch=2", f"--shard={index}/2")[0] == 0
    assert len(journal("0-of-2")) + len(journal("1-of-2")) == 3
    assert {path: path.stat().st_mtime_ns for path in before} == before

    # Damage is reported, and repaired on request.
    one_file(records[0]).write_bytes(b"half")
    one_file(records[1]).unlink()
    args = ("--task=sample", "--seeds=0-9")
    status, out, err = batch(*args, "--status")
    assert (status, out) == (
        1, "10 items: 6 done, 0 failed, 2 missing, 2 damaged; 8 files checked\n",
    )  # fmt: skip
    assert str(one_file(records[0]).name) in err
    assert batch(*args, "--batch=2", "--verify")[0] == 0
    status, out, _ = batch(*args, "--status")
    assert (status, out) == (
        0, "10 items: 10 done, 0 failed, 0 missing, 0 damaged; 12 files checked\n",
    )  # fmt: skip


def test_edits_of_latents(batch, generator_dir, subspace_file):
    path, subspace = subspace_file
    gen = load_generator(generator_dir)
    ws = np.asarray(sample_latents(gen, seeds=[5, 6]))
    save_latents("latents.npz", Latents(ws))
    Path("m.jsonl").write_text(
        '{"latents": "latents.npz"}\n{"latent": "latents.npz", "index": 9}\n'
    )
    status, out, err = batch(
        "--task=edit", "--manifest=m.jsonl", f"--subspace={path}", "--strength=-1,0.5",
        "--format=npy", "--batch=4", "--retries=0",
    )  # fmt: skip
    assert status == 0, err
    assert "1 set aside" in out and "index must be below that, got 9" in out
    want = synthesize(gen, apply_edit(ws, subspace, [-1.0, 0.5]).reshape(4, 6, 12))
    for record in journal():
        index = record["item"]["index"]
        np.testing.assert_allclose(
            np.load(one_file(record)), want[2 * index : 2 * index + 2], atol=1e-5
        )
    assert len(journal()) == 2


def test_the_earlier_name_of_a_flag(batch):
    status, _, err = batch("--kind=sample", "--seeds=0-1", "--batch=2")
    assert status == 0, err
    assert "0 are now" in batch("--task=sample", "--seeds=0-1", "--batch=2")[1]


def test_a_dry_run_and_remote_outputs(batch):
    args = ("--task=sample", "--seeds=0-2", "--batch=2", "--outputs=memory://bucket/faces")
    status, out, err = batch(*args, "--dry_run")
    assert status == 0 and json.loads(out)["settings"]["kind"] == "sample"
    assert "would do 3 items of 3" in err
    assert not Path("out").exists()
    assert batch(*args)[0] == 0
    assert not Path("out/items").exists()
    assert batch(*args, "--status")[0] == 0
    # The folder knows what is done with the items.
    assert batch(*args[1:], "--status")[0] == 0
    assert "would do 0 items" in batch(*args, "--dry_run")[2]


def test_few_items_are_not_padded_to_a_full_batch(generator_dir):
    options = BatchOptions(task="invert", generator=str(generator_dir))
    item = item_of("invert", {"image": "a.png"}, {})
    task, _ = load_task(options, images=True, items=5)
    assert task.size(item) == 6
    assert load_task(options, images=True)[0].size(item) > 6
    given = options.replace(task="edit", batch=64)
    entry = {"seed": 1, "subspace": "a.npz", "strength": [-1, 0, 1, 2]}
    task, _ = load_task(given, images=False, items=2)
    assert task.size(item_of("edit", entry, {"trunc": 1.0})) == 2


@pytest.mark.parametrize(
    ("status", "words", "args"),
    [
        (2, "--task is missing", ["--seeds=0"]),
        (2, "exactly one of --manifest", ["--task=sample"]),
        (2, "exactly one of --manifest", ["--task=sample", "--seeds=0", "--latents=a.npz"]),
        (1, "--seeds: ", ["--task=sample", "--seeds=x"]),
        (1, "cannot read none.csv", ["--task=sample", "--manifest=none.csv"]),
        (2, "got 2/2", ["--task=sample", "--seeds=0", "--shard=2/2"]),
        (2, "batch", ["--task=sample", "--seeds=0", "--batch=0"]),
        (2, "retries", ["--task=sample", "--seeds=0", "--retries=-1"]),
        (1, "an edit needs a subspace", ["--task=edit", "--seeds=0"]),
        (1, "either a motion or a text", ["--task=extract", "--seeds=0"]),
        (2, "unknown generator", ["--task=sample", "--seeds=0", "--generator=none"]),
        (2, "layers must be rows", ["--task=sample", "--seeds=0", "--layers=9"]),
        (2, "--face", ["--task=invert", "--image=.", "--face=all"]),
        (2, "ray_workers", ["--task=sample", "--seeds=0", "--ray_workers=0"]),
        (2, "--strength does nothing", ["--task=sample", "--seeds=0", "--strength=1"]),
        (2, "--trunc does nothing", ["--task=sample", "--latents=a.npz", "--trunc=1"]),
        (1, "--image=missing.png: no such file", ["--task=invert", "--image=missing.png"]),
        (1, "needs a strength: --strength=-1,0,1", ["--task=edit", "--seeds=0", "--subspace=a"]),
        (1, "out holds no run", ["--seeds=0", "--status"]),
        (2, "--distributed", ["--task=sample", "--seeds=0", "--engine=ray", "--distributed"]),
    ],
)
def test_bad_usage(fails, generator_dir, status, words, args):
    media.save_png("a.png", np.zeros((16, 16, 3), np.float32))
    fails(status, words, "mm_batch", f"--generator={generator_dir}", "--outdir=out", *args)


def test_an_engine_that_is_not_installed(fails, generator_dir, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    args = ("--task=sample", "--seeds=0", "--engine=ray", f"--generator={generator_dir}")
    words = f"--engine=ray needs Ray: {how_to_install('mm-jax[ray]')}"
    fails(2, words, "mm_batch", "--outdir=out", *args)
    fails(2, words, "mm_batch", "--outdir=out", "--dry_run", *args)


@pytest.mark.slow
def test_images_with_a_damaged_one_among_them(batch, generator_dir, subspace_file):
    gen = load_generator(generator_dir)
    images = np.asarray(synthesize(gen, sample_latents(gen, seeds=range(5))))
    for i, image in enumerate(images):
        media.save_png(Path("faces") / f"face{i}.png", image)
    Path("faces/face2.png").write_bytes(Path("faces/face2.png").read_bytes()[:60])
    args = ("--image=faces", "--aligned", "--steps=10", "--batch=2", "--retries=0")
    status, out, err = batch("--task=invert", *args)
    assert status == 0, err
    assert "4 are now; 1 set aside" in out
    (failed,) = read_journal(Path("out/shards/0-of-1/failed.jsonl"))
    assert failed["item"] == {"image": "faces/face2.png"} and "face2.png" in failed["reason"]
    reader = FaceReader(AlignOptions(aligned=True), size=16, framing=framing_of(gen))
    for record in journal():
        found = load(one_file(record))
        # The crop is what is inverted, and it is resampled even if the image is aligned.
        crop = reader.read(record["item"]["image"])
        drawn = np.asarray(synthesize(gen, found.ws))
        assert found.ws.shape == (1, 6, 12)
        stored = np.load(one_file(record))["psnr"]
        want = psnr(drawn, crop[None])
        assert float(stored) == pytest.approx(float(want[0]), abs=0.01)
    assert batch("--task=invert", *args, "--status")[0] == 1

    # What is set aside stays so, until --retry_failed.
    media.save_png("faces/face2.png", images[2])
    assert "1 set aside" in batch("--task=invert", *args)[1]
    assert "1 is now" in batch("--task=invert", *args, "--retry_failed")[1]
    assert batch("--task=invert", *args, "--status")[0] == 0

    status, _, err = batch(
        "--task=edit", *args, f"--subspace={subspace_file[0]}", "--strength=0:1", "--frames=3",
        "--outdir=edited",
    )  # fmt: skip
    assert status == 0, err
    assert len(list(Path("edited/items").rglob("*_0002.png"))) == 5


@pytest.mark.slow
def test_many_prompts_and_seeds(batch, tiny_clip_dir):
    Path("m.csv").write_text("seeds,motion,text\n0-2,smile,\n1-2,,{degree} angry\n")
    status, _, err = batch(
        "--task=extract", "--manifest=m.csv", f"--clip={tiny_clip_dir}", "--steps=3",
        "--degrees=no,50%,100%", "--method=svd", "--batch=6",
    )  # fmt: skip
    assert status == 0, err
    assert len(journal()) == 5
    for record in journal():
        files = {name.rsplit("/", 1)[1][24:]: Path("out/items") / name for name in record["files"]}
        subspace = load_subspace(files[".npz"])
        anchors = load_anchors(files["_anchors.npz"])
        assert subspace.basis.shape == (1, 6, 12) and anchors.ws.shape == (3, 6, 12)
        asked = "a person with {degree} smile" if "motion" in record["item"] else "{degree} angry"
        assert subspace.meta["template"] == asked


def test_flags_of_two_tasks_keep_the_default_of_each() -> None:
    call = cli.Call("mm_batch", mm_batch.OPTIONS)
    call.parse(["mm_batch", "--task=invert", "--image=a.png"])
    options = mm_batch.read_options(call)
    assert (options.invert.steps, options.anchors.steps) == (
        InvertOptions.steps, AnchorOptions.steps,
    )  # fmt: skip
    assert options.invert.identity_weight == InvertOptions.identity_weight
    assert options.anchors.identity_weight == AnchorOptions.identity_weight
