"""Who may come in, and how frames go out."""

from __future__ import annotations

import asyncio
import json
import socket

import pytest

pytest.importorskip("nicegui")

from mm_jax.studio.server import COOKIE, Guard, Links, free_port, pack
from mm_jax.studio.session import Frame


async def app(scope, receive, send):
    """Counts a body's bytes, or accepts a websocket."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        return
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size, more = size + len(message["body"]), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(size).encode()})


def ask(
    method="GET",
    *,
    host="localhost:8420",
    path="/",
    body=(b"",),
    length=True,
    headers=(),
    **options,
):
    """What a guarded app answers: (status, or None if it gives up, headers, body)."""
    kind = "websocket" if method == "WS" else "http"
    given = {"host": host, **dict(headers)}
    if length and kind == "http":
        given["content-length"] = str(sum(map(len, body)))
    where, _, query = path.partition("?")
    scope = {
        "type": kind, "method": method, "path": where, "query_string": query.encode(),
        "headers": [(k.encode(), v.encode()) for k, v in given.items()],
    }  # fmt: skip
    parts = [
        {"type": "http.request", "body": part, "more_body": i + 1 < len(body)}
        for i, part in enumerate(body)
    ]
    incoming = iter(parts if kind == "http" else [{"type": "websocket.connect"}])
    sent = []

    async def receive():
        return next(incoming)

    async def send(message):
        sent.append(message)

    asyncio.run(Guard(app, **options)(scope, receive, send))
    if not sent:
        return None, {}, b""
    if kind == "websocket":
        return sent[0]["type"].removeprefix("websocket."), {}, b""
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


def test_this_computer_may_come_in():
    assert ask()[0] == 200
    own = {"origin": "http://localhost:8420"}
    assert ask("POST", body=(b"ab", b"c"), headers=own)[::2] == (200, b"3")
    assert ask("WS", headers=own)[0] == "accept"


def test_other_names_of_this_computer_are_refused():
    # A page of evil.example whose name points to 127.0.0.1.
    for host in ("evil.example", "evil.example:8420", "127.0.0.1.evil.example", ""):
        assert ask(host=host)[0] == 403
        assert ask("WS", host=host)[0] == "close"
    for host in ("127.0.0.1:8420", "[::1]:8420"):
        assert ask(host=host)[0] == 200


def test_other_pages_are_refused():
    other = {"origin": "http://evil.example"}
    assert ask("POST", headers=other)[0] == 403
    assert ask("WS", headers=other)[0] == "close"


def test_a_token_is_wanted_once_and_then_remembered():
    outside = {"host": "10.0.0.7", "token": "secret", "hosts": None}
    assert ask(**outside)[0] == 401
    assert ask(path="/?token=secreT", **outside)[0] == 401
    assert ask("WS", **outside)[0] == "close"
    status, headers, _ = ask(path="/?token=secret", **outside)
    cookie = headers[b"set-cookie"].decode()
    assert status == 200 and "HttpOnly" in cookie and "SameSite=Strict" in cookie
    own = {"cookie": cookie.split(";")[0]}
    assert ask(headers=own, **outside)[0] == 200
    assert ask("WS", headers=own, **outside)[0] == "accept"
    assert ask(headers={"cookie": f"{COOKIE}=other"}, **outside)[0] == 401
    # A name that is not ASCII compares, too.
    assert ask(path="/?token=%C3%A9", **outside)[0] == 401


def test_bodies_are_limited():
    assert ask("POST", body=(bytes(1000),), max_bytes=1000)[::2] == (200, b"1000")
    assert ask("POST", body=(bytes(1001),), max_bytes=1000)[0] == 413
    assert ask("POST", body=(bytes(400),) * 3, length=False, max_bytes=1000)[0] is None
    assert ask("POST", headers={"content-length": "x"}, length=False)[0] == 413


def test_a_packed_frame():
    data = pack(Frame("edited", [b"abc", b"de"], 7))
    length = int.from_bytes(data[:4], "little")
    head = json.loads(data[4 : 4 + length])
    assert (head["kind"], head["seq"], head["sizes"]) == ("edited", 7, [3, 2])
    assert data[4 + length :] == b"abcde"


class Browser:
    """A websocket that takes what it is sent."""

    def __init__(self):
        self.sent, self.left = [], asyncio.Event()

    async def accept(self):
        pass

    async def receive(self):
        await self.left.wait()
        return {"type": "websocket.disconnect"}

    async def send_bytes(self, data):
        length = int.from_bytes(data[:4], "little")
        self.sent.append(json.loads(data[4 : 4 + length]))

    async def close(self, code):
        self.sent.append(code)


def test_a_link_sends_the_newest_and_every_frame_of_the_animation():
    async def run():
        links, browser = Links(), Browser()
        name = links.open()
        for seq in range(5):
            links.put(name, Frame("edited", [b"x"], seq))
        for index in range(3):
            links.put(name, Frame("animation", [b"x"], index=index, total=3))
        links.put("another", Frame("edited", [b"x"], 99))
        await asyncio.sleep(0)
        serving = asyncio.create_task(links.serve(browser, name))
        while len(browser.sent) < 4:
            await asyncio.sleep(0.001)
        browser.left.set()
        await asyncio.wait_for(serving, 5)
        assert [head["seq"] for head in browser.sent if head["kind"] == "edited"] == [4]
        assert [head["index"] for head in browser.sent if head["kind"] == "animation"] == [0, 1, 2]
        links.close(name)
        stranger = Browser()
        await links.serve(stranger, name)
        assert stranger.sent == [1008]

    asyncio.run(run())


def test_the_next_free_port_is_taken():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = held.getsockname()[1]
        assert port < free_port("127.0.0.1", port) < port + 20
        with pytest.raises(OSError, match="taken"):
            free_port("127.0.0.1", port, tries=1)
