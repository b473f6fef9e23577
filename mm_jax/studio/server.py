"""The server of the studio: who may come in, and the frames' websocket.

Everything is served to this computer alone unless the user asks for another address, and then only
to those who know the token. Bodies of requests are limited before anything reads them.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import secrets
import socket
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

from mm_jax.studio.session import Frame

__all__ = ["LOCAL_HOSTS", "MAX_BODY", "Guard", "Links", "free_port", "pack"]

MAX_BODY = 64 << 20
COOKIE = "mm_studio"
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")

Scope = dict[str, Any]
Receive = Callable[[], Any]
Send = Callable[[dict[str, Any]], Any]


class Guard:
    """An ASGI middleware that lets in who may come in.

    A request must name a host that is meant (another name is a page of somebody else's that points
    to this address), a websocket must come from a page of that host, and where there is a token the
    request must bring it, once as `?token=` and later as a cookie.

    Args:
        app: what is guarded.
        token: or None for this computer's own.
        hosts: names that requests may be sent to; None for any.
        max_bytes: of a body.
    """

    def __init__(
        self, app: Any, *, token: str | None = None, hosts: tuple[str, ...] | None = LOCAL_HOSTS,
        max_bytes: int = MAX_BODY,
    ) -> None:  # fmt: skip
        self._app, self._token, self._hosts, self._max_bytes = app, token, hosts, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {
            name.decode().lower(): value.decode("latin-1") for name, value in scope["headers"]
        }
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await _refuse(scope, receive, send, *refusal)
            return
        if scope["type"] == "http":
            receive = self._counted(receive)
            if self._token and self._given(scope) is not None:
                send = _with_cookie(send, self._token)
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        host = headers.get("host", "")
        name = urlsplit(f"//{host}").hostname or ""
        if self._hosts is not None and name not in self._hosts:
            return 403, "This studio is open to its own computer only."
        writes = scope["type"] == "websocket" or scope.get("method") not in ("GET", "HEAD")
        if writes and "origin" in headers and urlsplit(headers["origin"]).netloc != host:
            return 403, "Another page may not talk to the studio."
        if self._token:
            brought = self._given(scope) or _cookie(headers)
            if not brought or not hmac.compare_digest(brought.encode(), self._token.encode()):
                return 401, "Open the address that mm_studio printed: it holds the token."
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > self._max_bytes:
            return 413, f"A file must be at most {self._max_bytes >> 20} MiB."
        return None

    def _given(self, scope: Scope) -> str | None:
        return parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [None])[0]

    def _counted(self, receive: Receive) -> Receive:
        """Bodies without a length are counted as they come."""
        size = 0

        async def counted() -> dict[str, Any]:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self._max_bytes:
                return {"type": "http.disconnect"}
            return message

        return counted


def _cookie(headers: dict[str, str]) -> str | None:
    try:
        held = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return None
    return held[COOKIE].value if COOKIE in held else None


def _with_cookie(send: Send, token: str) -> Send:
    async def sent(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            value = f"{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict"
            message = {
                **message,
                "headers": [*message.get("headers", []), (b"set-cookie", value.encode())],
            }
        await send(message)

    return sent


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, text: str) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": text})
        return
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": f"{text}\n".encode()})


class Links:
    """The websockets of the stages: frames go out by them.

    A slow browser gets the newest images of each kind, not all of them.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Queue[Frame]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def open(self) -> str:
        """A new link: the name that its page knows it by."""
        self._loop = asyncio.get_running_loop()
        name = secrets.token_urlsafe(24)
        self._waiting[name] = asyncio.Queue()
        return name

    def close(self, name: str) -> None:
        """Forget a link."""
        self._waiting.pop(name, None)

    def put(self, name: str, frame: Frame) -> None:
        """Send a frame; safe to call from any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._put, name, frame)

    def _put(self, name: str, frame: Frame) -> None:
        queue = self._waiting.get(name)
        if queue is None:
            return
        if frame.kind != "animation":
            # What is overtaken is dropped.
            kept = [queue.get_nowait() for _ in range(queue.qsize())]
            for one in kept:
                if one.kind != frame.kind:
                    queue.put_nowait(one)
        queue.put_nowait(frame)

    async def serve(self, websocket: Any, name: str) -> None:
        """Send a link's frames until the page is gone."""
        from starlette.websockets import WebSocketDisconnect

        queue = self._waiting.get(name)
        if queue is None:
            await websocket.close(code=1008)
            return
        await websocket.accept()
        listening = asyncio.create_task(websocket.receive())
        try:
            while True:
                waiting = asyncio.create_task(queue.get())
                done, _ = await asyncio.wait(
                    {waiting, listening}, return_when=asyncio.FIRST_COMPLETED
                )
                if listening in done:
                    if not waiting.done():
                        waiting.cancel()
                    else:
                        queue.put_nowait(waiting.result())
                    return
                await websocket.send_bytes(pack(waiting.result()))
        except (WebSocketDisconnect, RuntimeError):
            return  # the connection broke: the page opens another one
        finally:
            listening.cancel()


def pack(frame: Frame) -> bytes:
    """A frame as the stage reads it: length of the header, header (JSON), JPEG files."""
    head = {
        "kind": frame.kind,
        "seq": frame.seq,
        "index": frame.index,
        "total": frame.total,
        "sizes": [len(image) for image in frame.images],
    }
    header = json.dumps(head).encode()
    return b"".join([len(header).to_bytes(4, "little"), header, *frame.images])


def free_port(host: str, port: int, *, tries: int = 20) -> int:
    """The port, or the next one that is free.

    Raises:
        OSError: none of `tries` is.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for own in range(port, min(port + tries, 65536)):
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, own))
            except OSError:
                continue
            return own
    raise OSError(f"ports {port} to {port + tries - 1} are taken")
