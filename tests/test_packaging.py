"""What is installed is what is there: packages, data and entry points."""

import configparser
import importlib.metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def setup_cfg():
    if not (ROOT / "setup.cfg").exists():
        pytest.skip("runs in a checkout only")
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def test_every_package_is_listed(setup_cfg):
    folders = {
        ".".join(init.parent.relative_to(ROOT).parts)
        for top in ("mm_jax", "bin", "weights_convert")
        for init in (ROOT / top).rglob("*.py")
    }
    folders = {"mm_jax_bin" if name == "bin" else name for name in folders}
    assert set(setup_cfg["options"]["packages"].split()) == folders


def test_every_package_has_an_init():
    for top in ("mm_jax", "bin", "weights_convert"):
        for module in (ROOT / top).rglob("*.py"):
            assert (module.parent / "__init__.py").exists(), module.parent


def test_every_binary_has_an_entry_point(setup_cfg):
    scripts = setup_cfg["options.entry_points"]["console_scripts"].split("\n")
    targets = dict(line.split(" = ") for line in scripts if line)
    names = {path.stem for path in (ROOT / "bin").glob("mm_*.py")}
    assert targets == {name: f"mm_jax_bin.{name}:main" for name in names}


def test_constraints_pin_plain_versions():
    for path in (ROOT / "constraints").glob("*.txt"):
        for line in path.read_text().splitlines():
            if line and not line.startswith("#"):
                name, version = line.split("==")
                assert name and version[0].isdigit(), line
                assert not {"@", ":", "/", "+"} & set(line), line


def test_installed_version_is_the_source_version():
    import mm_jax

    try:
        installed = importlib.metadata.version("mm-jax")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("not installed")
    assert installed == mm_jax.__version__
