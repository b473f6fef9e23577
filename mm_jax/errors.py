"""The two ways in which a caller can be wrong.

Both are `ValueError`s with a message of one line that says what was given and what is wanted. The
binaries turn them into exit statuses: 1 for `DataError`, 2 for `UsageError`.
"""

from __future__ import annotations

import tokenize
import zipfile
import zlib


class DataError(ValueError):
    """The content of a file or an array is bad: missing, corrupt, wrong shape, not finite."""


class UsageError(ValueError):
    """An argument or a flag is bad: unknown name, value out of range, contradiction."""


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or the error's class name if it has no text."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


#: What zipfile, zlib and NumPy's header parser raise on damaged bytes, found by fuzzing.
DAMAGE = (
    OSError,
    EOFError,
    KeyError,
    IndexError,
    MemoryError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
