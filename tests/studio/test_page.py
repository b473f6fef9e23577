"""The page without a browser: NiceGUI's simulated user."""

from __future__ import annotations

import asyncio
import json
import re

import pytest

pytest.importorskip("nicegui")

from nicegui import ui
from nicegui.testing import user_simulation

from mm_jax import zoo
from mm_jax.studio import exports
from mm_jax.studio.page import Page
from mm_jax.studio.server import Links
from mm_jax.studio.session import Studio
from mm_jax.studio.widgets import MotionSlider, Stage
from mm_jax.studio.world import Worlds

pytestmark = pytest.mark.filterwarnings("default")

FIRST = f"seed{zoo.FACE:04d}"


def simulated(studio, check, **options):
    """Open the page as a user, and run `check(user, page)`."""

    async def run():
        pages = []

        async def root():
            page = Page(studio, Links(), ui.context.client, **options)
            pages.append(page)
            await page.build()

        async with user_simulation(root) as user:
            user.javascript_rules[re.compile("return sessionStorage.*")] = lambda match: None
            await user.open("/")
            await user.should_see(MotionSlider, retries=1500)
            await user.should_see("Take home", retries=20)
            await check(user, pages[0])
        return pages[0]

    return asyncio.run(run())


def slider(user, name):
    found = [s for s in user.find(MotionSlider).elements if s.props["title"] == name]
    assert len(found) == 1
    return found[0]


def tell(element, event, args):
    """What the browser sends when an element does something."""
    for listener in element._event_listeners.values():
        if listener.type == event:
            element._handle_event({"listener_id": listener.id, "args": args})


def test_a_drag_changes_the_document_and_undo_takes_it_back(studio):
    async def check(user, page):
        own = slider(user, "Smile")
        for i in range(5):
            tell(own, "move", {"value": i / 10, "seq": i})
        tell(own, "commit", {"value": 0.4, "seq": 5})
        assert page.session.document.motion("smile").strength == 0.4
        user.find("+ Keep this look").click()
        assert page.session.document.looks[0][1] == (("smile", 0.4),)
        page._undo()
        page._undo()
        assert page.session.document.motion("smile").strength == 0.0
        assert own.value == 0.0

    simulated(studio, check)


def test_faces_come_and_go(studio):
    async def check(user, page):
        user.find("Random").click()
        await user.should_see(content=FIRST.capitalize())
        for _ in range(200):
            if len(page.session.document.faces) == 2:
                break
            await asyncio.sleep(0.05)
        stage = next(iter(user.find(Stage).elements))
        assert stage.props["names"] == [face.name for face in page.session.document.faces]
        page.faces._remove(FIRST)
        page.faces._remove(page.session.document.faces[0].name)
        await user.should_see("No face yet")
        await page.home.png()
        await user.should_see("add one first", retries=20)

    simulated(studio, check)


def test_without_clip_learning_says_what_is_missing(studio):
    async def check(user, page):
        page.learning.prompt.value = "a smile"
        page.learning.learn()
        await user.should_see("hold {degree} once", retries=20)
        page.learning.prompt.value = "a person with {degree} beard"
        page.learning.learn()
        await user.should_see("start the studio with --clip", retries=100)

    simulated(studio, check)


def test_a_session_to_begin_with(studio, tmp_path):
    saved = []

    async def save(user, page):
        tell(slider(user, "Beard"), "commit", {"value": -0.5, "seq": 1})
        page.save_session()
        saved.append((await user.download.next()).content)
        await page.home.png()
        picture = (await user.download.next()).content
        assert picture == exports.png(page.session.world.gen, page.session.document)

    async def opened(user, page):
        assert page.session.document.motion("beard").strength == -0.5
        assert not page.session.history.can_undo

    simulated(studio, save, outdir=str(tmp_path))
    assert json.loads(saved[0])["motions"][1]["strength"] == -0.5
    assert (tmp_path / "studio.json").read_bytes() == saved[0]
    simulated(studio, opened, start=saved[0].decode())


def test_a_closed_page_frees_its_session(studio):
    async def check(user, page):
        assert page.session in studio.sessions
        page.close()
        assert page.session not in studio.sessions

    simulated(studio, check)


def test_a_slider_moves_in_calibrated_units_where_the_file_has_them(studio_dir):
    worlds = Worlds([str(studio_dir / "tiny")], subspaces=[str(studio_dir / "even.npz")])
    own = Studio(worlds)

    async def check(user, page):
        props = slider(user, "Even").props
        assert props["limits"] == [-0.5, 1.5]
        strengths, amounts = zip(*props["curve"], strict=True)
        assert strengths[0] == -2.0 and strengths[-1] == 2.0 and 0.5 in strengths
        assert list(amounts) == sorted(amounts) and amounts[strengths.index(0.0)] == 0.0
        assert [1.5, 0.8] in props["readings"]
        page.session.commit(page.session.document.change("even", layers=(0,)))
        page.refresh()
        assert props["curve"] is None and props["readings"] is None

    try:
        simulated(own, check)
    finally:
        own.close()


def test_playback_ends_where_something_else_is_shown(studio):
    async def check(user, page):
        own = slider(user, "Smile")
        page.timeline.play()
        await user.should_see("Nothing moves yet", retries=20)
        tell(own, "commit", {"value": 0.4, "seq": 1})
        icon = page.timeline.play_button.props
        page.timeline.play()
        assert icon["icon"] == "stop" and icon["aria-label"] == "Stop (P)"
        tell(own, "move", {"value": 0.5, "seq": 2})
        assert icon["icon"] == "play_arrow"
        page.timeline.play()
        page.timeline.play()
        assert icon["icon"] == "play_arrow" and icon["aria-label"] == "Play (P)"

    simulated(studio, check)
