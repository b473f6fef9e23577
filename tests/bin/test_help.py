"""Every binary: --help at once, and examples in it that can be run."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(__file__).resolve().parents[2] / "bin"
NAMES = sorted(path.stem for path in BIN.glob("mm_*.py"))


@pytest.mark.parametrize("name", NAMES)
def test_help(call, name):
    status, out, err = call(name, "--help")
    assert (status, err) == (0, "")
    assert "Examples:" in out
    assert "--outdir" in out


@pytest.mark.parametrize("name", NAMES)
def test_examples_hold_known_flags(call, name):
    _, out, _ = call(name, "--help")
    known = {line.split()[0] for line in out.splitlines() if line.startswith("  --")}
    examples = [line for line in out.splitlines() if line.startswith(f"  {name} ")]
    assert examples
    for example in examples:
        for word in shlex.split(example)[1:]:
            flag = word.split("=")[0]
            assert {flag, flag.replace("--no", "--", 1)} & known, example


@pytest.mark.parametrize("name", NAMES)
def test_help_and_bad_flags_need_nothing_heavy(name):
    code = (
        f"import runpy, sys; sys.path.insert(0, {str(BIN.parent)!r}); "
        f"main = runpy.run_path({str(BIN / f'{name}.py')!r})['main']; "
        f"assert main([{name!r}, '--help']) == 0; assert main([{name!r}, '--bogus']) == 2; "
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {module.split(".")[0] for module in done.stdout.splitlines()[-1].split()}
    heavy = {"jax", "jaxlib", "flax", "optax", "orbax", "transformers", "tokenizers", "scipy"}
    assert not loaded & {*heavy, "ray", "PIL", "cv2", "av", "rich", "safetensors"}
