"""What a report of a bug needs to know of an installation: versions, devices, caches, models.

Nothing here reaches for the network. `python -m mm_jax` prints it.
"""

from __future__ import annotations

import contextlib
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

import mm_jax
from mm_jax import compile_cache, io, zoo
from mm_jax.errors import DataError, first_line

__all__ = ["as_text", "examine", "problems"]

DISTRIBUTION = "mm-jax"
WHOLE, ABSENT = "whole", "not in this installation"
# Extras of JAX are plug-ins, which are distributions of their own.
_PLUGINS = {
    "jax[cuda12]": "jax-cuda12-plugin",
    "jax[cuda13]": "jax-cuda13-plugin",
    "jax[tpu]": "libtpu",
}
# Variables of the environment that change what programs compute or where they keep things.
_VARIABLES = ("JAX_", "XLA_", "CUDA_VISIBLE_DEVICES", "XDG_CACHE_HOME", "HF_HOME", "HF_HUB_")


def examine() -> dict[str, Any]:
    """All that is known of this installation, as plain json values.

    Keys: `mm_jax`, `python`, `platform`, `cores`, `packages` (name to version, or None where it is
    missing), `unfit` (packages of a version that is excluded), `extras` (name to what it lacks),
    `devices`, `clip_towers` (which implementation of CLIP is used), `cache`, `models` (name to
    `WHOLE`, `ABSENT` or what is wrong) and `environment`.
    """
    packages, unfit, extras = _requirements()
    return {
        "mm_jax": mm_jax.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "packages": packages,
        "unfit": unfit,
        "extras": extras,
        "devices": _devices(),
        "clip_towers": _clip_towers(),
        "cache": _cache(),
        "models": _models(),
        "environment": {
            name: _shortened(value)
            for name, value in sorted(os.environ.items())
            if name.startswith(_VARIABLES)
        },
    }


def problems(found: dict[str, Any]) -> list[str]:
    """What is wrong with an installation, one line each; nothing where all is well."""
    lines = [f"{name} is missing" for name, version in found["packages"].items() if not version]
    lines += found["unfit"]
    if not found["devices"]["found"]:
        lines.append(f"JAX finds no device: {found['devices']['error']}")
    return lines + [state for state in found["models"].values() if state not in (WHOLE, ABSENT)]


def as_text(found: dict[str, Any]) -> str:
    """What `examine` found, for reading; the last line says whether something is wrong."""
    lines = [
        f"mm_jax {found['mm_jax']}, Python {found['python']}, {found['platform']}, "
        f"{found['cores']} cores",
    ]
    lines += _section(
        "Packages", {name: version or "missing" for name, version in found["packages"].items()}
    )
    lines += _section(
        "Extras",
        {
            name: f"lacks {', '.join(lacks)}" if lacks else "installed"
            for name, lacks in found["extras"].items()
        },
    )
    lines += ["", "Devices", *(f"  {device}" for device in found["devices"]["found"])]
    lines += _section("CLIP", {"towers": found["clip_towers"]})
    cache = found["cache"]
    size = f"{cache['programs']} programs, {cache['bytes'] / 2**20:.0f} MiB"
    lines += _section("Compiled programs", {cache["folder"]: cache["error"] or size})
    lines += _section("Models", found["models"])
    if found["environment"]:
        lines += _section("Environment", found["environment"])
    wrong = problems(found)
    return "\n".join([*lines, "", *(wrong or ["Nothing is wrong with this installation."])])


def _section(title: str, entries: dict[str, Any]) -> list[str]:
    width = max(map(len, entries), default=0)
    return ["", title, *(f"  {name:{width}}  {value}" for name, value in entries.items())]


def _requirements() -> tuple[dict[str, str | None], list[str], dict[str, list[str]]]:
    """Versions of the required packages, those that are excluded, and what each extra lacks."""
    try:
        wanted = [Requirement(text) for text in metadata.requires(DISTRIBUTION) or ()]
        extras = metadata.metadata(DISTRIBUTION).get_all("Provides-Extra") or []
    except metadata.PackageNotFoundError:
        # A checkout that is on the path without being installed.
        return {}, [f"{DISTRIBUTION} is not installed: pip install -e ."], {}
    packages: dict[str, str | None] = {}
    unfit = []
    for requirement in wanted:
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            version = _version(requirement.name)
            packages[requirement.name] = version
            if version and not requirement.specifier.contains(version, prereleases=True):
                unfit.append(f"{requirement.name} {version} does not do: {requirement}")
    lacks: dict[str, list[str]] = {}
    for extra in extras:
        names = [
            _PLUGINS.get(_with_extras(requirement), requirement.name)
            for requirement in wanted
            if requirement.marker is not None
            and not requirement.marker.evaluate({"extra": ""})
            and requirement.marker.evaluate({"extra": extra})
        ]
        lacks[extra] = [name for name in names if _version(name) is None]
    return packages, unfit, lacks


def _with_extras(requirement: Requirement) -> str:
    extras = ",".join(sorted(requirement.extras))
    return f"{requirement.name}[{extras}]" if extras else requirement.name


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _devices() -> dict[str, Any]:
    try:
        import jax

        found = [f"{one.platform}:{one.id} {one.device_kind}" for one in jax.devices()]
    except (ImportError, RuntimeError) as error:
        return {"found": [], "error": first_line(error)}
    return {"found": found, "error": ""}


def _clip_towers() -> str:
    try:
        from mm_jax.perceptual.hugging_face import towers_in_use

        return towers_in_use()
    except ImportError as error:
        return f"none: {first_line(error)}"


def _cache() -> dict[str, Any]:
    """Where compiled programs are kept, how many there are, and how large they are together."""
    try:
        chosen = os.environ.get("JAX_COMPILATION_CACHE_DIR")
        folder = Path(chosen) if chosen else compile_cache.user_folder()
    except DataError as error:
        return {"folder": "", "programs": 0, "bytes": 0, "error": str(error)}
    programs = size = 0
    # Programs come and go while others run.
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(folder):
            programs += entry.name.endswith("-cache")
            size += entry.stat().st_size
    return {"folder": _shortened(str(folder)), "programs": programs, "bytes": size, "error": ""}


def _models() -> dict[str, str]:
    """For each bundled model "whole", or what is wrong with it."""
    try:
        recorded = io.read_json(zoo.ASSETS / zoo.MANIFEST)
    except DataError as error:
        return {zoo.MANIFEST: str(error)}
    return {name: _state_of(name, name in recorded) for name in zoo.BUNDLED}


def _state_of(name: str, recorded: bool) -> str:
    if not recorded and not (zoo.ASSETS / name).exists():
        return ABSENT
    try:
        zoo.verify(name)
    except DataError as error:
        return str(error)
    return WHOLE


def _shortened(text: str) -> str:
    """Text without the name of the user's home, which need not stand in a report."""
    home = os.path.expanduser("~")
    return text.replace(home, "~") if len(home) > 1 else text
