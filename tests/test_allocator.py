"""Freed memory is used again, rather than asked of the system page by page."""

import subprocess
import sys

import pytest

DISPATCH = "JAX_CPU_ENABLE_ASYNC_DISPATCH"
PARENT_AND_CHILD = """
import subprocess, sys
from mm_jax import keep_freed_memory

if not keep_freed_memory():
    sys.exit(3)
import jax
print(jax.config.values["jax_cpu_enable_async_dispatch"], flush=True)
if sys.argv[1] == "parent":
    subprocess.run([sys.executable, sys.argv[0], "child"], check=True)
"""
PROGRAM = """
import resource, sys
import jax
import numpy as np
from mm_jax import keep_freed_memory

if sys.argv[1] == "kept" and not keep_freed_memory():
    sys.exit(3)
faults = []
for _ in range(4):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = np.ones(32 << 20)
    del block
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(max(faults[1:]), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def faults(how):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=False
    )
    if done.returncode == 3:
        pytest.skip("not glibc")
    assert not done.stderr
    return [int(word) for word in done.stdout.split()]


def test_what_is_freed_is_not_asked_for_again():
    kept, memory = faults("kept")
    given_back, memory_without = faults("given back")
    assert kept < 100  # pages, of the 65,536 of the block
    # A system of large pages everywhere has few faults in any case.
    assert given_back > kept
    assert memory < memory_without + 20_000  # KiB


@pytest.mark.parametrize("said", [None, "false", "0", "True", "1"])
def test_a_process_and_those_it_starts_compute_before_a_call_returns(said, tmp_path, monkeypatch):
    monkeypatch.delenv(DISPATCH, raising=False)
    if said is not None:
        monkeypatch.setenv(DISPATCH, said)
    program = tmp_path / "program.py"
    program.write_text(PARENT_AND_CHILD)
    done = subprocess.run(
        [sys.executable, program, "parent"], capture_output=True, text=True, check=False
    )
    if done.returncode == 3:
        pytest.skip("not glibc")
    assert not done.stderr
    assert done.stdout.split() == 2 * [str(said in ("True", "1"))]
