"""mm_eval --topic=domain: do micromotions that were found in faces move pencil drawings?

Two ways lead there. A generator that was tuned to drawings with its mapping network held still has
the same W+, so a subspace needs nothing but to be applied. And a drawing that came from elsewhere
is inverted, into either generator, and its latent is moved. What moved is read by probes that took
no part in training the generators: `people-judge` was trained on faces in colour,
`people-sketch-judge` on drawings.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mm_jax import io
from mm_jax.anchors import folder as anchors_folder
from mm_jax.anchors.prompts import MOTIONS
from mm_jax.demo.options import DemoOptions
from mm_jax.demo.report import LIMITS
from mm_jax.edit_metrics import MotionTruth, motion_truth
from mm_jax.editing.affine import apply_edit
from mm_jax.errors import UsageError
from mm_jax.evaluation.domain_images import draw_inverted, draw_shared
from mm_jax.evaluation.motions import find_motions, load_motions, target_of
from mm_jax.evaluation.options import DomainEval
from mm_jax.evaluation.reading import factor_scale, r_squared, read_images, read_latents
from mm_jax.evaluation.renders import KnownRenders, check_known_renders, load_known_renders
from mm_jax.evaluation.results import Result
from mm_jax.inversion.invert import invert
from mm_jax.latents import sample_latents
from mm_jax.people.drawing import pencil
from mm_jax.perceptual.clip_files import load_clip
from mm_jax.perceptual.probe import Probe, load_probe
from mm_jax.progress import ProgressFn, silent
from mm_jax.report import Figure, Section, Table
from mm_jax.runs import RunFolder
from mm_jax.stylegan2.generator import Generator
from mm_jax.zoo import load_generator

__all__ = ["Case", "evaluate", "open_models", "outputs"]

SHARED, INVERTED = "shared.png", "inverted.png"
INVERSIONS, READINGS = "inverted.npz", "readings.npz"


@dataclasses.dataclass(frozen=True)
class Case:
    """What is moved, in the generator of which domain."""

    title: str
    domain: str
    drawings: bool = False

    @property
    def reader(self) -> str:
        """The domain whose judge reads: that of the images, which inverted drawings are like."""
        return "sketch" if self.drawings else self.domain


CASES = (
    Case("sampled latents as faces", "face"),
    Case("the same latents as drawings", "sketch"),
    Case("drawings inverted into the sketch generator", "sketch", drawings=True),
    Case("drawings inverted into the face generator", "face", drawings=True),
)

EXPLAINED = """\
The subspaces were found in faces in colour, from prompts. How the metrics are defined is in \
mm_jax/edit_metrics.py. Faces are read by the judge of faces; drawings, inverted ones too, by the \
sketch judge."""


def open_models(options: DomainEval) -> dict[str, Any]:
    """The networks by name.

    Raises:
        UsageError: unknown names, generators whose latents differ in shape, renders of another
            size or fewer than are to be drawn.
        DataError: missing or damaged folders.
    """
    gen, sketch = load_generator(options.generator), load_generator(options.sketch_generator)
    shapes = [(c.num_ws, c.w_dim, c.resolution) for c in (gen.config, sketch.config)]
    if shapes[0] != shapes[1]:
        raise UsageError(
            f"{options.generator} and {options.sketch_generator} differ in resolution or W+"
        )
    renders = load_known_renders(options.renders)
    check_known_renders(
        renders, gen.config, names=(options.generator, options.renders), drawings=options.drawings
    )
    return {
        "gen": gen,
        "sketch": sketch,
        "renders": renders,
        "judge": load_probe(options.judge),
        "sketch_judge": load_probe(options.sketch_judge),
        "clip": None if options.subspaces else load_clip(options.clip),
    }


def outputs(options: DomainEval) -> list[str]:
    """Names of the files that `evaluate` writes beside the tables and the report."""
    names = [INVERSIONS, READINGS, SHARED, INVERTED]
    if not options.subspaces:
        starts = [f"seed{seed:04d}" for seed in DemoOptions().starts]
        tables = anchors_folder.tables(starts)
        names += [f"{motion}/{file}" for motion in MOTIONS for file in tables]
    return names


def evaluate(
    models: Mapping[str, Any],
    run: RunFolder,
    options: DomainEval,
    progress: ProgressFn = silent,
) -> Result:
    """Move sampled latents and inverted drawings in both generators, and read what moved.

    Raises:
        DataError: a subspace that is missing or of another generator, a stored file that is
            damaged, or an inversion that diverges.
    """
    gens: dict[str, Generator] = {"face": models["gen"], "sketch": models["sketch"]}
    judges: dict[str, Probe] = {"face": models["judge"], "sketch": models["sketch_judge"]}
    if models["clip"] is None:
        motions = load_motions(options.subspaces, gens["face"], tuple(MOTIONS))
    else:
        motions = find_motions(
            gens["face"], models["clip"], run.path, batch=options.batch, progress=progress
        )
    drawings, factors = drawings_of(models["renders"], options.drawings)
    inverted = _inverted(gens, drawings, run.file(INVERSIONS), options, progress)
    sampled = np.asarray(
        sample_latents(gens["face"], seeds=options.identities, truncation_psi=options.trunc)
    )

    def codes_of(case: Case) -> np.ndarray:
        return inverted[f"{case.domain}_ws"] if case.drawings else sampled

    if run.missing([READINGS]):
        read = {
            f"{name} drawings": read_images(judge, drawings, batch=options.batch)
            for name, judge in judges.items()
        }
        for name, gen in gens.items():
            read[f"{name} population"] = read_latents(
                gen, judges[name], sampled, batch=options.batch, progress=progress
            )
        for case in CASES:
            for motion, subspace in motions.items():
                edited = apply_edit(codes_of(case), subspace, options.strengths)
                read[f"{case.title}: {motion}"] = read_latents(
                    gens[case.domain],
                    judges[case.reader],
                    edited,
                    batch=options.batch,
                    progress=progress,
                    label=f"{case.title}: {motion}",
                )
        io.save_npz(run.file(READINGS), **read)
    if run.missing([SHARED]):
        draw_shared(gens, motions, sampled, options, run.file(SHARED))
    if run.missing([INVERTED]):
        draw_inverted(gens, motions, inverted, drawings, options, run.file(INVERTED))
    read = _stored(run.file(READINGS), judges, options)
    readable = {name: float(r_squared(read[f"{name} drawings"], factors).mean()) for name in judges}
    psnr = {name: float(inverted[f"{name}_psnr"].mean()) for name in gens}
    return _result(run, judges, _truths(read, judges, options), psnr, readable)


def _inverted(
    gens: Mapping[str, Generator],
    drawings: np.ndarray,
    file: Path,
    options: DomainEval,
    progress: ProgressFn,
) -> dict[str, np.ndarray]:
    """Latents "<domain>_ws" [N, L, D] and likeness "<domain>_psnr" [N] of the drawings."""
    if not file.exists():
        found: dict[str, Any] = {}
        for name, gen in gens.items():
            one = invert(
                gen,
                drawings,
                steps=options.inversion_steps,
                mean_weight=options.mean_weight,
                batch_size=options.batch,
                progress=progress,
            )
            found |= {f"{name}_ws": one.ws, f"{name}_psnr": one.psnr}
        io.save_npz(file, **found)
    count, config = len(drawings), gens["face"].config
    shapes = {"ws": (count, config.num_ws, config.w_dim), "psnr": (count,)}
    wanted = {f"{name}_{kind}": shape for name in gens for kind, shape in shapes.items()}
    return io.load_npz(file, required=wanted)


def _stored(file: Path, judges: Mapping[str, Probe], options: DomainEval) -> dict[str, np.ndarray]:
    """The readings of a run, each [N, F] or [N, S, F]."""
    people, drawn = len(options.identities), options.drawings
    wanted: dict[str, tuple[int, ...]] = {}
    for name, judge in judges.items():
        wanted[f"{name} drawings"] = (drawn, len(judge.factors))
        wanted[f"{name} population"] = (people, len(judge.factors))
    for case in CASES:
        factors = judges[case.reader].factors
        shape = (drawn if case.drawings else people, options.measured, len(factors))
        wanted |= {f"{case.title}: {motion}": shape for motion in MOTIONS}
    return io.load_npz(file, required=wanted)


def _truths(
    read: Mapping[str, np.ndarray], judges: Mapping[str, Probe], options: DomainEval
) -> dict[str, dict[str, MotionTruth]]:
    """Figures by case and motion, in units of how much each factor varies for that probe."""
    found: dict[str, dict[str, MotionTruth]] = {}
    for case in CASES:
        scale = factor_scale(read[f"{case.reader} population"])
        found[case.title] = {}
        for motion in MOTIONS:
            target, sign = target_of(motion, judges[case.reader].factors)
            found[case.title][motion] = motion_truth(
                read[f"{case.title}: {motion}"],
                options.strengths,
                target=target,
                sign=sign,
                factor_scale=scale,
            )
    return found


def drawings_of(renders: KnownRenders, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Pencil drawings ``[N, R, R, 3]`` of the first N renders, and their factors ``[N, F]``."""
    drawings = jax.jit(pencil)(jnp.asarray(renders.images[:count]))
    return np.asarray(drawings), renders.factors[:count]


