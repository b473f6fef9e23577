"""What programs say in more than one place: counts, names, how something missing is installed."""

from __future__ import annotations

import shlex
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

__all__ = ["counted", "distinct", "how_to_install"]


def counted(number: int, noun: str) -> str:
    """A number and what is counted: "1 face", "3 faces", "1,000 entries"."""
    if number != 1:
        consonant = noun.endswith("y") and noun[-2:-1] not in "aeiou"
        noun = f"{noun[:-1]}ies" if consonant else f"{noun}s"
    return f"{number:,} {noun}"


def distinct(names: Sequence[str], *, between: str = "_") -> list[str]:
    """The names, with a number behind those that came before: "a", "b", "a_2".

    Args:
        names: none of which need differ.
        between: what stands between a name and its number.
    """
    found: list[str] = []
    for name in names:
        own, number = name, 1
        while own in found:
            number += 1
            own = f"{name}{between}{number}"
        found.append(own)
    return found


def how_to_install(*requirements: str) -> str:
    """The command that installs requirements for the interpreter in use.

    A Python that the system manages (PEP 668) takes packages in a virtual environment only.
    """
    wanted = " ".join(map(shlex.quote, requirements))
    managed = Path(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED").exists()
    if managed and sys.prefix == sys.base_prefix:
        python = shlex.quote(sys.executable)
        return f"{python} -m venv .venv && .venv/bin/python -m pip install {wanted}"
    return f"{shlex.quote(sys.executable)} -m pip install {wanted}"
