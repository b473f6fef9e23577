"""All that is wanted of a GPU in one run of at most eight minutes, without a network.

1. Numbers: images, gradients and the five bundled motions on the device, and the same on the CPU.
2. Limits: the rate of matmuls in each precision, and of copies.
3. Images and gradients of configuration f: seconds, rates, and how near they are to the roofline,
   the longer of the two times that the limits allow for their operations and for their bytes.
4. Jobs: text anchors with a CLIP of ViT-B/32's size, and images a second by mm_batch's loop.
5. With --peer-path, NVlabs' generator with its CUDA operations, if they compile.

Precisions: float32 is JAX's "highest"; TF32 is what XLA takes by default on NVIDIA's GPUs since
Ampere (on other devices whatever their default is); bfloat16 has parameters, latents and all
between in it. What the time does not reach is listed as left out. If float32 is off by more than
0.001 of the CPU's range, the exit status is 1.

A checkout of NVlabs/stylegan3 wants PyTorch, ninja, a CUDA compiler and setuptools<81, since it
imports pkg_resources.

  make bench-gpu
  make bench-gpu BENCH_FLAGS='--peer-path ../stylegan3'
  python -m benchmarks.gpu --resolution 1024 --batch 1 8 --minutes 4
  python -m docs.gpu runs/bench/gpu.json       # puts the tables into the page
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import batch, common, peers, text_anchors
from mm_jax import zoo
from mm_jax.artifacts import load_subspace
from mm_jax.batch.manifest import read_items
from mm_jax.edit_metrics import motion_truth
from mm_jax.editing.affine import apply_edit
from mm_jax.errors import UsageError
from mm_jax.evaluation.motions import target_of
from mm_jax.evaluation.reading import factor_scale, read_images
from mm_jax.latents import sample_latents
from mm_jax.perceptual.probe import load_probe
from mm_jax.stylegan2 import networks
from mm_jax.stylegan2.generator import Generator

__all__ = ["PRECISIONS", "Case", "lowered", "main"]

Work = Literal["images", "gradient"]

PRECISIONS: dict[str, tuple[str, Any]] = {
    "float32": ("highest", jnp.float32),
    "TF32": ("default", jnp.float32),
    "bfloat16": ("default", jnp.bfloat16),
}
"""By name, JAX's precision of matmuls and the type of parameters and latents."""

TOLERANCE = 1e-3
# Ends of the stages, as fractions of the time.
_ENDS = {"images": 0.45, "gradient": 0.65, "jobs": 0.85}
# Work is repeated without waiting for so many seconds, which hides the start of each.
_ROUND = 0.2
_STRENGTHS = (-1.0, 0.0, 1.0)


class Case(NamedTuple):
    """One program that is measured."""

    work: Work
    resolution: int
    batch: int
    precision: str

    def __str__(self) -> str:
        return f"{self.work}, {self.resolution} px, batch {self.batch}, {self.precision}"


@dataclass
class Clock:
    """The time there is, and what was left out for want of it."""

    minutes: float
    began: float = field(default_factory=time.monotonic)
    left_out: list[str] = field(default_factory=list)

    @property
    def spent(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.began

    def left(self, stage: str | None = None) -> float:
        """Seconds until the end of a stage, or of all."""
        return 60 * self.minutes * _ENDS.get(stage or "", 1.0) - self.spent


# Programs.


def images(gen: Generator, ws: jax.Array) -> jax.Array:
    """Images [N, R, R, 3] of latents [N, L, D], in the type of the generator's parameters."""
    return networks.synthesis(gen.config, gen.params, ws)


def gradient(gen: Generator, ws: jax.Array) -> jax.Array:
    """Of the images' sum with respect to latents [N, L, D]."""
    return jax.grad(lambda ws: jnp.sum(images(gen, ws).astype(jnp.float32)))(ws)


_PROGRAMS: dict[str, Callable[[Generator, jax.Array], jax.Array]] = {
    "images": jax.jit(images),
    "gradient": jax.jit(gradient),
}


def lowered(case: Case, gen: Generator, *, platform: str | None = None) -> Any:
    """A case's program, lowered for a platform; leaves of `gen` may be shapes alone."""
    precision, dtype = PRECISIONS[case.precision]

    def shaped(leaf: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, dtype)

    ws = jax.ShapeDtypeStruct((case.batch, gen.config.num_ws, gen.config.w_dim), dtype)
    with jax.default_matmul_precision(precision):
        program: Any = _PROGRAMS[case.work]
        traced = program.trace(jax.tree.map(shaped, gen), ws)
        return traced.lower(lowering_platforms=(platform,)) if platform else traced.lower()


def in_precision(precision: str, *trees: Any) -> Any:
    """Pytrees with their leaves in a precision's type."""
    _, dtype = PRECISIONS[precision]
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), trees)


