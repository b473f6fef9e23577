"""mm_eval --topic=compared in several processes, which fill the folder of one run.

Every process takes parts of the comparison: all methods with the keys of one repetition, or claims.
With later keys a method begins to look for strength 1 where it was with the first ones, and so
waits for that. Files that two parts need, such as anchors, are written by who comes first.
"""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import jax

from mm_jax import allocator, compile_cache
from mm_jax.errors import DataError
from mm_jax.evaluation import compared_claims, compared_dci, compared_gradients
from mm_jax.evaluation.compared_judge import open_judge
from mm_jax.evaluation.compared_parts import files_of, measure_method, open_models, used, world_of
from mm_jax.evaluation.options import ComparedEval
from mm_jax.progress import ProgressFn, silent
from mm_jax.runs import RunFolder

__all__ = ["CLAIMS", "fill"]

CLAIMS = (compared_claims, compared_gradients, compared_dci)
"""What is measured beside the methods, by the first repetition's keys."""

# Seconds between looks at what there is.
_LOOK = 2.0
# What a process has opened.
_opened: dict[str, Any] = {}


def fill(run: RunFolder, options: ComparedEval, *, progress: ProgressFn) -> None:
    """Measure the parts that the folder lacks, in `options.jobs` processes.

    Args:
        run: the open folder, with what the judge reads of unedited faces.
        options: what is compared.
        progress: called with the parts that are done.

    Raises:
        DataError: as of a comparison in one process; the other processes are stopped then.
    """
    # What takes longest comes first: the claims, while others still had to wait.
    rounds = [("repetition", r) for r in range(options.repetitions)]
    claims = [("claims", i) for i in range(len(CLAIMS))] if options.claims else []
    parts = [
        part for part in (*rounds[:1], *claims, *rounds[1:]) if run.missing(_files(part, options))
    ]
    if not parts:
        return
    cache = jax.config.jax_compilation_cache_dir or "off"  # type: ignore[attr-defined]
    with ProcessPoolExecutor(
        min(options.jobs, len(parts)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_open,
        initargs=(run, options, cache),
    ) as pool:
        left = {pool.submit(_measure, part) for part in parts}
        try:
            while left:
                ended, left = concurrent.futures.wait(left, timeout=_LOOK)
                progress("parts", len(parts) - len(left), len(parts))
                for one in ended:
                    if fault := one.result():
                        raise DataError(fault)
        except BaseException:
            for child in multiprocessing.active_children():
                child.terminate()
            raise


def _files(part: tuple[str, int], options: ComparedEval) -> list[str]:
    """Names of the files that a part writes."""
    kind, place = part
    if kind == "claims":
        return CLAIMS[place].outputs(options)
    return [file for name in used(options, place) for file in files_of(name, place)]


def _open(run: RunFolder, options: ComparedEval, cache: str) -> None:
    """Begin a process."""
    compile_cache.be_quiet()
    compile_cache.compile_quickly()
    compile_cache.keep_programs(cache)
    allocator.keep_freed_memory()
    models = open_models(options)
    judged = open_judge(models, run, options, silent)
    _opened.update(run=run, options=options, models=models, judged=judged)


def _measure(part: tuple[str, int]) -> str:
    """Measure a part; what is wrong with its data, or ""."""
    run, options, models, judged = (_opened[n] for n in ("run", "options", "models", "judged"))
    kind, place = part
    try:
        if kind == "claims":
            world = world_of(models, run, options, 0, silent)
            CLAIMS[place].measure_all(world, judged, run, options, silent)
        else:
            world = world_of(models, run, options, place, silent)
            for name in used(options, place):
                if place:
                    _wait(run, files_of(name, 0))
                measure_method(name, world, judged, run, options, place, silent)
    except DataError as error:
        return str(error)
    return ""


def _wait(run: RunFolder, names: Sequence[str]) -> None:
    """Wait for files of another process; both are stopped if that one fails."""
    while run.missing(names):
        time.sleep(_LOOK)
