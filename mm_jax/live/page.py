"""What a page needs to move faces: latents and motions as plain values, and the HTML of sliders.

`static/` holds the script of the page, the worker that runs the generator, and the look. Files are
fetched by name (a site), or are scripts that hold them (a folder that is opened without a server:
browsers let such a page load scripts and nothing else).
"""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from etils import epy

from mm_jax.checks import layer_mask
from mm_jax.live.runtime import RUNTIMES

with epy.lazy_imports():
    from mm_jax import artifacts
    from mm_jax.editing import limits
    from mm_jax.stylegan2 import generator

__all__ = ["LATENTS", "NETWORK", "STATIC", "STILL", "loaded_files", "markup", "to_json"]

STATIC = Path(__file__).parent / "static"
NETWORK, LATENTS, STILL = "generator.onnx", "latents.json", "still.png"


def loaded_files() -> dict[str, list[str]]:
    """Names of the files that the worker loads, by what the runtime computes with."""
    return {
        kind: [module, f"{program}.gz", NETWORK, LATENTS]
        for kind, (module, program) in RUNTIMES.items()
    }


def to_json(
    gen: generator.Generator,
    ws: np.ndarray,
    subspaces: Mapping[str, artifacts.Subspace],
    *,
    layers: Sequence[int] | None = None,
    reach: Mapping[str, tuple[float, float]] | None = None,
) -> dict[str, Any]:
    """What the page needs beside the network, as plain values.

    Arrays are base64 of little-endian float32.

    Args:
        gen: the generator.
        ws: [N, L, D] faces.
        subspaces: motions by name, in the order of the sliders.
        layers: rows of W+ that may change, beside each subspace's own mask; all unless given.
        reach: strengths that a motion's slider reaches at least, where they are known.

    Returns:
        "generator", "resolution", "rows" (L), "width" (D), "face_rows" R, which is 1 where all
        faces are of W and else L, "faces" [N, R, D], "mean" [D], and "motions": each with "name",
        "title", "direction" [L, D] of strength 1, and the strengths "low" and "high" between which
        its images follow.

    Raises:
        UsageError: layers out of range.
    """
    moving = layer_mask(layers, gen.config.num_ws)[:, None]
    in_w = bool((ws == ws[:, :1]).all())
    motions = []
    for name, subspace in subspaces.items():
        known = subspace.meta.get("limits")
        ends = [*(known if known is not None else limits.motion_limits(gen, subspace))]
        ends += (reach or {}).get(name, ())
        words = name.replace("_", " ")
        motions.append(
            {
                "name": name,
                "title": words[:1].upper() + words[1:],
                "low": float(min(ends)),
                "high": float(max(ends)),
                "direction": _packed(np.asarray(subspace.direction) * moving),
            }
        )
    return {
        "generator": gen.name,
        "resolution": gen.config.resolution,
        "rows": gen.config.num_ws,
        "width": gen.config.w_dim,
        "face_rows": 1 if in_w else gen.config.num_ws,
        "faces": _packed(ws[:, :1] if in_w else ws),
        "mean": _packed(gen.params["mapping"]["w_avg"]),
        "motions": motions,
    }


def _packed(array: Any) -> str:
    return base64.b64encode(np.ascontiguousarray(array, "<f4").tobytes()).decode()


def markup(
    base: str,
    data: Mapping[str, Any],
    sizes: Mapping[str, int],
    *,
    faces: int | Sequence[str],
    packed: bool = False,
    button: str = "live-button",
) -> str:
    """The HTML of a live face, in one line, which Markdown leaves as it is.

    Args:
        base: where the files are, relative to the page.
        data: as of `to_json`.
        sizes: bytes of each file that is loaded.
        faces: how many there are, of which a button shows one after another and then mixtures of
            two, or the names that a list offers.
        packed: whether files are scripts that hold them.
        button: class of the buttons.
    """
    lists = {kind: {name: sizes[name] for name in names} for kind, names in loaded_files().items()}
    least = min(sum(each.values()) for each in lists.values())
    named = not isinstance(faces, int)
    settings = {"sizes": lists, "count": len(faces) if named else faces, "packed": packed}
    side = data["resolution"]
    sliders = "".join(map(_slider, data["motions"]))
    if named:
        options = "".join(f"<option>{html.escape(name)}</option>" for name in faces)
        hidden = " hidden" if len(faces) == 1 else ""
        choice = (
            f'<label class="live-faces"{hidden}><span>Face</span>'
            f'<select autocomplete="off">{options}</select></label>'
        )
    else:
        choice = f'<button type="button" class="{button} live-new">New face</button>'
    return (
        f'<link rel="stylesheet" href="{base}live.css">'
        f'<div class="live" data-base="{base}" data-settings="{html.escape(json.dumps(settings))}">'
        f'<div class="live-stage"><img src="{base}{STILL}" width="{side}" height="{side}" '
        'alt="A face that the generator drew">'
        f'<canvas width="{side}" height="{side}" role="img" aria-label="The face, moved" hidden>'
        "</canvas>"
        '<progress max="1" value="0" aria-label="Loading" hidden></progress></div>'
        f'<div class="live-controls" hidden>{sliders}<div class="live-buttons">{choice}'
        f'<button type="button" class="{button} live-reset">Reset</button></div></div>'
        '<p class="live-status" role="status">Drag a slider: the generator '
        f"({least / 1e6:.0f} MB) is loaded and draws here, in your browser. Nothing is sent "
        "anywhere.</p>"
        "<noscript><p>The face moves where scripts may run.</p></noscript></div>"
        f'<script src="{base}live.js" defer></script>'
    )


def _slider(motion: Mapping[str, Any]) -> str:
    low, high = motion["low"], motion["high"]
    title, name = html.escape(motion["title"]), html.escape(motion["name"])
    return (
        f'<label><span>{title}</span><output>0.00</output><input type="range" name="{name}" '
        f'min="{low:.2f}" max="{high:.2f}" step="0.01" value="0" autocomplete="off"></label>'
    )
