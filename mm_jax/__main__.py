"""Print what a report of a bug needs: versions, devices, extras, caches, bundled models.

Exit status 1 means that something is wrong with the installation; the last lines say what. With
`completion` and the name of a shell (bash, zsh or fish), print a script that completes the
programs' flags there.

Examples:
  python -m mm_jax
  python -m mm_jax --json
  source <(python -m mm_jax completion bash)
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence

from etils import epy

from mm_jax import cli, completion
from mm_jax.errors import UsageError
from mm_jax.options import Options, option

with epy.lazy_imports():
    from mm_jax import doctor


@dataclasses.dataclass(frozen=True, kw_only=True)
class DoctorOptions(Options):
    """How it is printed."""

    json: bool = option(False, "Print json instead of text.")


def work(call: cli.Call) -> int:
    """Examine the installation and print what was found."""
    found = doctor.examine()
    as_json = call.read(DoctorOptions).json
    print(json.dumps(found, indent=2) if as_json else doctor.as_text(found))
    return 1 if doctor.problems(found) else 0


def print_completion(shells: Sequence[str]) -> None:
    """Print the completion of the installed programs.

    Args:
        shells: the words behind `completion`, which must be one shell.

    Raises:
        UsageError: none, several, or a shell that there is no completion for.
        DataError: the programs are not installed.
    """
    if len(shells) != 1 or shells[0] not in completion.SHELLS:
        given = " ".join(shells) or "none"
        raise UsageError(f"completion takes one of {', '.join(completion.SHELLS)}, got {given}")
    print(completion.script(shells[0], completion.installed_programs()), end="")


OPTIONS = (DoctorOptions,)


def main(argv: list[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    name, *words = ["python -m mm_jax", *(sys.argv if argv is None else argv)[1:]]
    if words[:1] != ["completion"]:
        return cli.run(__doc__, OPTIONS, work, [name, *words])
    flags = [word for word in words if word in ("-h", "--help")]
    return cli.run(__doc__, (), lambda call: print_completion(words[1:]), [name, *flags])


if __name__ == "__main__":
    raise SystemExit(main())
