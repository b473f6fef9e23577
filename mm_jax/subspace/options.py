"""Options of the decomposition."""

from __future__ import annotations

import dataclasses

from mm_jax.anchors.options import layers_option
from mm_jax.checks import layer_mask
from mm_jax.errors import UsageError
from mm_jax.options import Options, option

__all__ = ["SubspaceOptions"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SubspaceOptions(Options):
    """How anchors are decomposed into a subspace.

    Attributes:
        method: "rpca" decomposes the low-rank part that robust PCA finds, "svd" the displacements
            themselves. "auto" is rpca for anchors from videos, among which there are bad frames,
            and svd for others: of the few anchors that prompts give, each with rows of W+ that no
            other one moves, robust PCA takes most of the motion for outliers. "compat" is the
            released code's direction, of rank 1, for one set of anchors; it ignores `centre` and
            `joint`.
        rank: K, 1 unless given.
        explained: instead of a rank: as many components as hold this fraction of the variance.
        centre: "start": displacements from the start latent; "mean": these less their mean;
            "none": the latents themselves, whose first component is mostly the mean latent.
        outliers: what robust PCA separates: "entries" of latents or whole "rows" (anchors);
            "auto" is rows for anchors from videos and entries for others.
        joint: decompose all rows of W+ as one vector, or each row by itself.
        layers: rows of W+ that take part; None for all.

    Raises:
        UsageError: a number out of range, or both rank and explained.
    """

    method: str = option(
        "auto",
        "Robust PCA, plain SVD, or the official code's direction; auto is robust PCA for videos "
        "and SVD for prompts.",
        choices=("auto", "rpca", "svd", "compat"),
    )
    rank: int | None = option(None, "Basis vectors to keep; 1 by default.", kind=int, minimum=1)
    explained: float | None = option(
        None,
        "Instead of --rank: keep as many as hold this fraction of the variance.",
        kind=float,
        above=0,
        maximum=1,
    )
    centre: str = option(
        "start",
        "What displacements are taken from: the start latent, their mean, or nothing.",
        choices=("start", "mean", "none"),
    )
    outliers: str = option(
        "auto",
        "What robust PCA separates: entries of latents, or whole latents (auto: for videos).",
        choices=("auto", "entries", "rows"),
    )
    joint: bool = option(True, "Decompose all rows of W+ together; --nojoint each by itself.")
    layers: tuple[int, ...] | None = layers_option()

    def check(self) -> None:
        """Refuse both a rank and a fraction."""
        if self.rank is not None and self.explained is not None:
            raise UsageError("give a rank or a fraction of variance to explain, not both")

    def check_fits(self, *, anchors: int, rows: int) -> None:
        """Refuse options that so many anchors of so many rows cannot satisfy.

        Raises:
            UsageError: the rank is above the number of anchors, or a layer above the last row.
        """
        if self.rank is not None and self.rank > anchors:
            raise UsageError(
                f"rank must be at most the number of anchors, {anchors}, got {self.rank}"
            )
        layer_mask(self.layers, rows)
