"""Class-conditional generators in the programs: --class, and what is said without it."""

import jax
import numpy as np
import pytest

from mm_jax import artifacts
from mm_jax.anchors.options import AnchorOptions
from mm_jax.anchors.text import text_anchors
from mm_jax.batch.journal import read_journal
from mm_jax.checkpoints import load_generator_dir, save_generator
from mm_jax.errors import UsageError
from mm_jax.latents import class_labels, sample_latents
from mm_jax.stylegan2.config import GeneratorConfig
from mm_jax.stylegan2.generator import make_generator
from mm_jax.stylegan2.networks import init_params


@pytest.fixture(scope="module")
def animals(tmp_path_factory):
    config = GeneratorConfig(
        resolution=16, z_dim=10, w_dim=12, c_dim=3, mapping_layers=2, channels=(8, 8, 8)
    )
    gen = make_generator(config, init_params(jax.random.key(0), config), meta={"name": "animals"})
    return save_generator(gen, tmp_path_factory.mktemp("models") / "animals")


def wanted(folder, label, seeds):
    gen = load_generator_dir(folder)
    labels = class_labels(gen, label, len(seeds))
    return sample_latents(gen, seeds=seeds, labels=labels, truncation_psi=0.7)


def test_samples_of_a_class(call, animals):
    name = f"--generator={animals}"
    status, _, err = call("mm_sample", name, "--seeds=0,1", "--class=2", "--outdir=out")
    assert status == 0, err
    ws = artifacts.load_latents("out/latents.npz").ws
    np.testing.assert_allclose(ws, wanted(animals, 2, [0, 1]), atol=1e-6)
    assert np.abs(ws - wanted(animals, 1, [0, 1])).max() > 0.01


def test_batches_of_a_class(call, animals):
    args = ("--task=sample", f"--generator={animals}", "--seeds=0", "--outdir=out")
    assert call("mm_batch", *args, "--class=1", "--format=npy")[0] == 0
    (record,) = read_journal("out/shards/0-of-1/journal.jsonl")
    assert record["item"]["class"] == 1


def test_the_classes_are_told(fails, animals, generator_dir):
    name = f"--generator={animals}"
    words = "class must be from 0 to 2 for animals, got None: --class chooses"
    fails(2, words, "mm_sample", name, "--seeds=0", "--outdir=out")
    fails(2, "got 3", "mm_sample", name, "--seeds=0", "--class=3", "--outdir=out")
    words = "class must not be given"
    fails(2, words, "mm_sample", f"--generator={generator_dir}", "--class=0", "--outdir=out")
    words = "--class does nothing beside --latents"
    fails(2, words, "mm_sample", name, "--latents=a.npz", "--class=0", "--outdir=out")


def test_anchors_are_sampled_of_a_class(animals, tiny_clip):
    gen = load_generator_dir(animals)
    options = AnchorOptions(
        strategy="sample", samples=8, keep=2, degrees=("no", "100%"), resolution=8
    )
    found = [
        text_anchors(
            gen, tiny_clip, template="a person with {degree} smile", label=label,
            start=wanted(animals, 0, [0])[0], options=options,
        )
        for label in (0, 1)
    ]  # fmt: skip
    assert np.abs(found[0].ws - found[1].ws).max() > 0
    with pytest.raises(UsageError, match="class must be from 0 to 2"):
        text_anchors(
            gen, tiny_clip, template="a person with {degree} smile",
            start=wanted(animals, 0, [0])[0], options=options,
        )  # fmt: skip
