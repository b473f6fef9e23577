"""The benchmark of GPUs: its programs lower for CUDA, and its tables are those of its json."""

import json
from pathlib import Path

import pytest

from benchmarks import gpu
from docs import compared
from docs import gpu as page
from mm_jax.errors import DataError
from mm_jax.stylegan2.config import GeneratorConfig
from mm_jax.stylegan2.generator import Generator, make_generator

# All forms of up-convolution are in it, among them the one for 32 channels and fewer.
CONFIG = GeneratorConfig(resolution=64, channel_base=1024, channel_max=128, z_dim=8, w_dim=8)


@pytest.mark.parametrize("precision", gpu.PRECISIONS)
@pytest.mark.parametrize("work", ["images", "gradient"])
def test_programs_lower_for_cuda(work, precision):
    gen = make_generator(CONFIG, dict(Generator.shapes(CONFIG)))
    text = gpu.lowered(gpu.Case(work, 64, 2, precision), gen, platform="cuda").as_text()
    wanted = "bf16" if precision == "bfloat16" else "f32"
    convolutions = [line for line in text.splitlines() if "stablehlo.convolution" in line]
    # Nine layers; the up-convolutions of 128 and 64 channels are four each.
    assert len(convolutions) >= (15 if work == "images" else 24)
    assert all(f"x{wanted}>" in line for line in convolutions)
    asked = any("precision HIGHEST" in line or "HIGHEST" in line for line in convolutions)
    assert asked == (precision == "float32")


def test_least_time_is_that_of_the_tighter_limit():
    class Compiled:
        def cost_analysis(self):
            return {"flops": 1.0, "bytes accessed": 3e9}

        def memory_analysis(self):
            return None

    case = gpu.Case("images", 256, 4, "TF32")
    best = {"matmul, TF32 [TFLOP/s]": 2.0, "copy [GB/s]": 1.0}
    # Of operations 1 s, of bytes 3 s.
    row = gpu.roofline(case, Compiled(), 6.0, 10**12, best)
    assert row["of the roofline"] == pytest.approx(0.5)
    assert row["of the matmul rate"] == pytest.approx(1 / 6)
    assert row["images/s"] == pytest.approx(4 / 6)


def _run():
    return {
        "topic": "gpu",
        "machine": {
            "cores": 2, "processor": "P", "devices": "1 x D", "versions": {"jax": "1"},
            "date": "now",
        },
        "rows": [
            {"case": "images, 256 px", "seconds": 0.5, "images/s": 2.0, "of the roofline": 0.25},
            {"case": "gradient, 1024 px", "error": "out of memory"},
        ],
        "numbers": [{"case": "smile", "largest error": 1e-6, "rms error": 1e-7}],
        "limits": {"copy [GB/s]": 4000.0},
        "jobs": [{"case": "loop", "seconds": 2.0, "items/s": 16.0, "items": "images"}],
        "peer": {"measured": False, "why": "no --peer-path was given"},
        "notes": {"platform": "cuda", "left out": ["images, 512 px"]},
    }  # fmt: skip


def test_tables_are_those_of_the_json(tmp_path, monkeypatch, capsys):
    text = page.block(_run())
    assert "| images, 256 px | 0.5 | 2 |  |  | 0.25 |  |" in text
    assert "| gradient, 1024 px | out of memory |" in text
    assert "NVlabs' generator was not measured: no --peer-path was given." in text
    assert "Left out, as the time was over: images, 512 px." in text
    assert "4000" in text
    copy = tmp_path / "README.md"
    copy.write_text(f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n")
    (tmp_path / "gpu.json").write_text(json.dumps(_run()))
    monkeypatch.setattr(page, "PAGE", copy)
    assert page.main(["gpu", str(tmp_path / "gpu.json")]) == 0
    assert copy.read_text() == f"before\n{page.BEGIN}\n\n{text}\n\n{page.END}\nafter\n"
    (tmp_path / "other.json").write_text("{}")
    assert page.main(["gpu", str(tmp_path / "other.json")]) == 1
    assert "is not a run of make bench-gpu" in capsys.readouterr().err


def test_the_page_has_its_marks():
    text = Path(page.PAGE).read_text()
    assert compared.renewed(text, "new", marks=(page.BEGIN, page.END)).count("new\n\n<!-- gpu") == 1
    with pytest.raises(DataError, match="once"):
        compared.renewed("no marks", "new", marks=(page.BEGIN, page.END))


@pytest.mark.slow
def test_a_small_run_writes_everything(tmp_path, capsys):
    gpu.main(["--quick", "--repeats=1", f"--outdir={tmp_path}"])
    run = json.loads((tmp_path / "gpu.json").read_text())
    assert run["notes"]["device"] and run["notes"]["left out"] == []
    assert {row["work"] for row in run["rows"]} == {"images", "gradient"}
    assert {row["precision"] for row in run["rows"]} == set(gpu.PRECISIONS)
    assert all(row["of the roofline"] > 0 and row["bytes by XLA"] for row in run["rows"])
    motions = [row for row in run["numbers"] if "right way, device" in row]
    assert len(motions) == 5
    # The CPU is compared with itself: what differs is bfloat16 alone.
    worst = {name: 0.0 for name in gpu.PRECISIONS}
    for row in run["numbers"]:
        worst[row["precision"]] = max(worst[row["precision"]], row["largest error"])
    assert worst["float32"] < 1e-6 and 1e-4 < worst["bfloat16"] < 0.2
    assert all(job["items/s"] > 0 for job in run["jobs"])
    assert page.block(run)
