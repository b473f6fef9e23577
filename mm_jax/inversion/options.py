"""Options of the inversion and of the tuning of a generator."""

from __future__ import annotations

import dataclasses

from mm_jax.errors import UsageError
from mm_jax.options import Options, option

__all__ = ["InversionPlan", "InversionSources", "InvertOptions", "JudgeOptions", "TuneOptions"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class InvertOptions(Options):
    """How images are inverted; the loss is that of `mm_jax.inversion.optimize`.

    Attributes:
        space: "w+", "w" (all rows equal) or "s" (StyleSpace).
        encoder_steps: corrections of a ReStyle encoder.
        steps: of the optimisation; 0 only measures the start.
        optimizer: "adam" with the schedule of Karras et al. 2020's projector, or "lbfgs" with a
            line search for each image, whose steps cost several times as much.
        learning_rate: of Adam, in units of a coordinate's standard deviation over sampled latents.
        pixel_weight: of the mean squared difference.
        laplacian_weight: of `mm_jax.inversion.losses.laplacian_distance`.
        lpips_weight: of LPIPS, where a network is given.
        identity_weight: of one minus the cosine of identities, where a network is given.
        mean_weight: of the distance from the mean latent. Latents near the mean edit like sampled
            ones; more than the default costs likeness (docs/inversion.md).
        start_weight: of the distance from the start; with an encoder, the same trade-off.
        w_weight: of the distance from W: half of the steps search W, where every latent's image is
            the generator's own, and the others W+, near what was found there. Of other spaces it is
            the least `mean_weight`.
        temporal_weight: the images are the frames of one video in order; cost of the distance of
            each latent to the one before. The first frame of a later batch is held to the last
            latent of the batch before, so here the result depends on `batch_size`.
        noise: "const" keeps the generator's fixed noise, "optimize" fits maps for each image.
        noise_weight: of their autocorrelation.
        patience: leave an image alone when its loss has not fallen by 1 % in so many steps.

    Raises:
        UsageError: a number out of range, or options that contradict each other.
    """

    space: str = option("w+", "Space that is searched.", choices=("w+", "w", "s"))
    encoder_steps: int = option(5, "Corrections of a ReStyle encoder.", minimum=1)
    steps: int = option(50, "Optimisation steps; 0 takes the start as it is.", minimum=0)
    optimizer: str = option(
        "adam", "Adam with the projector's schedule, or L-BFGS.", choices=("adam", "lbfgs")
    )
    learning_rate: float = option(
        0.1, "Of Adam, in standard deviations of sampled latents.", above=0
    )
    pixel_weight: float = option(1.0, "Cost of a squared difference of pixels.", minimum=0)
    laplacian_weight: float = option(
        1.0, "Cost of differences of the Laplacian pyramids.", minimum=0
    )
    lpips_weight: float = option(1.0, "Cost of LPIPS, with --lpips.", minimum=0)
    identity_weight: float = option(0.3, "Cost of a change of identity, see --identity.", minimum=0)
    mean_weight: float = option(0.003, "Cost of distance from the mean latent.", minimum=0)
    start_weight: float = option(0.0, "Cost of distance from the start.", minimum=0)
    w_weight: float = option(0.0, "Cost of distance from W.", minimum=0, flag=False)
    patience: int | None = option(
        None, "Leave an image alone after so many steps without progress.", kind=int, minimum=1
    )
    temporal_weight: float = option(
        0.0, "Cost of a change of the latent from frame to frame.", minimum=0, flag=False
    )
    noise: str = option(
        "const", "Fixed noise, or maps fitted to each image.", choices=("const", "optimize"),
        flag=False,
    )  # fmt: skip
    noise_weight: float = option(1.0, "Cost of the maps' autocorrelation.", minimum=0, flag=False)

    def check(self) -> None:
        """Refuse what L-BFGS cannot do."""
        if self.optimizer == "lbfgs" and (self.temporal_weight or self.noise == "optimize"):
            raise UsageError(
                "lbfgs takes images one by one and with fixed noise: use adam with "
                "temporal_weight or optimised noise"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TuneOptions(Options):
    """How a copy of the generator is tuned to images (pivotal tuning).

    Attributes:
        steps: of Adam at most, with the schedule of Karras et al. 2020's projector.
        learning_rate: for parameters as they are stored, that is of about unit variance.
        locality_weight: of changes of the images away from the pivots.
        pull: `InvertOptions.w_weight` of images that the generator does not know. Near W a latent's
            image is a face that moves as sampled ones do; what it lacks is tuned.
        pixel_weight, laplacian_weight, lpips_weight, identity_weight: as in `InvertOptions`.

    Raises:
        UsageError: a number out of range.
    """

    steps: int = option(300, "Steps of the tuning.", minimum=1, flag="tune_steps")
    learning_rate: float = option(0.003, "Learning rate of the tuning.", above=0, flag="tune_rate")
    locality_weight: float = option(
        0.1, "Cost of changes of images away from the latents found, in the tuning.", minimum=0
    )
    pull: float = option(
        0.3,
        "Cost of distance from W for images that the generator does not know: they are inverted "
        "again so. 0 leaves them as they are.",
        minimum=0,
    )
    pixel_weight: float = option(1.0, "As in the inversion.", minimum=0, flag=False)
    laplacian_weight: float = option(1.0, "As in the inversion.", minimum=0, flag=False)
    lpips_weight: float = option(1.0, "As in the inversion.", minimum=0, flag=False)
    identity_weight: float = option(0.3, "As in the inversion.", minimum=0, flag=False)


@dataclasses.dataclass(frozen=True, kw_only=True)
class InversionSources(Options):
    """What a program inverts with: where the search begins, and which networks compare images.

    Raises:
        UsageError: both a start and an encoder.
    """

    encoder: str = option("auto", "Encoder to begin with: name, folder, or none for the mean.")
    start: str = option("", "File of latents (.npz) to begin with in place of an encoder.")
    lpips: str = option("", "Folder of an LPIPS network to compare images with.")
    identity: str = option(
        "auto",
        "What holds the identity: faces (the bundled recogniser), the folder of an ArcFace, none; "
        "auto is faces, where the generator does not know the image.",
        alias="arcface",
    )
    tune: bool | None = option(
        None,
        "Fine-tune a copy of the generator to the images (pivotal tuning): by default where it "
        "does not know them, unless mm_edit moves their own pixels (--paste=move); --tune always, "
        "--notune never.",
        kind=bool,
    )

    def check(self) -> None:
        """Refuse both a start and an encoder."""
        if self.start and self.encoder not in ("auto", "none"):
            raise UsageError("give --start or --encoder, not both")


@dataclasses.dataclass(frozen=True, kw_only=True)
class InversionPlan(Options):
    """All that a program does to invert images.

    Attributes:
        sources: where the search begins, which networks compare, whether a generator is tuned.
        invert: how images are inverted.
        tuning: how a copy of the generator is tuned to them.
    """

    sources: InversionSources = InversionSources()
    invert: InvertOptions = InvertOptions()
    tuning: TuneOptions = TuneOptions()


@dataclasses.dataclass(frozen=True, kw_only=True)
class JudgeOptions(Options):
    """What a program does about results that are judged to be of no use."""

    keep: bool = option(
        False, "Exit with status 0 also where the verdict is that nothing usable came out."
    )
