"""The overhead of mm_batch over a bare loop, and how it scales with items and devices.

The bare loop draws the same images of the bundled model in the same batches, and encodes and
writes them in as many threads. It has no manifest, journal or hashes, and does not sync files.
Where Ray is installed, the same is measured with a worker of a cluster on this machine.
Scaling with items is measured on tiny ones, an image of 8 px each, in processes of their own:
seconds, and peak memory.

  python -m benchmarks.batch
  python -m benchmarks.batch --items 10 100 1000 10000 100000
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import common, process
from mm_jax import media
from mm_jax.batch.journal import DONE, FAILED, Journal, Ledger
from mm_jax.batch.manifest import Item, read_items
from mm_jax.batch.runner import Runner, threads
from mm_jax.batch.store import LocalStore
from mm_jax.batch.tasks import Drawing, Sample
from mm_jax.checkpoints import save_generator
from mm_jax.latents import sample_latents, synthesize
from mm_jax.stylegan2.config import GeneratorConfig
from mm_jax.stylegan2.generator import Generator
from mm_jax.zoo import load_generator

_THREADS, _BATCH = 4, 16


def bare(gen: Generator, seeds: np.ndarray, folder: Path) -> None:
    """Draw each batch while the previous one is encoded and written."""
    folder.mkdir()

    def put(seed: int, image: np.ndarray) -> None:
        (folder / f"{seed}.png").write_bytes(media.png_bytes(image))

    with ThreadPoolExecutor(_THREADS) as threads:
        before: tuple[np.ndarray, Any] | None = None
        writing: list[Future[None]] = []
        for some in [*np.split(seeds, range(_BATCH, len(seeds), _BATCH)), None]:
            begun = None
            if some is not None:
                begun = some, synthesize(gen, sample_latents(gen, seeds=some))
            for future in writing:
                future.result()
            if before is not None:
                images = np.asarray(before[1])
                pairs = zip(before[0], images, strict=True)
                writing = [threads.submit(put, *pair) for pair in pairs]
            before = begun
        for future in writing:
            future.result()


def batched(gen: Generator, items: list[Item], folder: Path) -> None:
    """The same with mm_batch's loop."""
    folder.mkdir()
    journals = [Journal(folder / name) for name in (DONE, FAILED)]
    ledger = Ledger(*journals, total=len(items))
    with threads(_THREADS, _THREADS) as own:
        runner = Runner(
            task=Sample(gen=gen, drawing=Drawing(), batch=_BATCH),
            store=LocalStore(folder / "items", folder / "scratch"),
            enter=ledger.enter,
            threads=own,
        )
        runner.run(items)
    for journal in journals:
        journal.close()


def _process(flags: list[str], **environment: str) -> process.Taken:
    """Run mm_batch in a process of its own."""
    return process.run([sys.executable, "-m", "bin.mm_batch", *flags], environment)


def main(argv: list[str] | None = None) -> None:
    """Measure and publish."""
    parser = common.parser(__doc__ or "")
    parser.add_argument(
        "--images", type=int, default=512, help="number of images of the bundled model"
    )
    parser.add_argument("--items", type=int, nargs="+", default=[10, 100, 1000, 10_000])
    parser.add_argument("--devices", type=int, nargs="+", default=[1, 2])
    arguments = common.parse(parser, argv)
    count, sizes = (16, [2, 4]) if arguments.quick else (arguments.images, arguments.items)
    gen, rows = load_generator("people"), []
    tiny = common.random_generator(
        GeneratorConfig(resolution=8, channel_max=4, z_dim=4, w_dim=4, mapping_layers=2)
    )
    with tempfile.TemporaryDirectory() as name:
        folder, runs = Path(name), iter(range(1 << 30))
        seeds = np.arange(count)
        items = list(
            read_items(
                [("benchmark", {"seeds": f"0-{count - 1}"})], "sample", {"trunc": 0.7}, frames=1
            )
        )
        works: dict[str, common.Work] = {
            "mm_batch": lambda: batched(gen, items, folder / f"{next(runs)}"),
            "bare loop": lambda: bare(gen, seeds, folder / f"{next(runs)}"),
        }
        seconds = common.alternate(works, repeats=arguments.repeats)
        rows.append(
            {
                "case": f"{count} images of {gen.config.resolution} px",
                "seconds": seconds["mm_batch"],
                "bare loop [s]": seconds["bare loop"],
                "overhead": seconds["mm_batch"] / seconds["bare loop"] - 1,
            }
        )
        ways: list[tuple[str, int, list[str]]] = [
            (f"{devices} devices", devices, []) for devices in arguments.devices
        ]
        if importlib.util.find_spec("ray"):
            ways.append(("Ray, a worker", 1, ["--engine=ray", "--ray_workers=1"]))
        for case, devices, further in ways:
            seconds_of = {}
            # The first run compiles. The difference of the others leaves out start-up.
            for n in (_BATCH, _BATCH, count + _BATCH):
                flags = ["--task=sample", f"--seeds=0-{n - 1}", f"--batch={_BATCH * devices}"]
                flags += [f"--outdir={folder}/{next(runs)}", *further]
                seconds_of[n] = _process(flags, JAX_NUM_CPU_DEVICES=str(devices)).seconds
            rate = count / (seconds_of[count + _BATCH] - seconds_of[_BATCH])
            rows.append({"case": f"{count} images, {case}", "items/s": rate})
        save_generator(tiny, folder / "tiny")
        for n in sizes:
            flags = ["--task=sample", f"--generator={folder}/tiny", f"--seeds=0-{n - 1}"]
            taken, memory = _process([*flags, "--batch=256", f"--outdir={folder}/{next(runs)}"])
            rows.append(
                {"case": f"{n} tiny items", "seconds": taken, "items/s": n / taken, "MiB": memory}
            )
    common.publish("batch", rows, arguments)


if __name__ == "__main__":
    raise SystemExit(common.start(main))
