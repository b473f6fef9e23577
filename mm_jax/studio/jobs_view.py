"""Jobs in work, as the page shows them."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from nicegui import ui

from mm_jax.progress import Pace
from mm_jax.studio.queues import Job
from mm_jax.studio.widgets import button

if TYPE_CHECKING:
    from mm_jax.studio.page import Page

__all__ = ["JobsView", "Preview", "TimeLeft"]


class Preview:
    """Pictures that a thread leaves for the page."""

    def __init__(self) -> None:
        self._pictures: list[bytes] = []

    def put(self, pictures: list[bytes]) -> None:
        """Leave pictures in place of those that were not taken."""
        self._pictures = pictures

    def take(self) -> list[bytes]:
        """The pictures, once."""
        pictures, self._pictures = self._pictures, []
        return pictures


class TimeLeft:
    """How long the present piece of a job's work will take, from how far it is each time."""

    def __init__(self) -> None:
        self._pace, self._seen = Pace(), ("", 0)

    def words(self, job: Job) -> str:
        """Such as ", about 5 s left"; "" as long as there is nothing to go by."""
        label, step = job.label, job.step
        if label != self._seen[0]:
            self._pace = Pace()
        if (label, step) != self._seen:
            self._pace.report(step)
            self._seen = (label, step)
        left = self._pace.left(job.steps - step)
        return f", about {left:.0f} s left" if left is not None and left >= 1 else ""


class JobsView:
    """The jobs of a page, with their progress.

    Args:
        page: whose jobs they are.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self._shown: list[tuple[Job, Callable[[], None]]] = []

    def follow(
        self,
        job: Job,
        place: ui.element,
        done: Callable[[Any], None],
        preview: Preview | None = None,
    ) -> None:
        """Show a job until it is over."""
        with place, ui.element("div").classes("job") as own:
            with ui.element("div").classes("job-head"):
                ui.label(job.title).classes("job-title")
                button("Cancel", None, lambda: self.page.studio.jobs.cancel(job))
            bar = ui.linear_progress(0, show_value=False).props('rounded aria-label="Progress"')
            words = ui.label("").classes("hint")
            shown = ui.element("div").classes("so-far")
        time_left = TimeLeft()

        def tick() -> None:
            if job.is_over:
                own.delete()
                if job.state == "failed":
                    self.page.warn(job.error)
                elif job.state == "done":
                    done(job.result)
                return
            bar.set_value(round(job.fraction, 3))
            ahead = f"Waiting: {job.ahead} job{'s' if job.ahead > 1 else ''} before yours"
            about = time_left.words(job)
            words.set_text(ahead if job.state == "waiting" else f"{job.label}{about}")
            if preview is not None and (pictures := preview.take()):
                shown.clear()
                with shown:
                    ui.label("So far:").classes("hint")
                    for picture, text in zip(pictures, ("-1", "0", "+1"), strict=True):
                        ui.html(
                            f'<img src="{_url(picture)}" alt="strength {text}">', sanitize=False
                        )

        self._shown.append((job, tick))

    def tick(self) -> None:
        """Show how far they are."""
        for entry in list(self._shown):
            job, tick = entry
            if job.is_over:
                self._shown.remove(entry)
            tick()


def _url(image: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(image).decode()}"
