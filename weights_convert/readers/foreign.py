"""What a foreign file holds, and how much of it a reader will take."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

__all__ = ["Container", "Foreign", "Limits", "Meter", "OpaqueObject", "PersistentObject", "Refused"]

Container = Literal[
    "torch-zip",
    "torch-legacy",
    "torchscript",
    "nvlabs-pickle",
    "tensorflow-pickle",
    "safetensors",
    "tfjs",
    "numpy",
    "pickle",
]


@dataclasses.dataclass(frozen=True)
class Foreign:
    """A file that has been read.

    Attributes:
        path: the file.
        container: how it is built, as its bytes say.
        content: plain values only: dict, list, tuple, set, frozenset, str, bytes, int, float,
            complex, bool, None, read-only np.ndarray, np.generic, OpaqueObject and
            PersistentObject. Keys of dictionaries are str, bytes, int, bool or None. OrderedDict
            and EasyDict are plain dicts, torch.Size is a tuple of ints, torch.device and dtypes are
            strings such as "cuda:0", "torch.float32" and "float32", object arrays are nested lists
            (or the one object, for rank zero). There are no cycles, and walking it as a tree is
            safe: what it unfolds to is bounded. Floating values may be NaN or infinite. Arrays are
            views of the mapped file wherever its bytes allow: the file must stay as it is while
            they are in use.
        sha256: of the file's bytes, 64 hex digits; a manifest's are followed by those of its files.
        size: of the file, in bytes, with a manifest's files.
        unknown: names of classes and functions in the content that are on no list of ours. What
            the file would make of them are OpaqueObjects; they were not called.
    """

    path: Path
    container: Container
    content: Any
    sha256: str
    size: int
    unknown: tuple[str, ...] = ()


@dataclasses.dataclass
class OpaqueObject:
    """An object of a class that is recorded, never made: argparse.Namespace, TensorFlow's Network.

    Attributes:
        module: the class's module, as the file spells it.
        name: the class's name.
        args: what the class would have been called with.
        state: what the instance would have been given; mostly its attributes by name.
    """

    module: str
    name: str
    args: tuple
    state: Any


@dataclasses.dataclass
class PersistentObject:
    """An object of NVlabs' torch_utils.persistence.

    Attributes:
        class_name: its class, such as "Generator".
        version: of the persistence format.
        module_src_sha256: of the source code that the file carries along and nobody runs, UTF-8;
            None where it carries none.
        state: the instance's attributes, among them _parameters, _buffers, _modules, _init_args and
            _init_kwargs.
    """

    class_name: str
    version: int
    module_src_sha256: str | None
    state: dict


@dataclasses.dataclass(frozen=True)
class Limits:
    """How much of a file is taken; a training file of a 1024 px generator stays far below.

    Attributes:
        steps: opcodes of all pickles, and elements that constructors copy.
        depth: nesting of values.
        values: values of the content, counted as a tree.
        array_rank: axes of an array.
        expansion, slack_bytes: what a file unfolds to (arrays counted as often as they occur, bytes
            that are inflated or copied) may be `expansion` times its size plus `slack_bytes`.
        entries: files in an archive, storages in a file.
        header_bytes: header of a safetensors file, or manifest of TensorFlow.js.
        files: files that a manifest names; all of them are open at once.
        blobs: torch files nested within one another.
    """

    steps: int = 2_000_000
    depth: int = 100
    values: int = 2_000_000
    array_rank: int = 32
    expansion: int = 8
    slack_bytes: int = 1 << 28
    entries: int = 100_000
    header_bytes: int = 1 << 22
    files: int = 500
    blobs: int = 3


class Refused(Exception):
    """Why a file can not be read; `read_file` turns it into a DataError that names the file."""


class Meter:
    """Counts what a file has cost so far."""

    def __init__(self, limits: Limits, size: int):
        self.limits = limits
        self._steps = limits.steps
        self._bytes = self.allowance = limits.expansion * size + limits.slack_bytes

    def allow(self, size: int) -> None:
        """Counts a further file of `size` bytes, which a manifest names."""
        self._bytes += self.limits.expansion * size
        self.allowance += self.limits.expansion * size

    def steps(self, count: int) -> None:
        """Pays for opcodes, or for elements that are copied."""
        self._steps -= count
        if self._steps < 0:
            raise Refused(f"takes more than {self.limits.steps} steps to read")

    def bytes(self, count: int) -> None:
        """Pays for bytes that are made rather than viewed."""
        self._bytes -= count
        if self._bytes < 0:
            raise Refused(f"unfolds to more than {self.allowance} bytes")
