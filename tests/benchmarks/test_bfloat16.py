"""The tables of what bfloat16 gains and costs are those of the json."""

import json
from pathlib import Path

from docs import bfloat16 as page
from docs import compared


def _run(part, rows, load):
    machine = {
        "cores": 2, "processor": "a processor", "load before": load, "date": "today",
        "versions": {"python": "3", "jax": "0", "flax": "0"},
    }  # fmt: skip
    return {"topic": "bfloat16", "machine": machine, "rows": rows, "parts": {part: rows}}


RUNS = (
    _run("layers", [{"layer": "64 px", "error": 0.01}, {"layer": "8 px", "more": 2}], 0.5),
    _run("motions", [{"motion": "smile", "1 - cosine": 4.4321e-5}], 2.0),
)


def test_tables_of_several_files(tmp_path, monkeypatch, capsys):
    text = page.block(RUNS)
    assert text.startswith("2 cores of a processor; python 3, jax 0; load before 0.5 to 2; today.")
    assert "| layer | error | more |\n" in text
    assert "| 64 px | 0.01 |  |\n| 8 px |  | 2 |" in text
    assert "| smile | 4.43e-05 |" in text
    copy = tmp_path / "README.md"
    copy.write_text(f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n")
    files = [tmp_path / f"{i}.json" for i in range(len(RUNS))]
    for file, run in zip(files, RUNS, strict=True):
        file.write_text(json.dumps(run))
    monkeypatch.setattr(page, "PAGE", copy)
    assert page.main(["bfloat16", *map(str, files)]) == 0
    assert copy.read_text() == f"before\n{page.BEGIN}\n\n{text}\n\n{page.END}\nafter\n"
    (tmp_path / "other.json").write_text("{}")
    assert page.main(["bfloat16", str(tmp_path / "other.json")]) == 1
    assert "is not a run of python -m benchmarks.bfloat16" in capsys.readouterr().err


def test_the_page_has_its_marks():
    text = Path(page.PAGE).read_text()
    assert compared.renewed(text, "new", marks=(page.BEGIN, page.END)).count("new") >= 1
