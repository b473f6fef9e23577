"""Tables of benchmarks are those of the runs' files, and of one machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import TOPICS
from docs import benchmarks as page
from mm_jax.errors import DataError


def _run(topic: str, rows: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    machine = {
        "processor": "a processor", "cores": 2, "load before": 0.3, "date": "2026-01-02",
        "versions": {"python": "3.12", "jax": "0.10"},
    }  # fmt: skip
    machine |= changes.pop("machine", {})
    notes = {"matmul [GMAC/s]": 100.0, "convolution [GMAC/s]": 90.0}
    return {"topic": topic, "machine": machine, "arguments": changes, "rows": rows, "notes": notes}


def _row(ours: float, *peers: float, **further: float) -> dict[str, Any]:
    row = {"case": "256 px, batch 1", "mm_jax [s]": ours, "of the convolution rate": 1.25}
    return row | {f"peer {i} [s]": seconds for i, seconds in enumerate(peers)} | further


_LAYER = {"layer": "a layer", "direct [ms]": 1.0, "of the direct rate": 1.0, "taken": "direct"}


def test_images_are_compared_with_the_peers_faster_setting() -> None:
    runs = [
        _run("synthesis", [_row(0.5, 1.5, 1.0)]),
        _run("gradient", [_row(1.0, 3.0, **{"a step in a loop [s]": 0.9})]),
        _run("synthesis", [_row(0.7, 2.5, 2.0)], system_allocator=True),
    ]
    lines = page.images(runs).splitlines()
    assert lines[0].startswith("2 cores of a processor; python 3.12, jax 0.10; load before 0.3")
    assert "| images, 256 px, batch 1 | 0.5 | 1 | 2 | 2 | 4 |  | 125% |" in lines
    # Nothing of the peer as a program of its own; our loop is not taken for a peer.
    assert "| gradient, 256 px, batch 1 | 1 | 3 | 3 |  |  | 0.9 | 125% |" in lines
    assert "matmul [GMAC/s] 100, convolution [GMAC/s] 90" in lines[-1]
    with pytest.raises(DataError, match="without --system-allocator"):
        page.images(runs[2:])


def test_bfloat16_is_compared_with_the_peer_in_both() -> None:
    row = _row(
        0.5, 1.5, **{
            "mm_jax, bfloat16 [s]": 0.4, "peer, bfloat16 [s]": 0.6,
            "bfloat16, times as fast as the peer in bfloat16": 1.5,
            "bfloat16, times as fast as the peer in float32": 3.75,
        }
    )  # fmt: skip
    lines = page.images([_run("synthesis", [row])]).splitlines()
    assert "| images, 256 px, batch 1 | 0.5 | 1.5 | 3 |  |  |  | 125% |" in lines
    assert "| images, 256 px, batch 1 | 0.4 | 1.25 | 0.6 | 1.5 | 3.75 |" in lines


def test_layers_of_two_kinds_are_two_tables() -> None:
    rate = "of the direct rate"
    same = {"layer": "32 px", "direct [ms]": 2.0, "Winograd [ms]": 1.0, rate: 2.0}
    same["taken"] = "Winograd"
    doubling = {"layer": "16 to 32 px", "phases [ms]": 3.0, rate: 0.75, "taken": "phases"}
    text = page.layers([_run("layers", [same, doubling])])
    assert f"| layer | direct [ms] | Winograd [ms] | {rate} | taken |" in text
    assert "| 32 px | 2 | 1 | 200% | Winograd |" in text
    assert f"| layer | phases [ms] | {rate} | taken |" in text
    assert "| 16 to 32 px | 3 | 75% | phases |" in text


def test_runs_of_different_machines_are_refused() -> None:
    runs = [
        _run("synthesis", [_row(0.5)]),
        _run("synthesis", [_row(0.5)], machine={"processor": "another"}),
    ]
    with pytest.raises(DataError, match="different machines"):
        page.images(runs)


def test_what_is_shown_as_measured_has_a_table_for_each_machine() -> None:
    rows = [{"case": "a", "seconds": 1.0}, {"case": "b", "MiB": 2.0}]
    runs = [_run("batch", rows), _run("batch", rows[:1], machine={"processor": "another"})]
    text = page.as_measured(runs)
    assert text.count("2 cores of") == 2 and "2 cores of another;" in text
    assert "| case | seconds | MiB |\n| --- | --- | --- |\n| a | 1 |  |\n| b |  | 2 |" in text
    compiling = {"command": "sample", "flags": "mm_sample", "programs": 3, "exit status": 0}
    text = page.as_measured([_run("compiling", [compiling])])
    assert "| mm_sample | 3 |" in text and "exit status" not in text


def test_every_topic_has_its_place_in_the_page() -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    for name, _ in page.BLOCKS.values():
        assert text.count(f"<!-- {name}: begin -->") == text.count(f"<!-- {name}: end -->") == 1
    # Of text anchors what counts is beside a peer.
    assert set(TOPICS) - set(page.BLOCKS) == {"text_anchors"}


def test_the_page_is_renewed_between_its_marks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "README.md"
    copy.write_text(page.PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(page, "PAGE", copy)
    files = []
    for run in (
        _run("synthesis", [_row(0.125, 0.25)]),
        _run("layers", [_LAYER]),
        _run("media", [{"case": "frames", "seconds": 0.5}]),
    ):
        files.append(tmp_path / f"{run['topic']}.json")
        files[-1].write_text(json.dumps(run), encoding="utf-8")
    assert page.main(["", *map(str, files)]) == 0
    text = copy.read_text(encoding="utf-8")
    assert "| images, 256 px, batch 1 | 0.125 | 0.25 | 2 |" in text and "| a layer | 1 |" in text
    assert "| case | seconds |\n| --- | --- |\n| frames | 0.5 |\n\n<!-- media: end -->" in text
    # A file of something else changes nothing, and is said.
    (tmp_path / "other.json").write_text(json.dumps(_run("alike", [])), encoding="utf-8")
    assert page.main(["", str(tmp_path / "other.json")]) == 1
    assert (
        "is not a run of benchmarks.synthesis, gradient, layers, startup" in capsys.readouterr().err
    )
    assert copy.read_text(encoding="utf-8") == text
    assert page.main([""]) == 2
