"""From command to result: `import mm_jax`, `--help` of the programs, and the first image.

The first image is that of the bundled model in a process of its own, first without compiled
programs at hand, then with those that the run before has kept.

  python -m benchmarks.startup
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import common

BIN = Path(__file__).resolve().parents[1] / "bin"


def _run(*command: str) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    subprocess.run([sys.executable, *command], check=True, capture_output=True, env=environment)


def main(argv: list[str] | None = None) -> None:
    """Measure, print and write the table."""
    arguments = common.parse(common.parser(__doc__ or ""), argv)
    names = ["mm_sample"] if arguments.quick else sorted(p.stem for p in BIN.glob("mm_*.py"))
    works: dict[str, common.Work] = {
        "python alone": lambda: _run("-c", "pass"),
        "import mm_jax": lambda: _run("-c", "import mm_jax"),
        **{f"{n} --help": lambda n=n: _run("-m", f"bin.{n}", "--help") for n in names},
    }
    with tempfile.TemporaryDirectory() as folder:
        runs = iter(range(1 << 30))

        def first_image(cache: str) -> None:
            where = [f"--outdir={folder}/{next(runs)}", f"--compile_cache={folder}/{cache}"]
            _run("-m", "bin.mm_sample", "--seeds=0", *where)

        if not arguments.quick:
            works["first image, programs kept"] = lambda: first_image("kept")
            works["first image, nothing kept"] = lambda: first_image(f"new{next(runs)}")
        seconds = common.alternate(works, repeats=arguments.repeats)
    rows = [{"what": name, "seconds": value} for name, value in seconds.items()]
    common.publish("startup", rows, arguments)


if __name__ == "__main__":
    raise SystemExit(common.start(main))
