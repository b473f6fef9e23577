"""Robust PCA of the rows of W+: 18 matrices of 12 latents, 512 wide.

A peer is a Python file with a class whose `fit()` gives (low rank, sparse) of the matrix that it
was made with, one matrix at a time, such as the official code's. Beside the time stands how far
from the optimum each ends: the objective over a lower bound of it, less one.

  python -m benchmarks.rpca
  python -m benchmarks.rpca --peer-path ~/micromotion-styleGAN/StyleCLIP/optimization/pca.py
"""

from __future__ import annotations

import functools
import importlib.util
import inspect
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import common, peers
from mm_jax.errors import UsageError
from mm_jax.subspace.compat import official_rpca
from mm_jax.subspace.robust_pca import robust_pca


def codes(rows: int, count: int, width: int) -> np.ndarray:
    """[rows, count, width] float32: a motion of one direction, single entries off, some noise."""
    random = np.random.default_rng(0)
    degrees = np.linspace(0, 1, count)[None, :, None]
    data = degrees * random.standard_normal((rows, 1, width))
    data += 0.02 * random.standard_normal(data.shape)
    data += (random.random(data.shape) < 0.05) * random.standard_normal(data.shape)
    return data.astype(np.float32)


def excess(data: np.ndarray, low: np.ndarray, *, steps: int) -> float:
    """Mean over matrices [B, M, P] of objective / lower bound - 1, in float64."""
    weight = 1 / np.sqrt(max(data.shape[1:]))
    found = []
    for matrix, part in zip(data.astype(np.float64), low.astype(np.float64), strict=True):
        nuclear = np.linalg.svd(part, compute_uv=False).sum()
        objective = nuclear + weight * np.abs(matrix - part).sum()
        found.append(objective / lower_bound(matrix, weight, steps) - 1)
    return float(np.mean(found))


def lower_bound(data: np.ndarray, weight: float, steps: int) -> float:
    """The dual objective of a feasible point, which no decomposition [M, P] can be below."""
    mu = 20 / np.linalg.norm(data, 2)
    dual, sparse = np.zeros_like(data), np.zeros_like(data)
    for _ in range(steps):
        u, s, vt = np.linalg.svd(data - sparse + dual / mu, full_matrices=False)
        low = (u * np.maximum(s - 1 / mu, 0)) @ vt
        rest = data - low + dual / mu
        sparse = np.sign(rest) * np.maximum(np.abs(rest) - weight / mu, 0)
        dual += mu * (data - low - sparse)
    # The dual's constraints: no singular value above 1, no entry above the weight.
    dual /= max(1.0, np.linalg.norm(dual, 2), np.abs(dual).max() / weight)
    return float((dual * data).sum())


def _peer(path: str, name: str, data: np.ndarray) -> dict[str, Any]:
    """Functions that decompose all matrices by the peer's class, to low rank parts."""
    spec = importlib.util.spec_from_file_location("peer_rpca", Path(path))
    if spec is None or spec.loader is None or not Path(path).is_file():
        raise UsageError(f"--peer-path must be a Python file, got {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    solver: Any = getattr(module, name, None)
    if solver is None:
        raise UsageError(f"--peer-path={path} has no class {name}: name it with --peer-class")
    matrices: list[Any] = list(data)
    if hasattr(module, "torch"):
        matrices = [peers.import_torch().as_tensor(matrix) for matrix in matrices]

    def work(**stop: float) -> list[np.ndarray]:
        return [np.asarray(solver(matrix).fit(**stop)[0]) for matrix in matrices]

    works = {"peer": work}
    # The official rule for stopping depends on the data's scale, and mostly stops at once.
    if "tol" in inspect.signature(solver.fit).parameters:
        works["peer, to its last iteration"] = functools.partial(work, tol=1e-30)
    return works


def main(argv: list[str] | None = None) -> None:
    """Measure, print and write the table."""
    parser = common.parser(__doc__ or "")
    parser.add_argument("--peer-class", default="RPCA_gpu")
    arguments = common.parse(parser, argv)
    data = codes(2, 5, 24) if arguments.quick else codes(18, 12, 512)
    works: dict[str, Any] = {
        common.OURS: lambda: robust_pca(data).low_rank.block_until_ready(),
        "official rule in JAX": lambda: official_rpca(data).low_rank.block_until_ready(),
    }
    if arguments.peer_path:
        works |= _peer(arguments.peer_path, arguments.peer_class, data)
    seconds = common.alternate(works, repeats=arguments.repeats)
    steps = 200 if arguments.quick else 3000
    rows = [
        {
            "method": name,
            "seconds": seconds[name],
            "times our time": seconds[name] / seconds[common.OURS],
            "above the optimum": excess(data, np.stack(list(work())), steps=steps),
        }
        for name, work in works.items()
    ]
    iterations = np.asarray(robust_pca(data).iterations)
    common.publish(
        "rpca", rows, arguments, notes={"our iterations, mean": float(iterations.mean())}
    )


if __name__ == "__main__":
    raise SystemExit(common.start(main))
