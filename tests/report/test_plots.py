import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mm_jax.errors import DataError, UsageError
from mm_jax.report import plots
from mm_jax.report.axes import Axis, nice_ticks, number

SVG = "{http://www.w3.org/2000/svg}"
VALUES = st.floats(-1e9, 1e9)


def parse(text):
    root = ET.fromstring(text)
    assert root.tag == SVG + "svg"
    return root


def coordinates(root):
    """All numbers of all paths and points, which must lie inside the picture."""
    found = []
    for path in root.iter(SVG + "path"):
        found += [float(n) for n in re.findall(r"-?\d+\.?\d*", path.attrib["d"])]
    for circle in root.iter(SVG + "circle"):
        found += [float(circle.attrib["cx"]), float(circle.attrib["cy"])]
    return found


@settings(max_examples=200, deadline=None)
@given(VALUES, VALUES, st.integers(1, 10))
@example(250000000.0, -0.5, 1)
@example(-999999939.0, -999999941.0, 1)
def test_ticks_are_few_round_and_cover(a, b, count):
    low, high = sorted((a, b))
    ticks = nice_ticks(low, high, count)
    slack = max(1e-9 * max(abs(low), abs(high)), 1e-280)
    assert ticks == sorted(ticks) and 2 <= len(ticks) <= count + 3
    assert ticks[0] <= low + slack and ticks[-1] >= high - slack


def test_ticks_refuse_what_is_no_interval():
    for low, high in ((1, 0), (0, float("inf")), (float("nan"), 1)):
        with pytest.raises(UsageError, match="finite bounds"):
            nice_ticks(low, high)


def test_numbers_are_short():
    shown = [number(v) for v in (0, 0.25, -0.5, 1200, 3e-5, 2e6)]
    assert shown == ["0", "0.25", "\u22120.5", "1,200", "3e-05", "2e+06"]


def test_logarithmic_axes_go_by_decades():
    axis = Axis.over([0.02, 30.0, 0.0], log=True)
    assert axis.ticks == pytest.approx([0.01, 0.1, 1, 10, 100])
    assert axis.at(1.0) == pytest.approx(0.5) and axis.at(-1.0) == 0
    with pytest.raises(UsageError, match="positive"):
        Axis.over([0.0], log=True)


@settings(max_examples=50, deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=12), st.booleans())
def test_lines_stay_inside_the_picture(values, band):
    x = np.arange(len(values))
    spread = np.abs(values) if band else None
    series = [plots.Series("a", x, values, spread=spread, markers=True), plots.Series("b", x, x)]
    root = parse(plots.line_chart(series, title="t", x_label="x", y_label="y"))
    assert all(-1 <= value <= 561 for value in coordinates(root))


def test_text_is_escaped():
    text = plots.line_chart(
        [plots.Series("<b>&", [0, 1], [0, 1]), plots.Series("c", [0], [1])],
        title='"><script>',
        x_label="a<b",
    )
    parse(text)
    assert "<script>" not in text and "&lt;b&gt;&amp;" in text and "a&lt;b" in text


def test_spectrum_marks_what_was_kept():
    root = parse(plots.spectrum_chart([4.0, 3.0, 0.0], title="t", rank=1))
    bars = list(root.iter(SVG + "rect"))
    assert len(bars) == 3 and bars[0].attrib["fill"] != bars[1].attrib["fill"]
    texts = [element.text for element in root.iter(SVG + "text")]
    assert "64%" in texts and "100%" in texts
    by_rows = plots.spectrum_chart([[4.0, 0.0], [0.0, 3.0]], title="t")
    assert "64%" in by_rows
    parse(plots.spectrum_chart(np.zeros(3), title="t"))


def test_bars_below_zero_hang_down():
    root = parse(plots.bar_chart([1.0, -1.0], title="t", names=["up", "down"]))
    up, down = (float(bar.attrib["y"]) for bar in root.iter(SVG + "rect"))
    assert up < down


def test_response_draws_the_target_over_the_others():
    rng = np.random.default_rng(0)
    text = plots.response_chart(
        [-1, 0, 1],
        rng.normal(size=(5, 3, 4)),
        names=["smile", "age", "yaw", "pitch"],
        target=1,
        title="t",
    )
    root = parse(text)
    lines = [p for p in root.iter(SVG + "path") if p.attrib["fill"] == "none"]
    assert len(lines) == 4 and lines[-1].attrib["stroke"] != lines[0].attrib["stroke"]
    texts = [element.text for element in root.iter(SVG + "text")]
    assert "age" in texts and "all other factors" in texts and "smile" not in texts
    assert len(list(root.iter(SVG + "circle"))) == 3


def test_many_losses_are_coloured_as_a_sequence():
    names = [f"{k}0%" for k in range(6)]
    root = parse(plots.loss_chart(np.ones((4, 6)), title="t", names=names))
    colours = [path.attrib["stroke"] for path in root.iter(SVG + "path")]
    assert len(set(colours)) == 6
    texts = [element.text for element in root.iter(SVG + "text")]
    assert "00%" in texts and "50%" in texts and "10%" not in texts
    parse(plots.loss_chart([0.5], title="t"))


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plots.line_chart([], title="t"),
        lambda: plots.line_chart([plots.Series("a", [0, 1], [0])], title="t"),
        lambda: plots.line_chart([plots.Series("a", [0], [np.nan])], title="t"),
        lambda: plots.line_chart([plots.Series("a", [0], [1], spread=[1, 2])], title="t"),
        lambda: plots.bar_chart([], title="t"),
        lambda: plots.bar_chart([1.0], names=["a", "b"], title="t"),
        lambda: plots.spectrum_chart([np.inf], title="t"),
        lambda: plots.response_chart([0, 1], np.ones((2, 3, 1)), names=["a"], target=0, title="t"),
        lambda: plots.loss_chart(np.ones((2, 0)), title="t"),
        lambda: plots.loss_chart(np.ones((2, 2)), names=["a"], title="t"),
    ],
)
def test_what_cannot_be_drawn_is_a_data_error(draw):
    with pytest.raises(DataError):
        draw()
