"""The arithmetic of a generator's products: float32, or bfloat16 with sums in float32.

In bfloat16 the products of Winograd's convolutions are, and these are taken for more layers; all
else stays float32. It is for CPUs alone, and `auto` takes it where it was measured to pay
(`python -m benchmarks.bfloat16`, benchmarks/README.md).
"""

from __future__ import annotations

from pathlib import Path

from etils import epy

from mm_jax.checks import check_one_of
from mm_jax.errors import UsageError

with epy.lazy_imports():
    import jax

__all__ = ["CHOICES", "PRECISIONS", "resolve"]

PRECISIONS = ("float32", "bfloat16")
#: What a user may ask for; `resolve` makes one of `PRECISIONS` of it.
CHOICES = (*PRECISIONS, "auto")

# What Linux says of processors on which whole images and gradients were measured to take less time.
_PAYS_WITH = "avx512_bf16"
_CPUINFO = Path("/proc/cpuinfo")


def resolve(precision: str) -> str:
    """The precision, one of `PRECISIONS`, that a choice means on this machine.

    Args:
        precision: float32, bfloat16, or auto: bfloat16 where it was measured to be faster.

    Raises:
        UsageError: none of these, or bfloat16 on a device that is no CPU.
    """
    check_one_of("precision", precision, CHOICES)
    if precision == "float32":
        return precision
    platform = jax.default_backend()
    if precision == "bfloat16":
        if platform != "cpu":
            raise UsageError(
                f"precision bfloat16 is for CPUs, and this is a {platform}: give float32 or auto"
            )
        return precision
    return "bfloat16" if platform == "cpu" and _PAYS_WITH in _abilities() else "float32"


def _abilities() -> set[str]:
    """What the processor can do, in Linux's words; empty where these are not told."""
    try:
        lines = _CPUINFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    flags = (line.partition(":")[2] for line in lines if line.startswith("flags"))
    return set(next(flags, "").split())
