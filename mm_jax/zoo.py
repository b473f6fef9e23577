"""Models by name: those in the package, and any folder of the right kind.

`assets/MANIFEST.json` records the sha256 of every file of the bundled models; a model is compared
with it before it is used.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from etils import epy

from mm_jax import io
from mm_jax.errors import DataError, UsageError
from mm_jax.kinds import described, folder_of, wrong_kind
from mm_jax.stylegan2.precision import resolve as resolve_precision

with epy.lazy_imports():
    from mm_jax import checkpoints, deltas
    from mm_jax.stylegan2 import generator

__all__ = [
    "BUNDLED",
    "CLIP",
    "ENCODER",
    "FACE",
    "GENERATOR",
    "JUDGE",
    "PROBE",
    "RENDERS",
    "SKETCH",
    "SKETCH_JUDGE",
    "VIDEOS",
    "bundled_motions",
    "bundled_video",
    "companion",
    "installed",
    "load_generator",
    "motion_names",
    "record",
    "resolve",
    "verify",
]

BUNDLED = {
    "people": "generator",
    "people-clip": "clip",
    "people-probe": "probe",
    "people-judge": "probe",
    "people-encoder": "encoder",
    "people-motions": "motions",
    "people-sketch": "generator",
    "people-sketch-judge": "probe",
    "people-videos": "videos",
    "people-renders": "renders",
    "faces/tiny_detector": "face_network",
    "faces/ssd_detector": "face_network",
    "faces/landmarks": "face_network",
    "faces/recogniser": "face_network",
    "faces/expressions": "face_network",
    "faces/age_gender": "face_network",
}
"""Kind of each bundled model, and of the folders of videos and of subspaces.

