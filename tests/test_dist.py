"""What sdist and wheel hold, as `make dist` builds them; it names their folder in DIST."""

import os
import re
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = {"mm_jax": "mm_jax", "weights_convert": "weights_convert", "bin": "mm_jax_bin"}


def the_only(pattern: str) -> Path:
    if "DIST" not in os.environ:
        pytest.skip("`make dist` runs this")
    (found,) = Path(os.environ["DIST"]).glob(pattern)
    return found


def wanted() -> set[str]:
    """Code, models and pages of the repository by their names in the wheel."""
    files = set()
    for folder, package in SOURCES.items():
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and path.suffix != ".pyc":
                files.add(f"{package}/{path.relative_to(ROOT / folder).as_posix()}")
    return files


def test_wheel_holds_code_and_models_and_nothing_else():
    with zipfile.ZipFile(the_only("*.whl")) as wheel:
        held = {name for name in wheel.namelist() if ".dist-info/" not in name}
        entry_points = next(n for n in wheel.namelist() if n.endswith("entry_points.txt"))
        scripts = wheel.read(entry_points).decode()
    assert held == wanted()
    for program in (ROOT / "bin").glob("mm_*.py"):
        assert f"{program.stem} = mm_jax_bin.{program.stem}:main" in scripts


def test_the_description_links_to_nothing_that_an_index_lacks():
    """The README's pictures and pages are in the repository alone."""
    with zipfile.ZipFile(the_only("*.whl")) as wheel:
        name = next(name for name in wheel.namelist() if name.endswith("/METADATA"))
        metadata = wheel.read(name).decode()
    description = metadata.partition("\n\n")[2]
    targets = re.findall(r"\]\(([^)]*)\)", description)
    assert targets and [to for to in targets if not to.startswith(("https://", "#"))] == []
    assert "](docs/" in (ROOT / "README.md").read_text() and "<img" not in description
    assert "Description-Content-Type: text/markdown" in metadata


def test_sdist_holds_what_a_build_needs():
    with tarfile.open(the_only("*.tar.gz")) as sdist:
        held = {name.partition("/")[2] for name in sdist.getnames()}
    for name in ("README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "setup.cfg", "setup.py"):
        assert name in held
    assert not [name for name in held if name.startswith(("tests", "docs", "runs", ".venv"))]
