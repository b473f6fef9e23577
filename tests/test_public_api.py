"""`import mm_jax` is cheap, and every public name is where the package says."""

import subprocess
import sys
from pathlib import Path

import pytest

import mm_jax

SOURCE = Path(mm_jax.__file__)


def modules_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    path = str(SOURCE.parents[1])
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {path!r}); {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "statement", ["import mm_jax", "import mm_jax.cli, mm_jax.progress, mm_jax.errors, mm_jax.io"]
)
def test_import_brings_no_heavy_package(statement):
    heavy = {
        "jax",
        "jaxlib",
        "flax",
        "optax",
        "orbax",
        "transformers",
        "PIL",
        "imageio",
        "av",
        "rich",
    }
    assert not heavy & modules_after(statement)


def test_every_public_name_is_found():
    for name in mm_jax.__all__:
        assert getattr(mm_jax, name) is not None
    assert dir(mm_jax) == sorted(mm_jax.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = mm_jax.no_such_thing
