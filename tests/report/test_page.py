import base64
import html
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mm_jax import media
from mm_jax.errors import DataError, UsageError
from mm_jax.report import (
    Code,
    Columns,
    Figure,
    Metrics,
    Section,
    Svg,
    Table,
    Text,
    Video,
    render_report,
    write_report,
)
from mm_jax.report.plots import spectrum_chart

VOID = {"meta", "img", "input", "source", "br", "line", "rect", "circle", "path"}


class Checker(HTMLParser):
    """Follows the tags, and collects text and addresses."""

    def __init__(self):
        super().__init__()
        self.stack, self.tags, self.texts, self.addresses = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.stack.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def check(text):
    checker = Checker()
    checker.feed(text)
    checker.close()
    assert not checker.stack
    return checker


@pytest.fixture
def files(tmp_path):
    image = np.zeros((4, 6, 3), np.uint8)
    media.save_png(tmp_path / "pictures" / "a b#1.png", image)
    media.save_mp4(tmp_path / "clip.mp4", np.zeros((2, 16, 16, 3), np.uint8))
    return tmp_path


def sections(folder):
    return [
        Section("One", [Figure(folder / "pictures" / "a b#1.png", "caption", "title", crisp=True)]),
        Section(
            "Two",
            [
                Text("first\n\nsecond"),
                Code("make demo"),
                Metrics({"rank": 1, "time": (2.5, "s")}),
                Columns([Video(folder / "clip.mp4", autoplay=True), Text("beside")], least=200),
                Svg(spectrum_chart([2.0, 1.0], title="t"), "spectrum"),
                Table(["name", "value"], [["a", 1.0]]),
            ],
            intro="intro",
        ),
    ]


def test_a_page_needs_nothing_but_itself(files):
    path = write_report(files, "Title", sections(files), subtitle="sub", metrics={"n": 3})
    assert path == files / "report.html"
    page = check(path.read_text(encoding="utf-8"))
    sources = [a for a in page.addresses if not a.startswith("#")]
    assert len(sources) == 2
    assert sources[0].startswith("data:image/png;base64,")
    assert sources[1].startswith("data:video/mp4;base64,")
    assert "http" not in re.sub(r'xmlns="[^"]*"', "", path.read_text(encoding="utf-8"))
    assert page.tags.count("section") == 2 and "svg" in page.tags and "script" not in page.tags
    text = path.read_text(encoding="utf-8")
    assert "<video" in text and "controls" in text and "autoplay" in text
    assert re.search(r'<video[^>]* aria-label="[^"]+"', text)


def test_linked_files_are_found_from_the_page(files):
    path = write_report(files / "out", "Title", sections(files), embed=False)
    page = check(path.read_text(encoding="utf-8"))
    assert "../pictures/a%20b%231.png" in page.addresses and "../clip.mp4" in page.addresses


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=40))
def test_any_text_is_shown_as_it_is(text):
    evil = text + "<script>alert(1)</script>\"'&"
    items = [
        Text(evil),
        Code(evil),
        Metrics({evil: evil}),
        Table([evil, "b"], [[evil, evil]], units=[evil, ""], caption=evil, title=evil),
        Columns([Svg("<svg></svg>", evil, evil)]),
    ]
    page = render_report(evil, [Section(evil, items, intro=evil)], subtitle=evil, footer=evil)
    checker = check(page)
    assert "script" not in checker.tags
    assert any("<script>alert(1)</script>" in shown for shown in checker.texts)


def test_cells_are_formatted_and_judged():
    table = Table(
        ["motion", "score", "leak", "n", "ok", "note"],
        [
            ["smile", 0.97, np.float32(0.5), 1200, True, "text"],
            ["age", -0.5, float("nan"), np.int64(-3), False, "more"],
            ["yaw", None, 0.1, 0, True, "x"],
        ],
        limits={"score": (0.9, None), "leak": (None, 0.3)},
        digits=2,
    )
    text = render_report("t", [Section("s", [table])])
    check(text)
    for cell in (
        '<td class="good">0.97</td>',
        '<td class="bad">0.50</td>',
        '<td class="bad">\u22120.50</td>',
        '<td class="bad">\u2013</td>',
        "<td>1,200</td>",
        "<td>\u22123</td>",
        "<td>yes</td>",
        '<td class="text">text</td>',
        "<td>\u2013</td>",
        '<th scope="row">smile</th>',
    ):
        assert cell in text, cell


@pytest.mark.parametrize("embed", [True, False])
def test_missing_and_unknown_files_are_refused(tmp_path, embed):
    with pytest.raises(DataError, match="cannot read"):
        write_report(tmp_path, "t", [Section("s", [Figure(tmp_path / "a.png")])], embed=embed)
    with pytest.raises(UsageError, match=r"\.png"):
        write_report(tmp_path, "t", [Section("s", [Figure(tmp_path / "a.txt")])], embed=embed)
    assert not list(tmp_path.iterdir())


def test_a_strip_gets_a_slider_and_a_video_its_first_frame(tmp_path):
    frames = np.zeros((3, 16, 16, 3), np.uint8)
    frames[0] = 200
    media.save_png(tmp_path / "strip.png", media.strip(frames))
    media.save_mp4(tmp_path / "a.mp4", frames)
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    labels = ['"><script>', "0", "+1"]
    items = [Figure(tmp_path / "strip.png", frames=labels), Video(tmp_path / "a.mp4")]
    text = write_report(tmp_path, "t", [Section("s", items)], embed=False).read_text()
    page = check(text)
    assert page.tags.count("script") == 1 and page.tags.count("input") == 1
    attributes = re.search(r'data-frames="([^"]*)"', text)
    assert attributes is not None and json.loads(html.unescape(attributes[1])) == labels
    assert 'max="2"' in text and 'preload="none"' in text
    poster = re.search(r'poster="data:image/jpeg;base64,([^"]*)"', text)
    assert poster is not None
    first = np.asarray(Image.open(io.BytesIO(base64.b64decode(poster[1]))))
    assert np.abs(first.astype(int) - 200).max() < 8
    bad = render_report("t", [Section("s", [Video(tmp_path / "bad.mp4")])])
    assert "poster" not in bad and "<script>" not in bad


def test_tables_that_do_not_fit_are_refused():
    for table in (Table(["a"], [[1, 2]]), Table(["a"], [[1]], units=["x", "y"])):
        with pytest.raises(UsageError, match="a table of 1 columns"):
            render_report("t", [Section("s", [table])])
    with pytest.raises(UsageError, match="cannot show a str"):
        render_report("t", [Section("s", ["text"])])  # type: ignore[list-item]
