"""Processes of mm_batch on a small random model."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mm_jax.checkpoints import save_generator

BIN = Path(__file__).resolve().parents[2] / "bin" / "mm_batch.py"


@pytest.fixture(scope="session")
def models(tiny_generator, tmp_path_factory):
    """The folder of a generator, and a folder for compiled programs."""
    folder = tmp_path_factory.mktemp("models")
    return save_generator(tiny_generator, folder / "tiny", format="safetensors"), folder / "cache"


@pytest.fixture
def start(models):
    """`start(outdir, ..)` starts an mm_batch that samples; the test's end kills it."""
    with contextlib.ExitStack() as stack:

        def run(outdir, *args, env=None):
            generator, cache = models
            command = [sys.executable, BIN, "--task=sample", f"--generator={generator}"]
            options = [f"--outdir={outdir}", f"--compile_cache={cache}", "--batch=4", *args]
            process = stack.enter_context(
                subprocess.Popen(
                    [*command, *options],
                    stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                    env={**os.environ, "JAX_PLATFORMS": "cpu", **(env or {})},
                )
            )  # fmt: skip
            stack.callback(process.kill)
            return process

        yield run
