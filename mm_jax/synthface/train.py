"""Training of everything that is bundled, in stages that resume, and their figures.

    renders --> probe, judge            (what measures)
    renderer --> generator              (distillation)
    renders, generated --> clip
    generated --> encoder

`train` keeps its checkpoints, stores and logs under one folder; `measure` writes `figures.json`
there; `install` puts the models into the package's assets with their sha256.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mm_jax import zoo
from mm_jax.checkpoints import save_generator, save_tree
from mm_jax.encoders.encoder import Encoder, encode, make_encoder, save_encoder
from mm_jax.errors import UsageError
from mm_jax.io import read_json, write_atomic, write_json
from mm_jax.latents import synthesize
from mm_jax.perceptual.clip import Clip
from mm_jax.stylegan2.generator import Generator, make_generator
from mm_jax.synthface import train_clip, train_encoder, train_generator, train_probe
from mm_jax.synthface.factors import FACTORS, Z_DIM, factors_from_z
from mm_jax.synthface.generated import make_generated
from mm_jax.synthface.landmarks import framing
from mm_jax.synthface.probe import Probe
from mm_jax.synthface.renderer import render
from mm_jax.synthface.renders import Renders, make_renders

STAGES = ("probe", "generator", "clip", "encoder")
CLIP_STEPS, ENCODER_STEPS = 2500, 1000
GENERATED, UNSEEN = 8000, 2000
LICENCE = "Apache-2.0"


def train(outdir: Path, *, stages: Sequence[str] = STAGES, install: bool = False) -> dict[str, Any]:
    """Train the stages that are not done yet, measure them, and return all figures so far.

    Raises:
      UsageError: an unknown stage.
    """
    for stage in stages:
        if stage not in STAGES:
            raise UsageError(f"unknown stage {stage!r}, want some of {', '.join(STAGES)}")
    outdir.mkdir(parents=True, exist_ok=True)
    path = outdir / "figures.json"
    figures = read_json(path) if path.exists() else {}
    for stage in STAGES:
        if stage in stages:
            figures |= _STAGES[stage](outdir, install)
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


def _unseen(outdir: Path) -> Renders:
    return make_renders(outdir / "renders", UNSEEN, seed=train_probe.UNSEEN_SEED)


def _probe(outdir: Path, name: str) -> Probe:
    return train_probe.train_probe(name, outdir, outdir / "renders")


def _by_factor(values: np.ndarray) -> dict[str, float]:
    return {name: round(float(v), 4) for name, v in zip(FACTORS, values, strict=True)}


def _stage_probe(outdir: Path, install: bool) -> dict[str, Any]:
    figures = {}
    for name in train_probe.RECIPES:
        probe = _probe(outdir, name)
        figures[f"{name} R2 on unseen renders"] = _by_factor(
            train_probe.measure_probe(probe, _unseen(outdir))
        )
        if install:
            architecture = {**probe.config.to_dict(), "factors": list(FACTORS)}
            _install(
                name,
                lambda folder, p=probe, a=architecture: save_tree(
                    folder, "probe", a, p.params, meta={"licence": LICENCE}, dtype="float16"
                ),
            )
    return figures


def _generator(outdir: Path) -> Generator:
    params = train_generator.train(outdir, _probe(outdir, "synthface-probe"))
    meta = {"name": "synthface", "licence": LICENCE, "framing": dataclasses.asdict(framing())}
    return make_generator(train_generator.CONFIG, params, meta=meta)


def _stage_generator(outdir: Path, install: bool) -> dict[str, Any]:
    gen = _generator(outdir)
    if install:
        _install(
            "synthface",
            lambda folder: save_generator(gen, folder, format="safetensors", dtype="float16"),
        )
    return measure_generator(gen, _probe(outdir, "synthface-judge"))


def measure_generator(gen: Generator, judge: Probe, *, count: int = 1000) -> dict[str, Any]:
    """R2 of each factor that the judge reads from pictures of unseen z, and PSNR to the renders."""
    z = jax.random.normal(jax.random.key(777), (count, Z_DIM))
    truth = factors_from_z(z)
    ws = train_generator.mean_ws(gen.params, z)
    made, errors = [], []
    for part in np.split(np.arange(count), count // 20):
        pictures = synthesize(gen, ws[part])
        true = render(truth[part], resolution=gen.config.resolution)
        r = gen.config.resolution
        face = (slice(None), slice(r // 4, r - r // 4), slice(r // 4, r - r // 4))
        errors.append(
            np.asarray(jnp.mean(jnp.square(0.5 * (pictures - true))[face], axis=(1, 2, 3)))
        )
        made.append(np.asarray(jnp.clip(jnp.round((pictures + 1) * 127.5), 0, 255), np.uint8))
    read = train_probe.read_all(judge, np.concatenate(made))
    return {
        "generator R2 by the judge": _by_factor(train_probe.r_squared(read, np.asarray(truth))),
        "generator inner-face PSNR": round(float(-10 * np.log10(np.concatenate(errors)).mean()), 2),
    }


def _training_pictures(outdir: Path) -> Renders:
    probe = _probe(outdir, "synthface-probe")
    generated = make_generated(
        outdir / "generated", _generator(outdir), probe, GENERATED, seed=4000
    )
    recipe = train_probe.RECIPES["synthface-probe"]
    renders = make_renders(outdir / "renders", recipe.count, seed=recipe.renders_seed)
    return Renders(
        np.concatenate([renders.images, generated.images]),
        np.concatenate([renders.factors, generated.factors]),
    )


def _stage_clip(outdir: Path, install: bool) -> dict[str, Any]:
    clip: Clip = train_clip.train_clip(outdir, _training_pictures(outdir), steps=CLIP_STEPS)
    if install:
        from mm_jax.perceptual.clip_files import save_clip

        _install("synthface-clip", lambda folder: save_clip(clip, folder, dtype="float16"))
    return {"clip Spearman on unseen renders": train_clip.measure_clip(clip, _unseen(outdir))}


def _stage_encoder(outdir: Path, install: bool) -> dict[str, Any]:
    gen, probe = _generator(outdir), _probe(outdir, "synthface-probe")
    data = make_generated(outdir / "generated", gen, probe, GENERATED, seed=4000)
    encoder = train_encoder.train_encoder(outdir, gen, data, steps=ENCODER_STEPS)
    if install:
        licensed = make_encoder(encoder.config, encoder.params, meta={"licence": LICENCE})
        _install(
            "synthface-encoder", lambda folder: save_encoder(licensed, folder, dtype="float16")
        )
    return {"encoder PSNR of rebuilt pictures": measure_encoder(gen, encoder)}


def measure_encoder(gen: Generator, encoder: Encoder, *, count: int = 200) -> dict[str, float]:
    """Mean PSNR over pictures of unseen z, generated and rendered, rebuilt from their codes."""
    z = jax.random.normal(jax.random.key(778), (count, Z_DIM))
    ws = train_generator.mean_ws(gen.params, z)
    figures: dict[str, list[float]] = {"generated": [], "renders": []}
    for part in np.split(np.arange(count), count // 20):
        generated = synthesize(gen, ws[part])
        rendered = render(factors_from_z(z[part]), resolution=gen.config.resolution)
        for kind, pictures in (("generated", generated), ("renders", rendered)):
            rebuilt = synthesize(gen, encode(encoder, pictures))
            error = jnp.mean(jnp.square(0.5 * (rebuilt - pictures)), axis=(1, 2, 3))
            figures[kind] += (-10 * np.log10(np.asarray(error))).tolist()
    return {kind: round(float(np.mean(values)), 2) for kind, values in figures.items()}


def _install(name: str, save: Callable[[Path], object]) -> None:
    save(zoo.ASSETS / name)
    zoo.record(name)


_STAGES: dict[str, Callable[[Path, bool], dict[str, Any]]] = {
    "probe": _stage_probe,
    "generator": _stage_generator,
    "clip": _stage_clip,
    "encoder": _stage_encoder,
}
