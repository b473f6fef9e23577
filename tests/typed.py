"""How much of the public `mm_jax` has types that pyright knows without guessing.

`make lint` runs this: pyright by itself fails for a single symbol, and here a share is wanted.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LEAST = 0.95
SHOWN = 20


def report() -> dict:
    """What `pyright --verifytypes` finds."""
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson"]
    command += ["--verifytypes", "mm_jax", "--ignoreexternal"]
    # An editable install is found by a hook of the import system, which pyright does not run.
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    found = json.loads(done.stdout)
    if "typeCompleteness" not in found:
        raise SystemExit(f"pyright did not examine mm_jax:\n{done.stdout}{done.stderr}")
    return found["typeCompleteness"]


def main() -> int:
    """Print the share and, where it is too small, the first symbols without a known type."""
    found = report()
    share = found["completenessScore"]
    print(f"types of mm_jax: {100 * share:.1f} % known, at least {100 * LEAST:.0f} % wanted")
    if share >= LEAST:
        return 0
    unknown = [one["name"] for one in found["symbols"] if not one["isTypeKnown"]]
    print("\n".join(unknown[:SHOWN]), file=sys.stderr)
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
