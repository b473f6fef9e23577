"""The studio as a process, and a real browser: helpers of tests and of the recording."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
READY = '.stage[data-frame]:not([data-frame="0"])'

# Moves the first slider as a hand does, and measures from each input event to its picture.
MEASURE = """async (steps) => {
  const stage = document.querySelector(".stage"), input = document.querySelector(".motion input");
  const taken = [];
  for (let i = 0; i < steps; i++) {
    input.value = (1.5 * Math.sin(0.7 * i) + 0.0137 * i).toFixed(2);
    const began = performance.now();
    input.dispatchEvent(new Event("input", { bubbles: true }));
    const wanted = window.studioSeq;
    await new Promise((done) => {
      const look = () => Number(stage.dataset.seq) >= wanted ? done() : requestAnimationFrame(look);
      look();
    });
    taken.push(performance.now() - began);
    await new Promise((done) => setTimeout(done, 20));
  }
  return taken;
}"""


def chromium() -> str | None:
    """The browser's program, or None."""
    return shutil.which("chromium") or shutil.which("google-chrome")


class Server:
    """`mm_studio` as a process of its own.

    Args:
        *flags: further flags.
        port: where it listens; by default one for this process.
    """

    def __init__(self, *flags: str, port: int = 0) -> None:
        self._flags = flags
        self.port = port or 18000 + os.getpid() % 2000
        self.url = ""
        self.lines: list[str] = []
        self.start()

    def start(self) -> None:
        """Start the process, and wait until it says where it is."""
        command = [sys.executable, str(ROOT / "bin" / "mm_studio.py"), "--noopen", *self._flags]
        command.append(f"--port={self.port}")
        # NiceGUI behaves otherwise where it finds a test's variables.
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
        environment = {**inherited, "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert self.process.stdout is not None
        told = threading.Event()
        self.url = ""

        def read(stream: Any) -> None:
            for line in stream:
                self.lines.append(line)
                if match := re.search(r"http://\S+", line):
                    self.url = match[0]
                    told.set()
            told.set()

        self._reader = threading.Thread(target=read, args=(self.process.stdout,), daemon=True)
        self._reader.start()
        told.wait(60)
        if not self.url or self.process.poll() is not None:
            self.stop(kill=True)
            raise AssertionError("".join(self.lines))

    @property
    def memory(self) -> float:
        """Resident memory in MiB."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+)", text)[0]) / 1024

    def stop(self, *, kill: bool = False) -> None:
        """End the process."""
        self.process.send_signal(signal.SIGKILL if kill else signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(20)
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self._reader.join(10)
        self.process.stdout.close()


@contextlib.contextmanager
def browser(*flags: str) -> Iterator[Any]:
    """A headless Chromium with further flags, by Playwright."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play, another_browser(play.chromium, *flags) as own:
        yield own


@contextlib.contextmanager
def another_browser(kind: Any, *flags: str) -> Iterator[Any]:
    """A further browser of a kind, with flags of its own: Playwright can be started only once."""
    own = kind.launch(executable_path=chromium(), args=["--no-sandbox", *flags])
    try:
        yield own
    finally:
        own.close()


@contextlib.contextmanager
def visit(
    browser: Any,
    url: str,
    *,
    width: int = 1440,
    height: int = 900,
    dark: bool = False,
    messages: list[str] | None = None,
    **options: Any,
) -> Iterator[Any]:
    """A page of the studio, ready; what it writes to the console is put into `messages`."""
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if dark else "light",
        accept_downloads=True,
        **options,
    )
    page = context.new_page()
    heard = [] if messages is None else messages
    page.on("console", lambda message: heard.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: heard.append(f"pageerror: {error}"))
    page.goto(url)
    page.wait_for_selector(READY, timeout=120_000)
    yield page
    context.close()


def slide(page: Any, title: str, value: float, *, let_go: bool = True) -> None:
    """Put a slider somewhere, and wait for its picture."""
    page.evaluate(
        """async ([title, value, letGo]) => {
          const rows = [...document.querySelectorAll(".motion")];
          const row = rows.find((row) => row.querySelector("label").textContent === title);
          const input = row.querySelector("input"), stage = document.querySelector(".stage");
          input.value = value;
          input.dispatchEvent(new Event("input", { bubbles: true }));
          if (letGo) input.dispatchEvent(new Event("change", { bubbles: true }));
          const wanted = window.studioSeq;
          while (Number(stage.dataset.seq) < wanted) await new Promise(requestAnimationFrame);
        }""",
        [title, value, let_go],
    )


def drag(page: Any, title: str, to: float) -> None:
    """Drag a slider by the mouse to a fraction of its track; it has the focus then."""
    own = page.locator(".motion", has=page.locator(f'label:text-is("{title}")')).locator("input")
    own.scroll_into_view_if_needed()
    low, high, value = (float(own.get_attribute(name)) for name in ("min", "max", "value"))
    box, thumb = own.bounding_box(), 20
    run, y = box["width"] - thumb, box["y"] + box["height"] / 2
    left = box["x"] + thumb / 2
    page.mouse.move(left + run * (value - low) / (high - low), y)
    page.mouse.down()
    page.mouse.move(left + run * to, y, steps=4)
    page.mouse.up()


def pixels(page: Any, which: str = "after", place: int = 0) -> list[int]:
    """The pixels of a canvas."""
    return page.evaluate(
        """([which, place]) => {
          const canvas = document.querySelectorAll(`canvas.${which}`)[place];
          const { width, height } = canvas;
          return [...canvas.getContext("2d").getImageData(0, 0, width, height).data];
        }""",
        [which, place],
    )


def choose_file(page: Any, selector: str, file: Any) -> None:
    """Click what asks for a file, and give it one."""
    with page.expect_file_chooser() as chooser:
        page.click(selector)
    chooser.value.set_files(file)


def drop_file(page: Any, file: Path, kind: str) -> None:
    """Drop a file of a media type on the stage."""
    page.evaluate(
        """([name, type, content]) => {
          const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
          const data = new DataTransfer();
          data.items.add(new File([bytes], name, { type }));
          const how = { dataTransfer: data, bubbles: true, cancelable: true };
          document.querySelector(".stage").dispatchEvent(new DragEvent("drop", how));
        }""",
        [file.name, kind, base64.b64encode(file.read_bytes()).decode()],
    )


def camera_file(image: np.ndarray, file: Path) -> None:
    """Write what Chromium's fake camera shows: an image [H, W, 3] uint8 of even sides, as Y4M."""
    luma, *colours = Image.fromarray(image).convert("YCbCr").split()
    half = (image.shape[1] // 2, image.shape[0] // 2)
    planes = [luma, *(colour.resize(half, Image.Resampling.BOX) for colour in colours)]
    frame = b"FRAME\n" + b"".join(plane.tobytes() for plane in planes)
    head = f"YUV4MPEG2 W{image.shape[1]} H{image.shape[0]} F10:1 Ip A1:1 C420jpeg\n"
    file.write_bytes(head.encode() + 4 * frame)


def wait_until(check: Any, timeout: float = 60.0) -> None:
    """Wait until a call returns something true."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if check():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come")
