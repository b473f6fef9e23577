"""Record the studio for the docs, by driving the page in Chromium: a short film, and pictures.

    python -m docs.record_studio --outdir=docs

Every step waits for its picture, so the film is as smooth on a slow computer as on a fast one. It
needs the extras studio and test-browser.
"""

from __future__ import annotations

import argparse
import io
import math
from pathlib import Path
from typing import Any

from PIL import Image

from tests.studio.browser import Server, browser, slide, visit

SIZE = (1280, 800)
SHOWN = (960, 600)
FPS = 10
LONGEST = 20
# From each strength to the next one in so many pictures.
SMOOTH = 8
PROMPT = "a person with {degree} beard"
# The seed of the face that joins the first one.
SECOND = 57


def shot(page: Any) -> Image.Image:
    """The page as it is."""
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


class Film:
    """Pictures of a page, one for each tenth of a second.

    Args:
        page: what is filmed.
    """

    def __init__(self, page: Any) -> None:
        self._page = page
        self.pictures: list[Image.Image] = []

    def take(self, count: int = 1) -> None:
        """Add the page as it is, for so many tenths of a second."""
        self.pictures += [shot(self._page).resize(SHOWN, Image.Resampling.LANCZOS)] * count

    def drag(self, title: str, start: float, end: float) -> None:
        """Drag a slider, with the pointer on it."""
        for i in range(SMOOTH + 1):
            ease = (1 - math.cos(math.pi * i / SMOOTH)) / 2
            slide(self._page, title, round(start + ease * (end - start), 2), let_go=i == SMOOTH)
            self.take()

    def save(self, path: Path) -> None:
        """Write the film as an animated WebP that loops."""
        seconds = len(self.pictures) / FPS
        if seconds > LONGEST:
            raise SystemExit(f"the film must be at most {LONGEST} s long, got {seconds:.1f}")
        self.pictures[0].save(
            path, save_all=True, append_images=self.pictures[1:], duration=1000 // FPS, loop=0,
            quality=82, method=4,
        )  # fmt: skip


def film(page: Any) -> Film:
    """Less than twenty seconds of work in the studio, however long they take."""
    own = Film(page)
    own.take(8)
    own.drag("Smile", 0, 1.3)
    own.take(5)
    page.click(".modes >> text=Split")
    for place in (0.5, 0.35, 0.2, 0.5, 0.8, 0.65, 0.5):
        box = page.locator(".pictures").first.bounding_box()
        page.mouse.move(box["x"] + box["width"] * place, box["y"] + 120)
        page.mouse.down()
        page.mouse.up()
        own.take(2)
    page.click(".modes >> text=Difference")
    own.take(8)
    page.click(".modes >> text=Edited")
    page.click(".adders >> text=More")
    page.click("text=Face of a seed")
    page.fill(".ask input >> nth=0", str(SECOND))
    own.take(3)
    page.click(".ask .primary")
    page.wait_for_function("document.querySelectorAll('.cell').length === 2", timeout=300_000)
    page.wait_for_timeout(1500)
    own.take(5)
    own.drag("Head turn", 0, 1.2)
    own.drag("Head turn", 1.2, -0.8)
    page.click(".looks >> text=Neutral")
    page.wait_for_timeout(500)
    own.take(5)
    learn(own, page)
    page.click('[aria-label="Light, dark, or as the system"]')
    page.wait_for_timeout(800)
    own.drag("Smile", 0, 1.0)
    own.take(10)
    return own


def learn(own: Film, page: Any) -> None:
    """A motion is learnt from a prompt, and moves both faces."""
    page.click(".prompt input")
    for i, letter in enumerate(PROMPT):
        page.keyboard.type(letter)
        if i % 4 == 0:
            own.take()
    own.take(4)
    page.click(".learn-card .primary")
    page.wait_for_selector(".learn-card .job", timeout=60_000)
    page.mouse.wheel(0, 200)
    # The work takes longer than its pictures: one where something new is said, some to look at what
    # the motion looks like so far.
    told, taken = "", 0
    while page.locator(".learnt").count() == 0:
        words = page.locator(".learn-card .job .hint").first.all_inner_texts()
        now = f"{words} {page.locator('.so-far img').count()}"
        if now != told and taken < 16:
            told, taken = now, taken + 1
            own.take()
        page.wait_for_timeout(700)
    page.wait_for_timeout(500)
    own.take(8)
    title = page.locator(".motion label").last.inner_text()
    own.drag(title, 0, 1.2)
    own.take(10)


def main() -> None:
    """Write the film and the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--outdir", type=Path, default=Path("docs"))
    outdir = parser.parse_args().outdir
    server = Server(port=17980)
    try:
        with browser() as chrome:
            with visit(chrome, server.url, width=SIZE[0], height=SIZE[1]) as page:
                film(page).save(outdir / "studio.webp")
            for name, dark, width, height in (
                ("light", False, 1440, 900),
                ("dark", True, 1440, 900),
                ("phone", False, 390, 844),
            ):
                with visit(chrome, server.url, width=width, height=height, dark=dark) as page:
                    slide(page, "Smile", 1.2)
                    shot(page).save(outdir / f"studio_{name}.webp", quality=90, method=6)
    finally:
        server.stop()


if __name__ == "__main__":
    main()
