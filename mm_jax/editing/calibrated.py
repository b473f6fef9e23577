"""Calibrated strengths of an edit, and whether strengths go beyond where motions end."""

from __future__ import annotations

from collections.abc import Sequence

from mm_jax.artifacts import Subspace
from mm_jax.errors import DataError
from mm_jax.subspace.calibration import Calibration

__all__ = ["own_strengths"]


def own_strengths(
    names: Sequence[str],
    subspaces: Sequence[Subspace],
    strengths: Sequence[Sequence[float]],
    *,
    even: bool,
) -> tuple[tuple[tuple[float, ...], ...], list[str]]:
    """Strengths in the units of each subspace, and notes on those beyond its calibration.

    Args:
        names: E names of the subspaces, for messages.
        subspaces: E subspaces.
        strengths: [E][S].
        even: whether these are calibrated strengths (`mm_jax.subspace.calibration`).

    Raises:
        DataError: a calibration is damaged, or `even` and there is none.
    """
    found, notes = [], []
    for name, subspace, row in zip(names, subspaces, strengths, strict=True):
        try:
            calibration = Calibration.of(subspace.meta)
        except DataError as error:
            raise DataError(f"{name}: {error}") from error
        if even and calibration is None:
            raise DataError(
                f"{name} has no calibration; mm_extract --subspace={name} --outdir=FOLDER makes one"
            )
        own = tuple(map(float, row))
        if calibration is not None:
            own = tuple(calibration.strengths_of(row).tolist()) if even else own
            if calibration.beyond(own):
                notes.append(f"{name}: {_beyond(calibration, even=even)}")
        found.append(own)
    return tuple(found), notes


def _beyond(calibration: Calibration, *, even: bool) -> str:
    low, high = calibration.saturates
    ends = calibration.amounts_of([low, high]) if even else (low, high)
    return (
        f"below strength {ends[0]:.2f} and above {ends[1]:.2f} what CLIP reads hardly changes any "
        "more; some of the strengths are beyond"
    )
