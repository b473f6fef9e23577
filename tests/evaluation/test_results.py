"""The files of a topic."""

import json

import numpy as np
import pytest

from mm_jax.evaluation.results import Result, files_of, markdown, publish
from mm_jax.report import Table
from mm_jax.runs import RunFolder

TABLE = Table(
    ["what", "n", "PSNR", "note"],
    [["a", 3, 31.23456, None], ["b", 4, float("nan"), "c"]],
    units=["", "", "dB", ""],
    title="Likeness",
    caption="of two",
    digits=2,
)


def test_markdown():
    lines = markdown(TABLE).splitlines()
    assert lines[0] == "**Likeness**" and lines[-1] == "of two"
    assert lines[2:6] == [
        "| what | n | PSNR (dB) | note |",
        "| --- | --- | --- | --- |",
        "| a | 3 | 31.23 | \u2013 |",
        "| b | 4 | \u2013 | c |",
    ]


@pytest.mark.parametrize("topic", ["inversion", "video"])
def test_publish(tmp_path, topic):
    names = files_of(topic)
    run = RunFolder.open(tmp_path / "out", command="mm_eval", settings={}, outputs=names)
    result = Result(
        title="T",
        subtitle="s",
        metrics={"x": np.float32(0.5)},
        tables=[TABLE],
        key_metrics={"n": 3},
    )
    text = publish(result, run, topic)
    assert not run.missing()
    assert run.file(f"{topic}.md").read_text() == text
    assert json.loads(run.file(f"{topic}.json").read_text()) == {"x": 0.5}
    assert "Likeness" in run.file("report.html").read_text()