# Numbers.


def _cpu() -> Any:
    try:
        return jax.devices("cpu")[0]
    except RuntimeError as error:
        raise UsageError(
            f"JAX_PLATFORMS must name cpu too, whose numbers are compared with: {error}"
        ) from error


def _on_both(work: Work, gen: Generator, ws: Any, precision: str) -> tuple[np.ndarray, np.ndarray]:
    """On the device in a precision, and on the CPU in float32."""
    with jax.default_matmul_precision(PRECISIONS[precision][0]):
        ours = _PROGRAMS[work](*in_precision(precision, gen, jnp.asarray(ws)))
    with jax.default_matmul_precision("highest"):
        reference = _PROGRAMS[work](*jax.device_put((gen, jnp.asarray(ws)), _cpu()))
    return np.asarray(ours, np.float32), np.asarray(reference)


def _errors(ours: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """Largest and root mean square difference, as fractions of the reference's range."""
    difference = (ours - reference) / np.ptp(reference)
    return {
        "largest error": float(np.abs(difference).max()),
        "rms error": float(np.sqrt(np.mean(difference**2))),
    }


def check_numbers(*, quick: bool) -> list[dict[str, Any]]:
    """The rows of the first table."""
    rows: list[dict[str, Any]] = []
    gen = common.random_generator(common.sized(256, quick=quick))
    shape = (2, gen.config.num_ws, gen.config.w_dim)
    ws = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    for precision in PRECISIONS:
        for work in ("images", "gradient"):
            pair = _on_both(work, gen, ws, precision)
            case = Case(work, gen.config.resolution, len(ws), precision)
            rows.append({"case": str(case), "precision": precision, **_errors(*pair)})
    if quick:
        return rows + _check_motions(["float32"], faces=2)
    return rows + _check_motions(list(PRECISIONS), faces=24)


def _check_motions(precisions: Sequence[str], *, faces: int) -> list[dict[str, Any]]:
    """The bundled motions of unseen faces, and what the judge reads of both devices' images."""
    gen, judge = zoo.load_generator(zoo.GENERATOR), load_probe(zoo.JUDGE)
    ws = sample_latents(gen, seeds=range(1000, 1000 + faces), truncation_psi=0.7)
    rows = []
    for motion, file in zoo.bundled_motions(gen).items():
        edited = np.asarray(apply_edit(ws, load_subspace(file), _STRENGTHS))  # [N, S, L, D]
        flat = edited.reshape(-1, *edited.shape[2:])
        target, sign = target_of(motion, judge.factors)
        for precision in precisions:
            pair = _on_both("images", gen, flat, precision)
            row = {"case": f"{motion}, {len(flat)} images, {precision}", "precision": precision}
            row |= _errors(*pair)
            for where, drawn in zip(("device", "CPU"), pair, strict=True):
                read = read_images(judge, drawn).reshape(faces, len(_STRENGTHS), -1)
                scale = factor_scale(read[:, 1])
                truth = motion_truth(
                    read, np.asarray(_STRENGTHS), target=target, factor_scale=scale, sign=sign
                )
                row[f"right way, {where}"] = truth.right_way
                row[f"leakage, {where}"] = truth.leakage_mean
            rows.append(row)
    return rows


# Times.


def seconds_of(call: Callable[[], Any], *, repeats: int) -> float:
    """Median seconds of a call after one to warm up, many in a row where it is short."""
    jax.block_until_ready(call())
    began = time.perf_counter()
    jax.block_until_ready(call())
    calls = int(np.clip(_ROUND / max(time.perf_counter() - began, 1e-9), 1, 50))
    taken = []
    for _ in range(repeats):
        began = time.perf_counter()
        for _ in range(calls):
            result = call()
        jax.block_until_ready(result)
        taken.append((time.perf_counter() - began) / calls)
    return float(np.median(taken))


def limits(*, quick: bool, repeats: int) -> dict[str, float]:
    """TFLOP/s of matmuls in each precision, and GB/s of copies, the best of a few sizes."""
    random = np.random.default_rng(0)

    def matmul(size: int, precision: str, dtype: Any) -> float:
        matrix = jnp.asarray(random.standard_normal((size, size), np.float32), dtype)
        with jax.default_matmul_precision(precision):
            multiply = jax.jit(jnp.matmul).lower(matrix, matrix).compile()
        return 2e-12 * size**3 / seconds_of(lambda: multiply(matrix, matrix), repeats=repeats)

    sizes = (64,) if quick else (4096, 8192)
    best = {
        f"matmul, {name} [TFLOP/s]": max(matmul(size, *how) for size in sizes)
        for name, how in PRECISIONS.items()
    }
    block = jnp.zeros(1 << (16 if quick else 28), jnp.float32)
    copy = jax.jit(jnp.negative)
    best["copy [GB/s]"] = 2e-9 * block.nbytes / seconds_of(lambda: copy(block), repeats=repeats)
    return best


def roofline(
    case: Case, compiled: Any, seconds: float, multiply_adds: int, best: Mapping[str, float]
) -> dict[str, Any]:
    """Rates of a program, and how near it is to what the device's limits allow.

    Operations are counted from the configuration, as XLA does not see into the libraries that do
    the convolutions on a GPU. Bytes are those of XLA's own analysis, where it has one.
    """
    found = compiled.cost_analysis() or {}
    analysis = found[0] if isinstance(found, list) else found
    work = 2e-12 * multiply_adds
    least = {"matmul": work / best[f"matmul, {case.precision} [TFLOP/s]"]}
    row: dict[str, Any] = {
        "seconds": seconds,
        "images/s": case.batch / seconds,
        "TFLOP/s": work / seconds,
        "FLOPs by XLA": analysis.get("flops"),
        "bytes by XLA": analysis.get("bytes accessed"),
    }
    memory = compiled.memory_analysis()
    if memory is not None:
        row["temporary [MiB]"] = memory.temp_size_in_bytes / 2**20
    if row["bytes by XLA"]:
        row["GB/s"] = 1e-9 * row["bytes by XLA"] / seconds
        least["copy"] = 1e-9 * row["bytes by XLA"] / best["copy [GB/s]"]
    row |= {f"of the {name} rate": value / seconds for name, value in least.items()}
    return {**row, "of the roofline": max(least.values()) / seconds}


@contextlib.contextmanager
def _memory_may_end(row: dict[str, Any]) -> Iterator[None]:
    """Note in a row that memory ran out within the block; other errors go on."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        row["error"] = "out of memory"


def measure(
    cases: Sequence[Case], clock: Clock, best: Mapping[str, float], *, quick: bool, repeats: int
) -> list[dict[str, Any]]:
    """A row for each case. All are compiled side by side first, then measured one by one."""
    stage = cases[0].work
    gens = {
        side: common.random_generator(common.sized(side, quick=quick))
        for side in dict.fromkeys(case.resolution for case in cases)
    }
    # Few: trying kernels out takes memory of the device.
    pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="compile")
    compiling: dict[Case, Future[Any]] = {
        case: pool.submit(lambda case=case: lowered(case, gens[case.resolution]).compile())
        for case in cases
    }
    wait(compiling.values(), timeout=max(clock.left(stage), 0.0))
    pool.shutdown(wait=False, cancel_futures=True)
    rows = []
    for case, future in compiling.items():
        if not future.done() or clock.left(stage) < 0:
            clock.left_out.append(str(case))
            continue
        row: dict[str, Any] = {"case": str(case), **case._asdict()}
        gen = gens[case.resolution]
        with _memory_may_end(row):
            compiled = future.result()
            shape = (case.batch, gen.config.num_ws, gen.config.w_dim)
            ws = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
            arguments = in_precision(case.precision, gen, ws)
            seconds = seconds_of(lambda: compiled(*arguments), repeats=repeats)  # noqa: B023
            work = common.macs(gen.config) * case.batch * (2 if stage == "gradient" else 1)
            row |= roofline(case, compiled, seconds, work, best)
        rows.append(row)
        print(f"  {case}: {row.get('error') or format(row['seconds'], '.4g') + ' s'}", flush=True)
    return rows


def jobs(clock: Clock, *, quick: bool) -> list[dict[str, Any]]:
    """Rows of the text-anchor job and of mm_batch's loop, in XLA's default precision."""
    rows: list[dict[str, Any]] = []
    config = common.sized(1024, quick=quick)
    degrees, steps = (2, 2) if quick else (11, 10)
    job = text_anchors.random_job(config, degrees=degrees, quick=quick)
    for size, how in ((None, "batches of about 2 GiB"), (degrees, "all degrees at once")):
        name = f"text anchors, {config.resolution} px, {degrees} degrees x {steps} steps, {how}"
        if clock.left("jobs") < 0:
            clock.left_out.append(name)
            continue
        row: dict[str, Any] = {"case": name, "items": "steps of one code"}
        with _memory_may_end(row):
            for _ in ("compiled", "measured"):
                began = time.perf_counter()
                text_anchors.our_codes(job, steps=steps, judged=config.resolution, batch_size=size)
                row["seconds"] = time.perf_counter() - began
            row["items/s"] = degrees * steps / row["seconds"]
        rows.append(row)
    count = 32 if quick else 1024
    name = f"mm_batch's loop, {count} images of the bundled generator"
    if clock.left("jobs") > 0:
        gen = zoo.load_generator(zoo.GENERATOR)
        parts = [("benchmark", {"seeds": f"0-{count - 1}"})]
        items = list(read_items(parts, "sample", {"trunc": 0.7}, frames=1))
        with tempfile.TemporaryDirectory() as folder:
            for run in ("compiled", "measured"):
                began = time.perf_counter()
                batch.batched(gen, items, Path(folder) / run)
                seconds = time.perf_counter() - began
        rows.append(
            {"case": name, "seconds": seconds, "items/s": count / seconds, "items": "images"}
        )
    else:
        clock.left_out.append(name)
    return rows


# The peer.


def _cuda_operations() -> str:
    """Compile NVlabs' CUDA operations: "" once they are there, else why not."""
    try:
        for name in ("bias_act", "upfirdn2d"):
            importlib.import_module(f"torch_utils.ops.{name}")._init()
    except Exception as error:  # a compiler's, a loader's or the checkout's own, all are told
        lines = str(error).strip().splitlines()
        return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"
    return ""


def peer(
    path: str | None, clock: Clock, arguments: argparse.Namespace
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What is to be said of NVlabs' generator, and its rows."""
    if not path:
        return {"measured": False, "why": "no --peer-path was given"}, []
    rows: list[dict[str, Any]] = []
    on_cuda = False
    for resolution in arguments.resolution:
        gen = common.random_generator(common.sized(resolution, quick=arguments.quick))
        found = peers.open_generators(path, gen)
        on_cuda = any(one.device == "cuda" for one in found.values())
        if on_cuda and (why := _cuda_operations()):
            return {"measured": False, "why": f"its CUDA operations do not compile: {why}"}, rows
        for count in arguments.batch:
            shape = (count, gen.config.num_ws, gen.config.w_dim)
            ws = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
            works: tuple[tuple[str, Literal["forward", "gradient"]], ...] = (
                ("images", "forward"),
                ("gradient", "gradient"),
            )
            for work, what in works:
                for name, call in peers.works(found, ws, what).items():
                    case = f"{work}, {gen.config.resolution} px, batch {count}"
                    if clock.left() < 0:
                        clock.left_out.append(f"{case}, {name}")
                        continue
                    row: dict[str, Any] = {"case": case, "peer": name}
                    try:
                        seconds = seconds_of(call, repeats=arguments.repeats)
                    except RuntimeError as error:  # torch's own error of memory is one
                        if "out of memory" not in str(error):
                            raise
                        row["error"] = "out of memory"
                    else:
                        row |= {"seconds": seconds, "images/s": count / seconds}
                    rows.append(row)
    return {"measured": True, "cuda operations": on_cuda}, rows


def main(argv: list[str] | None = None) -> None:
    """Measure, print and write gpu.json."""
    parser = common.parser(__doc__ or "")
    parser.add_argument("--resolution", type=int, nargs="+", default=[256, 512, 1024])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--minutes", type=float, default=8.0, help="time for all, start included")
    arguments = common.parse(parser, argv)
    quick, repeats = arguments.quick, arguments.repeats
    if quick:
        arguments.resolution, arguments.batch = arguments.resolution[:1], [2]
    clock = Clock(arguments.minutes)
    if arguments.peer_path:  # PyTorch needs memory beside
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    _cpu()
    device = jax.devices()[0]
    print(f"{device.device_kind}, {len(jax.devices())} of them", flush=True)
    checked = check_numbers(quick=quick)
    best = limits(quick=quick, repeats=repeats)
    rows: list[dict[str, Any]] = []
    sides, batches = arguments.resolution, arguments.batch
    for work in ("images", "gradient"):
        # The largest batch of gradients is for machines with much memory, and comes last.
        cases = [Case(work, r, b, p) for b in batches for p in PRECISIONS for r in sides]
        rows += measure(cases, clock, best, quick=quick, repeats=repeats)
    done = jobs(clock, quick=quick)
    said, of_peer = peer(arguments.peer_path, clock, arguments)
    worst = max(row["largest error"] for row in checked if row["precision"] == "float32")
    notes = {
        "device": device.device_kind,
        "platform": device.platform,
        **best,
        "largest error of float32": worst,
        "left out": clock.left_out,
        "seconds of all": round(clock.spent, 1),
    }
    further = {"numbers": checked, "limits": best, "jobs": done, "peer": {**said, "rows": of_peer}}
    common.publish("gpu", rows, arguments, notes=notes, further=further)
    if worst > TOLERANCE:
        raise SystemExit(
            f"gpu: float32 must be within {TOLERANCE:g} of the CPU's range, is off by {worst:.2g}"
        )


if __name__ == "__main__":
    raise SystemExit(common.start(main))
