"""--precision of every program that draws: it reaches the generator, and bad values are refused."""

import importlib

import numpy as np
import pytest

from mm_jax import media
from mm_jax.errors import DataError

# A call of each, up to where the generator is opened.
CALLS = {
    "mm_sample": ("--seeds=0",),
    "mm_edit": ("--subspace=smile", "--seeds=0"),
    "mm_extract": ("--motion=smile",),
    "mm_invert": ("--image=face.png",),
    "mm_batch": ("--task=sample", "--seeds=0"),
}


@pytest.mark.parametrize("name", CALLS)
def test_it_reaches_the_generator(name, call, monkeypatch):
    def told(name, *, precision):
        raise DataError(f"asked for {precision}")

    for module in ("mm_jax.zoo", "mm_jax.batch.job"):
        monkeypatch.setattr(importlib.import_module(module), "load_generator", told)
    media.save_png("face.png", np.zeros((8, 8, 3), np.uint8))
    for flags, wanted in (((), "float32"), (("--precision=auto",), "auto")):
        status, _, err = call(name, *CALLS[name], "--outdir=out", *flags)
        assert (status, err) == (1, f"{name}: asked for {wanted}\n")


@pytest.mark.parametrize("name", [*CALLS, "mm_studio"])
def test_bad_values_are_refused(name, fails):
    fails(2, "--precision=half", name, "--precision=half", "--outdir=out")


def test_a_run_is_of_one_precision(call, generator_dir):
    sample = ("mm_sample", f"--generator={generator_dir}", "--seeds=0", "--outdir=out")
    assert call(*sample, "--precision=bfloat16")[0] == 0
    status, _, err = call(*sample)
    assert status == 2
    assert "holds a run with precision='bfloat16', not 'float32'" in err