What belongs to a generator X is called X-clip, X-encoder, X-motions, ..: see `companion`.
"""

#: The bundled models that programs take unless told otherwise.
GENERATOR, CLIP, ENCODER = "people", "people-clip", "people-encoder"
PROBE, JUDGE = "people-probe", "people-judge"
VIDEOS, RENDERS = "people-videos", "people-renders"
#: Seed of the face that pages show first. At psi 0.7 the bundled probe reads smile -0.03, anger
#: -0.56 and yaw 0.11 of it.
FACE = 700
SKETCH, SKETCH_JUDGE = "people-sketch", "people-sketch-judge"
ASSETS = Path(__file__).parent / "assets"
MANIFEST = "MANIFEST.json"


def resolve(name_or_dir: str | os.PathLike[str], kind: str) -> Path:
    """The folder of a model.

    Args:
        name_or_dir: the name of a bundled model, or a folder. A name wins over a folder of the same
            name; ./name is the folder.
        kind: what the caller needs: "generator", "clip", "probe", "encoder", "arcface", "lpips",
            "face_network", "motions", "renders" or "videos".

    Raises:
        UsageError: neither a bundled model nor a folder, or a bundled model of another kind.
        DataError: the bundled model is missing or damaged.
    """
    name = os.fspath(name_or_dir)
    if name in BUNDLED:
        if BUNDLED[name] != kind:
            raise UsageError(
                f"{name} is a {BUNDLED[name]}, not a {kind}: bundled are {_known(kind)}"
            )
        verify(name)
        return ASSETS / name
    path = Path(name)
    if path.is_dir():
        # Of a folder that holds several, such as mm_convert writes for an encoder, the wanted one.
        inner = path / kind
        return inner if _is_network(inner, kind) and not _is_network(path, kind) else path
    if path.exists():
        raise wrong_kind(path, folder_of(kind)) or DataError(
            f"{name} is a file, not {folder_of(kind)}"
        )
    raise UsageError(f"unknown {kind} {name!r}: give a folder or a bundled model, {_known(kind)}")


def _is_network(folder: Path, kind: str) -> bool:
    return described(folder) == folder_of(kind)


def load_generator(
    name_or_dir: str | os.PathLike[str], *, precision: str = "float32"
) -> generator.Generator:
    """Opens a generator by bundled name or folder, such as "people".

    A folder may hold a delta (`mm_jax.deltas`); then its base is opened first.

    Args:
        name_or_dir: the bundled name, or the folder.
        precision: of the products in the synthesis of images and its gradients: float32; bfloat16
            with sums in float32, for CPUs; or auto, which is bfloat16 on processors where it was
            measured to be faster. Parameters, latents and images are float32 in any case.

    Raises:
        UsageError: unknown name or precision, or bfloat16 on a device that is no CPU.
        DataError: missing or damaged folder, or a delta whose base is missing or another.
    """
    chosen = resolve_precision(precision)
    gen = _load_generator(name_or_dir)
    return gen if chosen == gen.config.precision else gen.with_precision(chosen)


def _load_generator(name_or_dir: str | os.PathLike[str]) -> generator.Generator:
    folder = resolve(name_or_dir, "generator")
    if not deltas.is_delta(folder):
        return checkpoints.load_generator_dir(folder)
    name = str(checkpoints.load_tree(folder, deltas.KIND).meta.get("base"))
    try:
        base = resolve(name, "generator")
    except UsageError as error:
        raise DataError(f"{folder} is a delta of {name}, which is not there") from error
    if deltas.is_delta(base):
        raise DataError(f"{folder} is a delta of {name}, which is a delta too")
    return deltas.load_delta(folder, checkpoints.load_generator_dir(base))


def bundled_video(name: str, videos: str | os.PathLike[str] = VIDEOS) -> Path:
    """The file of a bundled video, such as "head_turn".

    Args:
        name: of the motion.
        videos: the bundled videos of a world, or a folder of such.

    Raises:
        UsageError: no such video. DataError: the videos are missing or damaged.
    """
    path = resolve(videos, "videos") / f"{name}.mp4"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in path.parent.glob("*.mp4")))
        raise UsageError(f"unknown bundled video {name!r}, known are {known}")
    return path


def installed(kind: str) -> tuple[str, ...]:
    """Names of the bundled models of a kind that this installation has."""
    return tuple(name for name, of in BUNDLED.items() if of == kind and (ASSETS / name).is_dir())


def companion(generator: str, kind: str) -> str | None:
    """The bundled model of a kind that belongs to a bundled generator; None if there is none.

    Args:
        generator: a bundled name; for a folder there is no companion.
        kind: "clip", "encoder", "motions", ...
    """
    name = f"{generator}-{kind}"
    return name if name in installed(kind) else None


def motion_names() -> tuple[str, ...]:
    """Names of the bundled subspaces of this installation, whatever generator they are of."""
    folders = (ASSETS / name for name in installed("motions"))
    return tuple(sorted({file.stem for folder in folders for file in folder.glob("*.npz")}))


def bundled_motions(gen: generator.Generator) -> dict[str, Path]:
    """Files of the bundled subspaces that were found in a generator, or in its base, by name.

    Raises:
        DataError: the bundled files are damaged.
    """
    homes = {gen.fingerprint, gen.meta.get("base_fingerprint")}
    found: dict[str, Path] = {}
    for name in installed("motions"):
        verify(name)
        for file in sorted((ASSETS / name).glob("*.npz")):
            if io.read_json(file.with_suffix(".json")).get("generator_fingerprint") in homes:
                found.setdefault(file.stem, file)
    return found


def verify(name: str) -> None:
    """Raises DataError unless a bundled model is, file by file, what the manifest records."""
    recorded = _manifest().get(name)
    if recorded is None or not (ASSETS / name).is_dir():
        raise DataError(f"the bundled model {name} is missing from this installation")
    want, have = recorded["files"], _digests(name)
    for file in sorted(want.keys() | have.keys()):
        if want.get(file) != have.get(file):
            state = "missing" if file not in have else "changed" if file in want else "unexpected"
            raise DataError(f"the bundled model {name} is damaged: {file} is {state}")


def record(name: str) -> Path:
    """Enters a bundled model, as it is now, in the manifest; returns the manifest's path."""
    if name not in BUNDLED:
        raise UsageError(f"unknown bundled model {name!r}, known are {', '.join(BUNDLED)}")
    files = _digests(name)
    if not files:
        raise DataError(f"{ASSETS / name} holds no files")
    models = {**_manifest(), name: {"kind": BUNDLED[name], "files": files}}
    return io.write_json(ASSETS / MANIFEST, {key: models[key] for key in sorted(models)})


def _known(kind: str) -> str:
    return ", ".join(name for name, of in BUNDLED.items() if of == kind) or "none"


def _manifest() -> dict[str, Any]:
    path = ASSETS / MANIFEST
    if not path.exists():
        return {}
    manifest = io.read_json(path)
    if not isinstance(manifest, dict) or not all(
        isinstance(entry, dict) and isinstance(entry.get("files"), dict)
        for entry in manifest.values()
    ):
        raise DataError(f"{path} is not a manifest of models")
    return manifest


def _digests(name: str) -> dict[str, str]:
    folder = ASSETS / name
    return {
        path.relative_to(folder).as_posix(): io.sha256_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
