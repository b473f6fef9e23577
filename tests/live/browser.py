"""A live face in Chromium: what tests do with it."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest


@contextlib.contextmanager
def chrome():
    """A browser; tests are skipped where there is none."""
    pytest.importorskip("playwright", reason="the extra test-browser is not installed")
    from tests.studio import browser

    if browser.chromium() is None:
        pytest.skip("no Chromium")
    # WebGPU on the processor, for computers without a graphics card.
    flags = "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"
    with browser.browser(*flags) as own:
        yield own


@contextlib.contextmanager
def opened(chrome, address, **options):
    context = chrome.new_context(**options)
    page = context.new_page()
    page.set_default_timeout(240_000)
    page.goto(address)
    yield page
    context.close()


def settle(page):
    """Wait for the picture of the newest wish."""
    page.wait_for_function(
        """() => {
          const { state, seq, asked } = document.querySelector(".live").dataset;
          return state === "stopped" || (asked && seq === asked);
        }"""
    )
    assert page.get_attribute(".live", "data-state") == "ready", page.inner_text(".live-status")


def slide(page, name, value):
    page.evaluate(
        """([name, value]) => {
          const input = document.querySelector(`.live input[name="${name}"]`);
          input.value = value;
          input.dispatchEvent(new Event("input", { bubbles: true }));
        }""",
        [name, value],
    )


def shown(page):
    """The face that is drawn, the strengths, and the picture [R, R, 3]."""
    face, strengths, pixels = page.evaluate(
        """() => {
          const root = document.querySelector(".live"), canvas = root.querySelector("canvas");
          const { width, height } = canvas;
          const image = canvas.getContext("2d").getImageData(0, 0, width, height);
          const values = [...root.querySelectorAll("input")].map((i) => [i.name, Number(i.value)]);
          return [JSON.parse(root.dataset.face), Object.fromEntries(values), [...image.data]];
        }"""
    )
    side = round((len(pixels) / 4) ** 0.5)
    return face, strengths, np.array(pixels, np.int32).reshape(side, side, 4)[..., :3]


def names_of(page):
    return page.eval_on_selector_all(".live input", "inputs => inputs.map((i) => i.name)")
