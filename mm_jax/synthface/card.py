"""The model card of the bundled models, written from the figures that training measured."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from mm_jax.synthface import captions, train_clip, train_generator
from mm_jax.synthface.factors import FACTORS

_MODELS = {
    "synthface": "StyleGAN2, {architecture}",
    "synthface-clip": "Hugging Face `FlaxCLIPModel`, {clip_size} px, patch {patch}",
    "synthface-encoder": "picture to W+",
    "synthface-probe": "picture to factors; helped to train the generator and CLIP",
    "synthface-judge": "picture to factors; only ever measures",
    "synthface-sketch": "`synthface` tuned to pencil drawings; the same Z, W and W+",
    "synthface-sketch-judge": "drawing to factors; only ever measures",
}
_TEXT = """\
# Bundled models: synthface

Small models of a world in which truth is known: procedural faces, drawn by
`mm_jax/synthface/renderer.py` from {factor_count} named factors. They show and measure the method
without any download. **They know nothing of photographs**; for those, bring FFHQ weights.

Trained by `mm_train_synthface` from nothing, on {machine}, with fixed seeds. No photograph of any
person took part. Licence: Apache-2.0, as the code.

| model | what it is | trained on |
|---|---|---|
{model_rows}

How the generator was trained is in the head of `mm_jax/synthface/train_generator.py`. Two things to
know when reading figures: its W is regularised so that a linear map reads the factors' normal
scores off it, and its noise inputs are not trained (their strength is zero), so that noise modes
look alike. The factors serve training and measuring only; anchors, subspaces and edits see pictures
and prompts.

Two clips of a rendered face are bundled, `clips/head_turn.mp4` and `clips/smile.mp4` (128 px, 25
frames), made by `mm_jax.synthface.clips.install()`; the demonstration learns the head turn from
the first.

## Figures

All on unseen z or unseen renders. R2 is the share of a factor's variance that a probe reads.

| factor | probe, on renders | judge, on renders | judge, on generated pictures |
|---|---|---|---|
{factor_rows}

- Generator: {psnr} dB PSNR to the renderer over the inner face.
- Sketch generator: {sketch_psnr} dB PSNR to the renderer's drawings over the inner face; its judge
  reads {sketch_read:.2f} of the factors' variance from drawings, mean over factors.
- Encoder: pictures rebuilt from their codes at {generated_psnr} dB (generated) and
  {renders_psnr} dB (renders).

CLIP: Spearman correlation with the true degree, of the degree read from the similarities to the
graded prompts, and of the bare similarity to the 100 % prompt:

| micromotion | read degree | 100 % prompt |
|---|---|---|
{clip_rows}
{words}"""


def model_card(figures: dict[str, Any], *, machine: str) -> str:
    """Markdown text from the figures that `train` returns.

    Args:
      figures: of all stages.
      machine: what it was trained on, such as "two CPU cores".

    Raises:
      KeyError: a stage has not been measured.
    """
    rebuilt = figures["encoder PSNR of rebuilt pictures"]
    clip = figures["clip Spearman on unseen renders"]
    sketch = figures["synthface-sketch-judge R2 on unseen renders"]
    tables = (
        "synthface-probe R2 on unseen renders",
        "synthface-judge R2 on unseen renders",
        "generator R2 by the judge",
    )
    return _TEXT.format(
        factor_count=len(FACTORS),
        machine=machine,
        model_rows=_model_rows(figures),
        factor_rows=_factor_rows(tables, figures),
        psnr=figures["generator inner-face PSNR"],
        sketch_psnr=figures["sketch inner-face PSNR"],
        sketch_read=sum(sketch.values()) / len(sketch),
        generated_psnr=rebuilt["generated"],
        renders_psnr=rebuilt["renders"],
        clip_rows="\n".join(
            f"| {name} | {row['degree']:.3f} | {row['full']:.3f} |" for name, row in clip.items()
        ),
        words=words_section(),
    )


_WORDS = """
## Words

`synthface-clip` knows {word_count} words, in captions of {attribute_count} attributes:

{words}

It saw them in these wordings, with the degree in per cent ("no", "5%" to "100%"), or as {degrees}:

{wordings}

`mm_extract` names other words in a note, and reads back what the motion of a prompt does.
"""


def words_section() -> str:
    """What the bundled CLIP can be asked: its words, and the wordings that it saw."""
    words = captions.vocabulary()
    return _WORDS.format(
        word_count=len(words),
        attribute_count=len(captions.ATTRIBUTES),
        words=textwrap.fill(", ".join(words) + ".", 100),
        degrees=", ".join(f'"{word}"' for word in captions.WORDS),
        wordings="\n".join(
            f"- {attribute.name}: {', '.join(f'`{text}`' for text in attribute.templates)}"
            for attribute in captions.ATTRIBUTES
        ),
    )


def _model_rows(figures: dict[str, Any]) -> str:
    config = train_generator.CONFIG
    channels = ", ".join(map(str, config.channels or ()))
    sizes = {
        "architecture": f"{config.resolution} px, L = {config.num_ws}, D = {config.w_dim}, "
        f"channels {channels}",
        "clip_size": train_clip.IMAGE_SIZE,
        "patch": train_clip.PATCH,
    }
    return "\n".join(
        f"| `{name}` | {text.format(**sizes)} | {figures[f'{name} trained on']} |"
        for name, text in _MODELS.items()
    )


def _factor_rows(tables: Sequence[str], figures: dict[str, Any]) -> str:
    return "\n".join(
        f"| {name} | {' | '.join(f'{figures[table][name]:.3f}' for table in tables)} |"
        for name in FACTORS
    )
