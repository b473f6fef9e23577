"""The images of README and docs/photos.md: faces of runs of `mm_edit --image`, before and after.

    mm_edit --subspace=smile --image=astronaut.png,grace_hopper.jpg,mona_lisa.jpg --strength=0:1 \
        --outdir=RUN
    python -m docs.photo RUN --names=astronaut,grace_hopper,mona_lisa

A run is a row. Of each image's strip the first and the last frame are shown, cut about the face.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from mm_jax.alignment import find_faces

SIDE, GAP = 240, 12


def main() -> None:
    """Write docs/photo.webp, or another file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--names", required=True, help="of the images, with commas")
    parser.add_argument("--frames", type=int, default=7, help="in a strip")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "photo.webp")
    given = parser.parse_args()
    names = given.names.split(",")
    width = len(names) * (2 * SIDE + GAP) - GAP
    sheet = Image.new("RGB", (width, len(given.runs) * (SIDE + GAP) - GAP), "white")
    for row, run in enumerate(given.runs):
        for column, name in enumerate(names):
            for side, image in enumerate(_pair(run / f"{name}_full_strip.png", given.frames)):
                x = column * (2 * SIDE + GAP) + side * SIDE
                sheet.paste(image, (x, row * (SIDE + GAP)))
    sheet.save(given.output, quality=88, method=6)


def _pair(strip: Path, frames: int) -> list[Image.Image]:
    """The face in the first and in the last frame of a strip."""
    whole = Image.open(strip).convert("RGB")
    width = whole.width // frames
    ends = [whole.crop((x, 0, x + width, whole.height)) for x in (0, whole.width - width)]
    face = max(find_faces(np.asarray(ends[0])), key=lambda face: face.area)
    low, high = face.landmarks.min(axis=0), face.landmarks.max(axis=0)
    half = min(0.95 * (high - low).max(), min(ends[0].size) / 2)
    x, y = np.clip((low + high) / 2 - [0, 0.15 * half], half, np.array(ends[0].size) - half)
    box = (x - half, y - half, x + half, y + half)
    return [end.resize((SIDE, SIDE), Image.Resampling.LANCZOS, box) for end in ends]


if __name__ == "__main__":
    main()
