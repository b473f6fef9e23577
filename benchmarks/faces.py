"""Detectors beside each other, on images that are turned, scaled, cropped, blurred, dimmed, noised.

    python -m benchmarks.faces --images photos paintings --detectors faces dlib

A face is real if two detectors find it in the image as it is; so give two and more. It is found in
a changed image if the middle of a found face's eyes and mouth lies within half a distance between
the eyes of where the change takes the real one; a found face that is nowhere near is false.
`distance` is the mean distance of a found face's landmarks to dlib's 68 in the image as it is, but
for those of the jaw, in distances between the eyes; of five points where a detector has no more.
`seconds` are those of the processor.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from mm_jax.alignment import find_faces, five_points, open_detector
from mm_jax.alignment.face import Face

Change = Callable[[Image.Image, list[Face]], tuple[Image.Image, np.ndarray]]
"""An image and its real faces to a changed image and the affine map [2, 3] that points go by."""


def main() -> None:
    """Run the comparison and write its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", nargs="+", type=Path, required=True, help="files and folders")
    parser.add_argument("--detectors", nargs="+", default=["faces", "dlib"])
    parser.add_argument("--side", type=int, default=640, help="of the images' longer sides")
    parser.add_argument("--changes", nargs="+", default=list(CHANGES), choices=list(CHANGES))
    parser.add_argument("--output", type=Path, default=Path("runs/bench/faces"))
    arguments = parser.parse_args()
    detectors = {name: open_detector(name) for name in arguments.detectors}
    counts: dict[tuple[str, str], dict[str, list[float]]] = {}
    for path in _files(arguments.images):
        image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
        image.thumbnail((arguments.side, arguments.side))
        untouched = {name: find_faces(np.asarray(image), it) for name, it in detectors.items()}
        real, points = _real(untouched)
        print(path.name, image.size, f"{len(real)} faces", flush=True)
        for change in arguments.changes:
            changed, affine = CHANGES[change](image, real)
            for name, detector in detectors.items():
                start = time.process_time()
                found = find_faces(np.asarray(changed), detector)
                seconds = time.process_time() - start
                row = counts.setdefault((change, name), {})
                _count(row, found, real, points, affine, changed.size)
                row.setdefault("seconds", []).append(seconds)
        _write(counts, arguments)
    print(arguments.output.with_suffix(".md").read_text())


def _write(counts: dict[tuple[str, str], dict[str, list[float]]], arguments: argparse.Namespace):
    rows = [
        {
            "change": change,
            "detector": name,
            "real": int(sum(row["real"])),
            "found": int(sum(row["found"])),
            "false": int(sum(row["false"])),
            "distance": float(np.mean(row["distance"])) if row["distance"] else None,
            "seconds": float(np.mean(row["seconds"])),
        }
        for (change, name), row in counts.items()
    ]
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.with_suffix(".json").write_text(json.dumps(rows, indent=1))
    arguments.output.with_suffix(".md").write_text(_table(rows, arguments.detectors))


def _files(given: Sequence[Path]) -> Iterator[Path]:
    for path in given:
        yield from sorted(path.iterdir()) if path.is_dir() else [path]


def _middle(face: Face) -> np.ndarray:
    return five_points(face.landmarks)[[0, 1, 3, 4]].mean(axis=0)


def _reach(face: Face) -> float:
    """Distance between the eyes, or from them to the mouth where a head is turned."""
    points = five_points(face.landmarks)
    across, down = points[1] - points[0], (points[3] + points[4] - points[0] - points[1]) / 2
    return float(max(np.hypot(*across), np.hypot(*down)))


def _real(untouched: dict[str, list[Face]]) -> tuple[list[Face], list[np.ndarray | None]]:
    """Faces that two detectors find, best detector first, and dlib's landmarks of each."""
    real: list[Face] = []
    points: list[np.ndarray | None] = []
    for name, faces in untouched.items():
        for face in faces:

            def near(other: Face, face: Face = face) -> bool:
                return float(np.hypot(*(_middle(other) - _middle(face)))) < 0.5 * _reach(face)

            if any(map(near, real)):
                continue
            others = [[f for f in them if near(f)] for it, them in untouched.items() if it != name]
            if any(others):
                real.append(face)
                same = [f for f in untouched.get("dlib", []) if near(f)]
                points.append(same[0].landmarks if same else None)
    return real, points


