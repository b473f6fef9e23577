"""Print what a report of a bug needs: versions, devices, extras, caches, bundled models.

Exit status 1 means that something is wrong with the installation; the last lines say what.

Examples:
  python -m mm_jax
  python -m mm_jax --json
"""

from __future__ import annotations

import dataclasses
import json
import sys

from mm_jax import cli
from mm_jax.options import Options, option


@dataclasses.dataclass(frozen=True, kw_only=True)
class DoctorOptions(Options):
    """How it is printed."""

    json: bool = option(False, "Print json instead of text.")


def work(call: cli.Call) -> int:
    """Examine the installation and print what was found."""
    from mm_jax import doctor

    found = doctor.examine()
    as_json = call.read(DoctorOptions).json
    print(json.dumps(found, indent=2) if as_json else doctor.as_text(found))
    return 1 if doctor.problems(found) else 0


OPTIONS = (DoctorOptions,)


def main(argv: list[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    argv = list(sys.argv if argv is None else argv)
    return cli.run(__doc__, OPTIONS, work, ["python -m mm_jax", *argv[1:]])


if __name__ == "__main__":
    raise SystemExit(main())
