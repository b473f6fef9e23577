"""Compiled programs are kept between runs, and compile time is measured separately.

A later run executes what it finds in the folder, so a folder that somebody else can write to is
not used. JAX's own environment variables come first where the user has set them.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from etils import epy

from mm_jax.errors import DataError

with epy.lazy_imports():
    import importlib.metadata as metadata

    import filelock
    import jax

__all__ = [
    "Spent",
    "be_quiet",
    "compile_quickly",
    "keep_programs",
    "programs",
    "timed",
    "user_folder",
]

_COMPILED = "/jax/core/compile/backend_compile_duration"
# Seconds of compiling after which it is told.
_LONG = 5.0
# Seconds from which on a program counts in `programs`: operations by themselves take less.
_NOTICED = 0.05
# Short compilations are kept too: a run has dozens, and together they take as long as a large one.
_SETTINGS = {
    "jax_persistent_cache_min_compile_time_secs": 0.0,
    "jax_persistent_cache_min_entry_size_bytes": 0,
    "jax_compilation_cache_max_size": 1 << 30,
}


# XLA:CPU's newer code generator for fused operations takes a fifth to a third of the compile time
# more than the one before it, and what it makes is no faster (benchmarks/README.md). XLA ends the
# process at a flag that it does not know, and that of jaxlib 0.12 no longer knows this one: so only
# versions are given it that have been seen to start with it.
_OLDER_GENERATOR = "xla_cpu_use_fusion_emitters"
_HAVE_IT = ("0.10.1",)


@dataclass
class Spent:
    """Seconds since its creation, and how many of them went into compiling or loading programs."""

    began: float = field(default_factory=time.monotonic)
    compiling: float = 0.0

    @property
    def working(self) -> float:
        """Seconds since its creation in which nothing was compiled or loaded."""
        return max(0.0, time.monotonic() - self.began - self.compiling)

    def __str__(self) -> str:
        total = time.monotonic() - self.began
        return f"{total:.1f} s, of which compiling {min(self.compiling, total):.1f} s"


@dataclass
class _Programs:
    made: int = 0


_programs = _Programs()


def programs() -> int:
    """How many programs have been compiled or loaded within `timed` blocks so far.

    Small ones, which take no time to speak of, are left out.
    """
    return _programs.made


@contextlib.contextmanager
def timed() -> Iterator[Spent]:
    """Adds the compile time within the block to the `Spent` that is yielded.

    A program that takes long to compile is told on standard error while it does.
    """
    spent = Spent()
    waiting: list[threading.Timer] = []

    def begin(event: str, value: float | int, **metadata: Any) -> None:
        del value
        if event == _COMPILED:
            said = f"compiling {metadata.get('fun_name', 'a program')}"
            if jax.config.values["jax_compilation_cache_dir"]:
                said += "; it is kept for the next run"
            waiting.append(threading.Timer(_LONG, print, [said], {"file": sys.stderr}))
            waiting[-1].daemon = True
            waiting[-1].start()

    def end(event: str, duration_secs: float, **_: Any) -> None:
        if event == _COMPILED:
            spent.compiling += duration_secs
            _programs.made += duration_secs > _NOTICED
            while waiting:
                waiting.pop().cancel()

    jax.monitoring.register_scalar_listener(begin)
    jax.monitoring.register_event_duration_secs_listener(end)
    try:
        yield spent
    finally:
        jax.monitoring.unregister_event_duration_listener(end)
        jax.monitoring.unregister_scalar_listener(begin)
        while waiting:
            waiting.pop().cancel()


def be_quiet() -> None:
    """Keep libraries from telling what is of no use here.

    Each time that XLA loads a kept program it names, at length, tuning hints that it takes for
    missing CPU features; what it cannot go on after is shown still. transformers 5 says that it
    finds no PyTorch, which is not needed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")


def compile_quickly() -> None:
    """Have XLA compile for the CPU by the generator that takes less time, before JAX begins.

    What `XLA_FLAGS` says of it already stays.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if _OLDER_GENERATOR not in flags and metadata.version("jaxlib") in _HAVE_IT:
        os.environ["XLA_FLAGS"] = f"{flags} --{_OLDER_GENERATOR}=false".strip()


def user_folder() -> Path:
    """The folder of compiled programs in the user's cache folder.

    Raises:
        DataError: the user has no home.
    """
    chosen = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        usual = Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")
    except RuntimeError as error:
        raise DataError("there is no home folder") from error
    # The specification of XDG wants relative paths ignored.
    return (chosen if chosen.is_absolute() else usual) / "mm_jax" / "compiled"


def keep_programs(where: str) -> None:
    """Have JAX keep compiled programs in a folder; where that is not possible, a note says why.

    Args:
        where: the folder; "auto" is that of `JAX_COMPILATION_CACHE_DIR` if it is set and else
            `user_folder`, "off" keeps and loads nothing.
    """
    if where == "off":
        jax.config.update("jax_compilation_cache_dir", None)
        return
    if where == "auto" and os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return
    try:
        folder = user_folder() if where == "auto" else Path(where)
        _make_private(folder)
        _drop_halves(folder)
    except (DataError, OSError) as error:
        said = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else error
        print(
            f"note: compiled programs are not kept: {said} (--compile_cache=DIR names another "
            "folder, --compile_cache=off keeps none)",
            file=sys.stderr,
        )
        return
    for name, value in _SETTINGS.items():
        if name.upper() not in os.environ:
            jax.config.update(name, value)
    jax.config.update("jax_compilation_cache_dir", str(folder))


def _make_private(folder: Path) -> None:
    """See that there is such a folder, and that it is the user's alone to write to.

    Raises:
        OSError: it cannot be made.
        DataError: it cannot be written to, or others could put programs into it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
    if status.st_uid != os.geteuid():
        raise DataError(f"{folder} belongs to another user")
    if status.st_mode & 0o022:
        raise DataError(f"others can write to {folder}, which `chmod go-w` changes")
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise DataError(f"{folder} cannot be written to")


def _drop_halves(folder: Path) -> None:
    """Remove the programs of runs that were killed as they wrote them.

    JAX writes a program, then the time of its last use. It would stumble over a program without
    that, and never replace it.
    """
    with contextlib.suppress(filelock.Timeout), filelock.FileLock(folder / ".lockfile", timeout=1):
        for program in folder.glob("*-cache"):
            if not program.with_name(program.name.removesuffix("-cache") + "-atime").exists():
                program.unlink(missing_ok=True)