def _count(
    row: dict[str, list[float]],
    found: list[Face],
    real: list[Face],
    points: list[np.ndarray | None],
    affine: np.ndarray,
    size: tuple[int, int],
) -> None:
    for key in ("real", "found", "false", "distance"):
        row.setdefault(key, [])
    left = list(found)
    scale = float(np.sqrt(abs(np.linalg.det(affine[:, :2]))))
    for face, wanted in zip(real, points, strict=True):
        place = _moved(_middle(face)[None], affine)[0]
        if (place < 0).any() or (place >= size).any():
            continue
        row["real"].append(1)
        gaps = [float(np.hypot(*(_middle(it) - place))) for it in left]
        if gaps and min(gaps) < 0.5 * scale * _reach(face):
            best = left.pop(int(np.argmin(gaps)))
            row["found"].append(1)
            if wanted is not None:
                row["distance"].append(_distance(best.landmarks, _moved(wanted, affine)))
    row["false"].append(len(left))


def _distance(found: np.ndarray, wanted: np.ndarray) -> float:
    eyes = five_points(wanted)[:2]
    gaps = found - five_points(wanted) if len(found) == 5 else (found - wanted)[17:]
    return float(np.linalg.norm(gaps, axis=1).mean() / np.hypot(*(eyes[1] - eyes[0])))


def _moved(points: np.ndarray, affine: np.ndarray) -> np.ndarray:
    return points @ affine[:, :2].T + affine[:, 2]


def _turned(degrees: float) -> Change:
    def change(image: Image.Image, real: list[Face]) -> tuple[Image.Image, np.ndarray]:
        turned = image.rotate(degrees, Image.Resampling.BICUBIC, expand=True)
        angle = np.deg2rad(degrees)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        middle = (np.array(image.size) - 1) / 2
        shift = (np.array(turned.size) - 1) / 2 - turn @ middle
        return turned, np.column_stack([turn, shift])

    return change


def _scaled(factor: float) -> Change:
    def change(image: Image.Image, real: list[Face]) -> tuple[Image.Image, np.ndarray]:
        size = (max(round(image.width * factor), 1), max(round(image.height * factor), 1))
        ratio = np.array(size) / image.size
        return image.resize(size), np.column_stack([np.diag(ratio), (ratio - 1) / 2])

    return change


def _cropped(image: Image.Image, real: list[Face]) -> tuple[Image.Image, np.ndarray]:
    """Close about the largest face, so that it fills the image."""
    if not real:
        return image, np.eye(2, 3)
    face = max(real, key=_reach)
    middle, reach = _middle(face), 1.5 * _reach(face)
    low = np.maximum(np.floor(middle - reach), 0)
    high = np.minimum(np.ceil(middle + reach), image.size)
    return image.crop((*low, *high)), np.column_stack([np.eye(2), -low])


def _as_before(recolour: Callable[[Image.Image], Image.Image]) -> Change:
    return lambda image, real: (recolour(image), np.eye(2, 3))


def _noised(image: Image.Image) -> Image.Image:
    values = np.asarray(image, float)
    values = values + 25 * np.random.default_rng(0).standard_normal(values.shape)
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


CHANGES: dict[str, Change] = {
    "as it is": _as_before(lambda image: image),
    "turned 20": _turned(20),
    "turned 40": _turned(40),
    "turned 90": _turned(90),
    "turned 180": _turned(180),
    "half size": _scaled(0.5),
    "quarter size": _scaled(0.25),
    "cropped": _cropped,
    "blurred": _as_before(lambda image: image.filter(ImageFilter.GaussianBlur(3))),
    "dimmed": _as_before(lambda image: image.point(lambda value: value * 0.2)),
    "noised": _as_before(_noised),
}


def _table(rows: list[dict], detectors: Sequence[str]) -> str:
    by = {(row["change"], row["detector"]): row for row in rows}
    lines = [
        "| | " + " | ".join(f"{name}: found, false, distance" for name in detectors) + " |",
        "|---|" + "---|" * len(detectors),
    ]
    for change in dict.fromkeys(row["change"] for row in rows):
        cells = []
        for name in detectors:
            row = by[change, name]
            gap = "-" if row["distance"] is None else f"{row['distance']:.3f}"
            cells.append(f"{row['found']} of {row['real']}, {row['false']}, {gap}")
        lines.append(f"| {change} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
