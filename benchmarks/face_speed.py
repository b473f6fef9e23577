"""How long a face takes: found, landmarked and described; and followed through a video of 720p.

    python -m benchmarks.face_speed

The photograph is enlarged to 640 x 480 pixels, and moved about in 60 frames of 1280 x 720. Wall and
processor milliseconds are of a warm process, smallest and median of several runs; of the video, per
frame, reading the file included.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from mm_jax.alignment import Framing, find_faces
from mm_jax.alignment.options import AlignOptions
from mm_jax.allocator import keep_freed_memory
from mm_jax.faces import FaceDetector, Recogniser
from mm_jax.media import save_mp4
from mm_jax.media.video_reading import video_info
from mm_jax.video.faces import follow_face
from mm_jax.video.options import VideoOptions

PHOTOGRAPH = Path(__file__).parents[1] / "tests" / "goldens" / "faces" / "astronaut.jpg"
FRAMES = 60


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    runs = parser.parse_args().runs
    keep_freed_memory()
    person = Image.open(PHOTOGRAPH).convert("RGB")
    picture = _placed(person, (640, 480), 120, 0, 480)
    detector, describe = FaceDetector(), Recogniser()

    def one() -> None:
        (face,) = find_faces(picture, detector)
        describe(picture, face)

    (face,) = find_faces(picture, detector)
    rows = {
        "found, landmarked and described": _measured(one, runs),
        "found and landmarked": _measured(lambda: find_faces(picture, detector), runs),
        "landmarked near where it was": _measured(
            lambda: detector.near(picture, face.box, exact=True), runs
        ),
        "described": _measured(lambda: describe(picture, face), runs),
        f"a frame of 720p, of {FRAMES}": _video(person, max(runs // 4, 2)),
    }
    print("| | wall ms, least | median | processor ms, least | median |\n|---|---|---|---|---|")
    for name, values in rows.items():
        print(f"| {name} | " + " | ".join(f"{value:.0f}" for value in values) + " |")


def _placed(person: Image.Image, size: tuple[int, int], x: int, y: int, height: int) -> np.ndarray:
    picture = Image.new("RGB", size, (90, 110, 100))
    width = person.width * height // person.height
    picture.paste(person.resize((width, height)), (x, y))
    return np.asarray(picture)


def _measured(work: Callable[[], object], runs: int) -> tuple[float, float, float, float]:
    work()
    walls, processor = [], []
    for _ in range(runs):
        wall, own = time.perf_counter(), time.process_time()
        work()
        walls.append(time.perf_counter() - wall)
        processor.append(time.process_time() - own)
    values = (min(walls), np.median(walls), min(processor), np.median(processor))
    least, median, own_least, own_median = (1e3 * float(value) for value in values)
    return least, median, own_least, own_median


def _video(person: Image.Image, runs: int) -> tuple[float, float, float, float]:
    times = np.arange(FRAMES) / 25
    frames = [
        _placed(person, (1280, 720), round(350 + 200 * np.sin(time)), 20, 640) for time in times
    ]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "video.mp4")
        save_mp4(file, np.stack(frames), fps=25)
        info = video_info(file)

        def follow() -> None:
            follow_face(
                info, range(FRAMES), AlignOptions(), VideoOptions(), Framing(), tell=lambda _: None
            )

        taken = _measured(follow, runs)
    least, median, own_least, own_median = (value / FRAMES for value in taken)
    return least, median, own_least, own_median


if __name__ == "__main__":
    main()
