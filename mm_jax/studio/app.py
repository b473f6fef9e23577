"""The studio as a program: models, server and page put together."""

from __future__ import annotations

import secrets
import threading
import time
from typing import Any

from mm_jax import zoo
from mm_jax.errors import DataError, UsageError, first_line
from mm_jax.studio import photos, session_files
from mm_jax.studio.options import StudioOptions
from mm_jax.studio.server import LOCAL_HOSTS, Guard, Links, free_port
from mm_jax.studio.session import Studio
from mm_jax.studio.world import Worlds
from mm_jax.stylegan2.precision import resolve

__all__ = ["install", "serve"]

TITLE = "Micromotion studio"
# Seconds in which a browser opens the page, before what photos need is prepared all the same.
_PATIENCE = 15.0
# And those that the browser then has for itself.
_PAUSE = 2.0
ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><circle cx="16" cy="16" r="15" '
    'fill="#4b45d6"/><path d="M9 18c2 5 12 5 14 0" fill="none" stroke="#fff" stroke-width="2.6" '
    'stroke-linecap="round"/></svg>'
)


def install(studio: Studio, *, outdir: str = "", start: str = "") -> None:
    """Enter the page and its websocket in NiceGUI's app.

    Args:
        studio: what all pages share.
        outdir: folder that also gets what is exported, or "".
        start: the text of a session to begin with, or "".
    """
    from nicegui import Client, app, ui
    from starlette.routing import WebSocketRoute

    from mm_jax.studio.page import Page

    links = Links()

    async def frames(websocket: Any) -> None:
        await links.serve(websocket, websocket.path_params["name"])

    app.router.routes.insert(0, WebSocketRoute("/studio/frames/{name}", frames))

    @ui.page("/", title=TITLE, dark=None, favicon=ICON, reconnect_timeout=10)
    async def index(client: Client) -> None:
        await Page(studio, links, client, outdir=outdir, start=start).build()

    app.on_shutdown(studio.close)


def serve(options: StudioOptions, *, fixed_port: bool = False) -> None:
    """Serve the page until the program is interrupted.

    Args:
        options: what with, and for whom.
        fixed_port: refuse another port than the options' where that is taken.

    Raises:
        UsageError: NiceGUI is missing, a generator is unknown, or the port is taken.
        DataError: the session to begin with cannot be read.
    """
    try:
        from nicegui import app, ui
    except ImportError as error:
        raise UsageError(
            f"the studio needs the extra studio: pip install 'mm-jax[studio]' ({first_line(error)})"
        ) from error
    for name in options.generator:
        zoo.resolve(name, "generator")
    start = ""
    if options.session:
        start = session_files.read_text(options.session)
        session_files.read(start, options.session)
    try:
        port = free_port(options.host, options.port, tries=1 if fixed_port else 20)
    except OSError as error:
        raise UsageError(f"--port={options.port}: {first_line(error)}") from error
    studio = Studio(
        Worlds(
            options.generator,
            encoder=options.encoder,
            clip=options.clip,
            subspaces=options.subspace,
            precision=resolve(options.precision),
        )
    )
    token = None if options.is_local else secrets.token_urlsafe(24)
    hosts = LOCAL_HOSTS if options.is_local else None
    app.add_middleware(Guard, token=token, hosts=hosts)
    # Within one computer packing takes longer than what it saves.
    packed: dict[str, Any] = {"gzip_middleware_factory": None} if options.is_local else {}
    install(studio, outdir=options.outdir, start=start)
    # The models are opened while the browser starts.
    threading.Thread(target=_prepare, args=(studio,), daemon=True).start()
    shown = "localhost" if options.is_local else options.host
    address = f"http://{shown}:{port}/" + (f"?token={token}" if token else "")
    app.on_startup(lambda: print(f"The studio is at {address} (Ctrl-C ends it)", flush=True))
    ui.run(
        host=options.host,
        port=port,
        title=TITLE,
        favicon=ICON,
        reload=False,
        show=options.open and options.is_local,
        show_welcome_message=False,
        message_history_length=200,
        language="en-US",
        # Its script of 300 kB makes styles for classes of which the page uses none.
        tailwind=False,
        access_log=False,
        **packed,
    )
    print("The studio is closed.")


def _prepare(studio: Studio) -> None:
    try:
        world = studio.prepare(studio.worlds.names[0])
        # And what a photo needs, so that its face is there at once; the first image comes before.
        if studio.has_shown.wait(_PATIENCE):
            time.sleep(_PAUSE)
        photos.warm_up(world)
    except (DataError, UsageError):
        # Every page that is opened meets the same error, and shows it.
        return