def _result(
    run: RunFolder,
    judges: Mapping[str, Probe],
    truths: Mapping[str, Mapping[str, MotionTruth]],
    psnr: Mapping[str, float],
    readable: Mapping[str, float],
) -> Result:
    metrics = {
        "truths": {
            case: {m: {k: getattr(t, k) for k in (*LIMITS, "n")} for m, t in found.items()}
            for case, found in truths.items()
        },
        "psnr of inverted drawings": dict(psnr),
        "mean R2 of factors read from drawings": dict(readable),
    }
    factors = judges["face"].factors
    tables = [
        Table(
            ["motion", "factor", *LIMITS, "n"],
            [
                [m, factors[target_of(m, factors)[0]], *(getattr(t, k) for k in LIMITS), t.n]
                for m, t in found.items()
            ],
            limits=LIMITS,
            title=case,
            caption=EXPLAINED if case == CASES[0].title else "",
        )
        for case, found in truths.items()
    ]
    tables.append(
        Table(
            ["domain", "inverted drawings", "R2 of its judge on drawings"],
            [[name, psnr[name], readable[name]] for name in psnr],
            units=["", "dB", "mean"],
            title="What this rests on",
            caption="Likeness of the drawings to their inversions into each generator, and how "
            "much of the factors each probe reads from the drawings themselves.",
        )
    )
    shown = [
        Figure(
            run.file(SHARED),
            caption="two rows for each of " + ", ".join(MOTIONS) + ": one latent, as a face and as "
            "a drawing, from strength -1 to 1",
            title="One latent space",
        ),
        Figure(
            run.file(INVERTED),
            caption="two rows for each motion: a drawing, then its inversion into the face "
            "generator and, below, into the sketch generator, from strength -1 to 1",
            title="Drawings from elsewhere",
        ),
    ]
    return Result(
        title="Another domain",
        subtitle="Micromotions found in faces in colour, and what they do to pencil drawings.",
        metrics=metrics,
        tables=tables,
        sections=[Section("Pictures", shown)],
        key_metrics={"cases": len(truths), "motions": len(MOTIONS)},
    )
