"""Training of everything that is bundled, in stages that resume, and their figures.

    renders --> probe, judge            (what measures)
    renderer --> generator              (distillation)
    renders, generated --> clip
    generated --> encoder
    generator, sketched renders --> sketch  (the other domain: its generator and its judge)

`train` keeps checkpoints, stores, logs and generators under one folder; a stage takes from there
what an earlier one made, or else what is bundled. Figures go to `figures.json`. With ``install``
the models go into the package's assets with their sha256, but for those of the other domain, which
are not bundled.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mm_jax import zoo
from mm_jax.checkpoints import save_generator
from mm_jax.encoders.encoder import make_encoder, save_encoder
from mm_jax.errors import DataError, UsageError
from mm_jax.io import read_json, write_atomic, write_json
from mm_jax.meta import Meta
from mm_jax.perceptual.clip import Clip
from mm_jax.perceptual.probe import Probe, load_probe
from mm_jax.stylegan2.generator import Generator, make_generator
from mm_jax.synthface import train_clip, train_encoder, train_generator, train_probe
from mm_jax.synthface.factors import FACTORS
from mm_jax.synthface.generated import make_generated
from mm_jax.synthface.landmarks import framing
from mm_jax.synthface.measures import measure_encoder, measure_generator
from mm_jax.synthface.renderer import Style
from mm_jax.synthface.renders import Renders, make_renders
from mm_jax.synthface.train_mapping import within_w

STAGES = ("probe", "generator", "clip", "encoder", "sketch")
CLIP_STEPS, ENCODER_STEPS = 2500, 2000
GENERATED, UNSEEN = 8000, 2000
LICENCE = "Apache-2.0"


@dataclasses.dataclass(frozen=True)
class Work:
    """Where a stage works, what the generator goes on from, and whether models are installed."""

    outdir: Path
    continue_from: str = ""
    keep_mapping: bool = False
    install: bool = False

    @property
    def renders(self) -> Path:
        """The store of rendered pictures."""
        return self.outdir / "renders"


def check(stages: Sequence[str], continue_from: str = "", keep_mapping: bool = False) -> None:
    """Refuse what `train` cannot do.

    Raises:
      UsageError: an unknown stage, a generator to continue from that is unknown or that no stage
        trains, or a mapping network to keep without one.
      DataError: a damaged generator.
    """
    for stage in stages:
        if stage not in STAGES:
            raise UsageError(f"unknown stage {stage!r}, want some of {', '.join(STAGES)}")
    if continue_from:
        if "generator" not in stages:
            raise UsageError("continue_from is of no use without the stage generator")
        zoo.resolve(continue_from, "generator")
    elif keep_mapping:
        raise UsageError("keep_mapping wants continue_from, whose mapping network it is")


def train(
    outdir: Path,
    *,
    stages: Sequence[str] = STAGES,
    continue_from: str = "",
    keep_mapping: bool = False,
    install: bool = False,
) -> dict[str, Any]:
    """Train the stages that are not done yet, measure them, and return all figures so far.

    Args:
      outdir: folder for checkpoints, stores, logs and figures.
      stages: which, in any order.
      continue_from: bundled name or folder of the generator to train on; by default the generator
        is trained from nothing.
      keep_mapping: whether that generator keeps its mapping network, so that codes and directions
        in its W stay of use; by default a new one is trained and put in its place.
      install: whether to put the models into the package's assets.

    Raises:
      UsageError, DataError: as `check` does.
    """
    check(stages, continue_from, keep_mapping)
    outdir.mkdir(parents=True, exist_ok=True)
    path = outdir / "figures.json"
    figures = read_json(path) if path.exists() else {}
    for stage in STAGES:
        if stage in stages:
            figures |= _STAGES[stage](Work(outdir, continue_from, keep_mapping, install))
            write_json(path, figures)
            print(json.dumps(figures, indent=1), flush=True)
    if install:
        _install_card(figures)
    return figures


def _install_card(figures: dict[str, Any]) -> None:
    """Write the model card once every stage has been measured."""
    from mm_jax.synthface.card import model_card

    try:
        text = model_card(figures, machine=f"{os.cpu_count()} CPU cores")
    except KeyError as missing:
        print(f"no model card yet: {missing} is not measured", flush=True)
        return
    write_atomic(zoo.ASSETS / "MODEL_CARD.md", lambda file: file.write(text.encode()) and None)


def _install(name: str, save: Callable[[Path], object]) -> None:
    save(zoo.ASSETS / name)
    zoo.record(name)


def _by_factor(values: np.ndarray) -> dict[str, float]:
    return {name: round(float(v), 4) for name, v in zip(FACTORS, values, strict=True)}


def _unseen(work: Work, style: Style = "face") -> Renders:
    return make_renders(work.renders, UNSEEN, seed=train_probe.UNSEEN_SEED, style=style)


def _probe(work: Work, name: str) -> Probe:
    """A probe that was trained here, or else the bundled one."""
    if (work.outdir / f"{name}.ckpt").exists():
        return train_probe.train_probe(name, work.outdir, work.renders)
    probe = load_probe(name)
    if probe.factors != FACTORS:
        raise DataError(f"{name} reads other factors than this version of synthface draws")
    return probe


def _generator(work: Work, name: str = "synthface") -> Generator:
    """A generator that was trained here, or else the bundled one."""
    folder = work.outdir / name
    return zoo.load_generator(folder if folder.is_dir() else name)


def _train_probes(work: Work, names: Sequence[str]) -> dict[str, Any]:
    figures = {}
    for name in names:
        recipe = train_probe.RECIPES[name]
        probe = train_probe.train_probe(name, work.outdir, work.renders)
        read = train_probe.measure_probe(probe, _unseen(work, recipe.style))
        figures[f"{name} R2 on unseen renders"] = _by_factor(read)
        figures[f"{name} trained on"] = recipe.text
        probe = dataclasses.replace(probe, meta=Meta({"licence": LICENCE}))
        save = functools.partial(probe.save, dtype="float16")
        save(work.outdir / name)
        if work.install:
            _install(name, save)
    return figures


def _stage_probe(work: Work) -> dict[str, Any]:
    return _train_probes(work, ("synthface-probe", "synthface-judge"))


def _keep_generator(work: Work, name: str, params: Any, trained_on: str) -> Generator:
    """Put a trained generator where `_generator` looks for it, and install it."""
    meta = {
        "name": name,
        "licence": LICENCE,
        "trained_on": trained_on,
        "framing": dataclasses.asdict(framing()),
    }
    config = train_generator.CONFIG
    gen = make_generator(config, within_w(config, params, jax.random.key(4)), meta=meta)
    save_generator(gen, work.outdir / name, format="safetensors")
    if work.install:
        _install(
            name,
            lambda folder: save_generator(gen, folder, format="safetensors", dtype="float16"),
        )
    return gen


def _stage_generator(work: Work) -> dict[str, Any]:
    probe = _probe(work, "synthface-probe")
    if work.continue_from:
        # A copy, since installing replaces the bundled one.
        folder = work.outdir / "continued-from"
        if not folder.exists():
            save_generator(zoo.load_generator(work.continue_from), folder, format="safetensors")
        start = zoo.load_generator(folder)
        before = start.meta.get("trained_on") or start.name
        if work.keep_mapping:
            recipe, first = train_generator.LONGER, start.params
            trained_on = f"{before}; then {recipe.text}"
        else:
            recipe = train_generator.CONTINUED
            first = train_generator.with_new_mapping(work.outdir, start)
            trained_on = f"{before}; then, with another mapping network, {recipe.text}"
    else:
        recipe, first = train_generator.FROM_NOTHING, None
        trained_on = recipe.text
    params = train_generator.train(work.outdir, probe, recipe, first=first)
    gen = _keep_generator(work, "synthface", params, trained_on)
    read, psnr = measure_generator(gen, _probe(work, "synthface-judge"))
    return {
        "synthface trained on": trained_on,
        "generator R2 by the judge": _by_factor(read),
        "generator inner-face PSNR": psnr,
    }


def _training_pictures(work: Work) -> Renders:
    probe = _probe(work, "synthface-probe")
    generated = make_generated(
        work.outdir / "generated", _generator(work), probe, GENERATED, seed=4000
    )
    recipe = train_probe.RECIPES["synthface-probe"]
    renders = make_renders(work.renders, recipe.count, seed=recipe.renders_seed)
    return Renders(
        np.concatenate([renders.images, generated.images]),
        np.concatenate([renders.factors, generated.factors]),
    )


def _stage_clip(work: Work) -> dict[str, Any]:
    data = _training_pictures(work)
    clip: Clip = train_clip.train_clip(work.outdir, data, steps=CLIP_STEPS)
    if work.install:
        from mm_jax.perceptual.clip_files import save_clip

        _install("synthface-clip", lambda folder: save_clip(clip, folder, dtype="float16"))
    return {
        "synthface-clip trained on": f"{CLIP_STEPS:,} steps of {train_clip.BATCH} from "
        f"{len(data.images) - GENERATED:,} renders and {GENERATED:,} generated pictures, half of "
        "them off the manifold",
        "clip Spearman on unseen renders": train_clip.measure_clip(clip, _unseen(work)),
    }


def _stage_encoder(work: Work) -> dict[str, Any]:
    gen, probe = _generator(work), _probe(work, "synthface-probe")
    data = make_generated(work.outdir / "generated", gen, probe, GENERATED, seed=4000)
    encoder = train_encoder.train_encoder(work.outdir, gen, data, steps=ENCODER_STEPS)
    if work.install:
        licensed = make_encoder(encoder.config, encoder.params, meta={"licence": LICENCE})
        _install(
            "synthface-encoder", lambda folder: save_encoder(licensed, folder, dtype="float16")
        )
    return {
        "synthface-encoder trained on": f"{ENCODER_STEPS:,} steps of {train_encoder.BATCH} from "
        f"{GENERATED:,} generated pictures",
        "encoder PSNR of rebuilt pictures": measure_encoder(gen, encoder),
    }


def _stage_sketch(work: Work) -> dict[str, Any]:
    figures = _train_probes(work, ("synthface-sketch-judge",))
    recipe = train_generator.SKETCH
    params = train_generator.train(work.outdir, None, recipe, first=_generator(work).params)
    trained_on = f"as `synthface`; then {recipe.text}"
    gen = _keep_generator(work, "synthface-sketch", params, trained_on)
    read, psnr = measure_generator(gen, _probe(work, "synthface-sketch-judge"), style="sketch")
    return figures | {
        "synthface-sketch trained on": trained_on,
        "sketch R2 by its judge": _by_factor(read),
        "sketch inner-face PSNR": psnr,
    }


_STAGES: dict[str, Callable[[Work], dict[str, Any]]] = {
    "probe": _stage_probe,
    "generator": _stage_generator,
    "clip": _stage_clip,
    "encoder": _stage_encoder,
    "sketch": _stage_sketch,
}
