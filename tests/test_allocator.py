"""Freed memory is used again, rather than asked of the system page by page."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
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
