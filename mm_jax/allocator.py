"""Keeps freed memory in the process; on CPU much time is otherwise lost to page faults.

XLA asks the C library for the buffers of every call anew. Those of an image of 1024 px are
hundreds of megabytes, which glibc takes from the system and gives back each time, and the system
fills them with zeros, page by page: 6 GB/s instead of 31 on the machine where this was measured.
"""

from __future__ import annotations

import ctypes
import os
import sys

from etils import epy

with epy.lazy_imports():
    import jax

__all__ = ["keep_freed_memory"]

# Of mallopt(3).
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8
_PAD = 64 << 20

_DISPATCH = "JAX_CPU_ENABLE_ASYNC_DISPATCH"

# Of madvise(2).
_HUGE_PAGES = 14
_PAGE = 4096
# Addresses only: what is not written to is no memory.
_RESERVE = 4 << 30


def keep_freed_memory() -> bool:
    """Make this process keep freed memory for its next use, in large pages where there are any.

    The binaries call it. A program that uses the library on CPU calls it before its first
    computation. Peaks stay what they are, but what a peak took is given back only at exit. JAX then
    computes on CPU before a call returns, unless the environment's JAX_CPU_ENABLE_ASYNC_DISPATCH is
    true: else it may ask for a call's buffers before those of the call before are free, and both
    stay.

    Returns:
        Whether it could be done: only with glibc, so on most kinds of Linux.
    """
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version"):
        return False
    # One arena of which nothing is trimmed, and no mappings of single blocks.
    settings = {_ARENA_MAX: 1, _MMAP_MAX: 0, _TRIM_THRESHOLD: -1, _TOP_PAD: _PAD}
    # JAX itself does not read this from the environment.
    wanted = os.environ.get(_DISPATCH, "false").lower() in ("1", "on", "true", "yes")
    jax.config.update(_DISPATCH.lower(), wanted)
    done = all([libc.mallopt(name, value) for name, value in settings.items()])
    libc.malloc.restype = ctypes.c_void_p
    libc.malloc.argtypes = [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    _ask_for_huge_pages(libc)
    return done


def _ask_for_huge_pages(libc: ctypes.CDLL) -> None:
    """Let the heap grow into addresses for which pages of 2 MiB are asked; it may be refused."""
    block = libc.malloc(_RESERVE)
    if not block:
        return
    start = -(-block // _PAGE) * _PAGE
    size = (block + _RESERVE - start) // _PAGE * _PAGE
    libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(size), _HUGE_PAGES)
    libc.free(block)
