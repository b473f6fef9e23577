"""The benchmarks run and write what they say; their counting is exact. Times are not looked at."""

import dataclasses
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from mm_jax.errors import UsageError
from mm_jax.stylegan2.config import GeneratorConfig


def module(name):
    return importlib.import_module(f"benchmarks.{name}")


@pytest.mark.parametrize(("resolution", "giga"), [(256, 45.07), (512, 59.57), (1024, 74.06)])
def test_multiply_adds_of_configuration_f(resolution, giga):
    macs = module("common").macs
    assert round(macs(GeneratorConfig(resolution=resolution)) / 1e9, 2) == giga
    assert macs(GeneratorConfig(), resolution=resolution) == macs(
        GeneratorConfig(resolution=resolution)
    )


def test_contenders_take_turns():
    called = []
    works = {name: lambda name=name: called.append(name) for name in "ab"}
    seconds = module("common").alternate(works, repeats=3)
    assert "".join(called) == "ab" + "ababab"
    assert set(seconds) == {"a", "b"} and min(seconds.values()) >= 0


@pytest.mark.parametrize(
    ("told", "named"),
    [
        (
            "cpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n",
            "AMD EPYC (family 25, model 17)",
        ),
        ("processor\t: 0\nmodel name\t: B\nprocessor\t: 1\nmodel name\t: C\n", "B"),
    ],
)
def test_the_processor_is_named(told, named, monkeypatch):
    common = module("common")
    monkeypatch.setattr(common.Path, "read_text", lambda path: told)
    assert common._processor() == named


def test_the_fastest_peer_counts():
    row = module("common").compared({"mm_jax": 2.0, "x": 8.0, "y": 6.0})
    assert row == {"mm_jax [s]": 2.0, "x [s]": 8.0, "y [s]": 6.0, "times as fast": 3.0}
    assert module("common").compared({"mm_jax": 2.0}) == {"mm_jax [s]": 2.0}


def test_bfloat16_is_compared_on_its_own():
    seconds = {"mm_jax": 2.0, "mm_jax, bfloat16": 1.0, "x": 8.0, "x, bfloat16": 3.0}
    row = module("common").rated(seconds, 4_000_000_000, {"convolution [GMAC/s]": 4.0})
    assert row["times as fast"] == 4.0 and row["of the convolution rate"] == 0.5
    assert row["mm_jax, bfloat16 [s]"] == 1.0 and row["x, bfloat16 [s]"] == 3.0
    assert row["bfloat16, times as fast as the peer in bfloat16"] == 3.0
    assert row["bfloat16, times as fast as the peer in float32"] == 8.0
    del seconds["x"], seconds["x, bfloat16"]
    row = module("common").rated(seconds, 4_000_000_000, {"convolution [GMAC/s]": 4.0})
    assert not any("times as fast" in name for name in row)


@pytest.mark.parametrize(
    "topic",
    [
        "synthesis",
        "rpca",
        *(
            pytest.param(topic, marks=pytest.mark.slow)
            for topic in (
                "startup",
                "gradient",
                "media",
                "text_anchors",
                "shortcut",
                "batch",
                "memory",
                "layers",
                "precision",
                "bfloat16",
                "compiling",
            )
        ),
    ],
)
def test_a_small_run_writes_its_table(topic, tmp_path, capsys):
    module(topic).main(["--quick", "--repeats=1", f"--outdir={tmp_path}"])
    written = json.loads((tmp_path / f"{topic}.json").read_text())
    assert written["topic"] == topic and written["rows"]
    assert written["machine"]["cores"] and written["machine"]["versions"]["jax"]
    assert written["arguments"]["quick"] is True
    table = (tmp_path / f"{topic}.md").read_text()
    assert table in capsys.readouterr().out
    assert table.count("\n| ") == len(written["rows"]) + 1


def test_a_process_is_not_charged_for_what_the_benchmark_holds():
    run, held = module("process").run, bytearray(300 << 20)
    held[:: 1 << 12] = bytes([1]) * len(held[:: 1 << 12])  # every page
    small, large = (run([sys.executable, "-c", f"b'1' * ({size} << 20)"]).mib for size in (0, 200))
    assert small < 100 < 200 < large < 300
    assert run([sys.executable, "-c", "import time; time.sleep(0.3)"]).seconds > 0.3
    assert run([sys.executable, "-c", "import os; assert os.environ['A']"], {"A": "b"}).mib > 1
    with pytest.raises(RuntimeError, match="ended with status 3: why"):
        run([sys.executable, "-c", "import sys; print('why', file=sys.stderr); sys.exit(3)"])


def test_what_is_no_checkout_is_refused(tmp_path):
    with pytest.raises(UsageError, match="must be a checkout of NVlabs"):
        gen = module("common").random_generator(GeneratorConfig(resolution=8, channel_max=8))
        module("peers").open_generators(str(tmp_path), gen)
    (tmp_path / "a.py").write_text("")
    for path in (tmp_path / "a.py", tmp_path / "none.py"):
        with pytest.raises(UsageError, match="--peer-path"):
            module("rpca").main(["--quick", f"--peer-path={path}"])


def test_double_precision_wants_a_peer():
    # A process of its own: it changes what JAX takes for float32.
    command = [sys.executable, "-m", "benchmarks.double", "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "double: --peer-path is missing: there is nothing to compare with\n"


def test_bad_arguments_are_one_line(capsys):
    def main():
        raise UsageError("no such thing")

    assert module("common").start(main) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_costs_are_those_of_the_page(capsys):
    module("costs").main([])
    page = (Path(__file__).resolve().parents[2] / "docs" / "cluster.md").read_text()
    assert f"\n\n{capsys.readouterr().out}\n" in page


def test_costs_by_hand():
    costs = module("costs")
    ones = costs.Machine("two", 2, 1e12, 3)
    # 2 devices, half of 1e12 operations a second, 2 * 45.07e9 of them for a picture.
    computed, written = costs.samples_per_second(ones, 256, 0.5)
    assert computed == written == pytest.approx(11.09, abs=0.01)
    assert costs.inversions_per_second(ones, 256, 0.5, steps=10) == pytest.approx(computed / 20)
    assert costs.device_hours(ones, computed) == pytest.approx(2 * 1e6 / 11.09 / 3600, rel=1e-3)
    computed, written = costs.samples_per_second(dataclasses.replace(ones, cores=1), 1024, 1.0)
    assert written == 2 * 1 * costs.ENCODED[1024] < computed
