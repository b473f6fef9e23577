"""Readers of foreign checkpoint files: no torch, and nothing that a file contains is ever run.

`read_file` tells a file's kind by its bytes and gives plain values. Tensors are views of the
memory-mapped file: opening a checkpoint costs its headers, whatever its size, and bytes of a
tensor are fetched when they are looked at.
"""

from weights_convert.readers.foreign import Foreign, Limits, OpaqueObject, PersistentObject
from weights_convert.readers.known import SCRIPTED
from weights_convert.readers.mapped import release
from weights_convert.readers.reading import read_file
from weights_convert.readers.torch_writer import write_torch_zip

__all__ = [
    "SCRIPTED",
    "Foreign",
    "Limits",
    "OpaqueObject",
    "PersistentObject",
    "read_file",
    "release",
    "write_torch_zip",
]
