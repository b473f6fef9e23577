"""ONNX Runtime for browsers (onnxruntime-web), as npm publishes it.

It is not part of this package. `make_runtime` takes its four files of interest out of the package
that npm fetched, or that the user did. One version is known, by its checksum.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mm_jax import io
from mm_jax.compile_cache import user_folder
from mm_jax.errors import DataError, UsageError, first_line

__all__ = [
    "MADE",
    "PACKAGE",
    "RUNTIMES",
    "VERSION",
    "check_runtime",
    "is_made",
    "make_runtime",
    "open_runtime",
]

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
_SHA512 = (
    "ab4cbe26baedba45d2cec05610c71c55fa97db92d19a8b171c5f8269126683ca"
    "590a5cdc57bb2f35ce2b298de32f4d956fb42644c0ecd528a0a91e025c07ca61"
)
RUNTIMES = {
    "wasm": ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"),
    "webgpu": ("ort.jspi.bundle.min.mjs", "ort-wasm-simd-threaded.jspi.wasm"),
}
"""By what it computes with: the module, and the program that the module starts.

The one of WebGPU suspends the program while it waits for the graphics card, which not every browser
can (JSPI).
"""

MADE = "made.json"
"""The file that says what a folder was made of."""


def is_made(folder: Path, made_of: Any) -> bool:
    """Whether a folder was made whole, of just this."""
    mark = folder / MADE
    return mark.is_file() and io.read_json(mark) == made_of


def _made_of() -> dict[str, str]:
    return {"package": PACKAGE, "version": VERSION, "sha512": _SHA512}


def make_runtime(folder: Path, source: str = "") -> None:
    """Make a folder of the runtime's files; its programs are compressed: 14 MB become 4 MB.

    Args:
        folder: where they go. One that was made before is left as it is.
        source: the package's .tgz, or the folder that npm unpacked it into; else npm fetches it.

    Raises:
        UsageError: npm is not there, or does not reach its registry; no such source.
        DataError: the package is not the one that is expected.
    """
    if is_made(folder, _made_of()):
        return
    with (
        _package(source) as member,
        io.whole_folder(folder, mark=MADE, what="a runtime") as new,
    ):
        for module, program in RUNTIMES.values():
            (new / module).write_bytes(member(module))
            (new / f"{program}.gz").write_bytes(gzip.compress(member(program), 9, mtime=0))
        io.write_json(new / MADE, _made_of())


def open_runtime(source: str = "") -> Path:
    """The folder of the runtime in the user's cache folder, made where it is not there yet.

    Raises:
        UsageError: it cannot be had; the message says how.
        DataError: the package is not the one that is expected, or there is no home folder.
    """
    folder = _kept()
    try:
        make_runtime(folder, source)
    except UsageError as error:
        raise UsageError(f"{error}. {_advice()}" if not source else str(error)) from error
    return folder


def check_runtime(source: str = "") -> None:
    """Check, as far as that goes without fetching anything, that `open_runtime` would succeed.

    Raises:
        UsageError: neither kept, nor given, and npm is not there.
    """
    if is_made(_kept(), _made_of()):
        return
    if source and not Path(source).exists():
        raise UsageError(f"there is no {source}")
    if not source and shutil.which("npm") is None:
        raise UsageError(f"npm is not installed. {_advice()}")


def _kept() -> Path:
    return user_folder().parent / f"{PACKAGE}-{VERSION}"


def _advice() -> str:
    return (
        f"--live needs {PACKAGE} {VERSION}: run `npm pack {PACKAGE}@{VERSION}` where there is npm, "
        f"and give --live_runtime={PACKAGE}-{VERSION}.tgz"
    )


Member = Callable[[str], bytes]
"""Name of a file of the package's folder `dist` to its content."""


@contextlib.contextmanager
def _package(source: str) -> Iterator[Member]:
    if not source:
        with tempfile.TemporaryDirectory() as scratch, _archive(_fetch(Path(scratch))) as member:
            yield member
    elif Path(source).is_dir():
        yield _unpacked(Path(source))
    elif Path(source).is_file():
        with _archive(Path(source)) as member:
            yield member
    else:
        raise UsageError(f"there is no {source}")


def _fetch(scratch: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise UsageError("npm is not installed")
    print(f"Fetching {PACKAGE} {VERSION} from npm", file=sys.stderr)
    done = subprocess.run(
        [npm, "pack", f"{PACKAGE}@{VERSION}", "--silent", "--fetch-retries=1",
         "--fetch-timeout=60000"],
        cwd=scratch, capture_output=True, text=True,
    )  # fmt: skip
    found = list(scratch.glob("*.tgz"))
    if done.returncode or not found:
        said = (done.stderr.strip() or f"status {done.returncode}").splitlines()[0]
        raise UsageError(f"npm could not fetch {PACKAGE} {VERSION} ({said})")
    return found[0]


@contextlib.contextmanager
def _archive(path: Path) -> Iterator[Member]:
    if hashlib.sha512(path.read_bytes()).hexdigest() != _SHA512:
        raise DataError(f"{path.name} is not {PACKAGE} {VERSION} as npm published it")
    with tarfile.open(path) as package:

        def member(name: str) -> bytes:
            file = package.extractfile(f"package/dist/{name}")
            if file is None:
                raise DataError(f"{path.name} has no file {name}")
            return file.read()

        yield member


def _unpacked(folder: Path) -> Member:
    told = io.read_json(folder / "package.json")
    what = [told.get("name"), told.get("version")] if isinstance(told, dict) else told
    if what != [PACKAGE, VERSION]:
        raise DataError(f"{folder} is not {PACKAGE} {VERSION}, but {what}")

    def member(name: str) -> bytes:
        try:
            return (folder / "dist" / name).read_bytes()
        except OSError as error:
            raise DataError(f"{folder} is incomplete: {first_line(error)}") from error

    return member
