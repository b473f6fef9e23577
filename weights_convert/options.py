"""Options of a conversion, the flags of mm_convert. Imports no JAX."""

from __future__ import annotations

import dataclasses
import math

from mm_jax.errors import UsageError
from mm_jax.options import Options, option

__all__ = ["LAYOUTS", "ConvertOptions"]

LAYOUTS = (
    "rosinality",
    "nvlabs",
    "tensorflow",
    "encoder",
    "irse50",
    "lpips",
    "clip",
    "openai_clip",
    "face_api",
    "direction",
    "ganspace",
    "ganspace_cache",
    "ganspace_edit",
    "sefa",
    "higan",
    "codes",
)


def _clamp(text: str, *, flag: str) -> float | str | None:
    if text in ("auto", "none"):
        return text if text == "auto" else None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise UsageError(f"{flag}={text!r}: must be auto, none or a number above 0")
    return value


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConvertOptions(Options):
    """One conversion.

    Raises:
        UsageError: a missing or contradictory value.
    """

    source: str = option("", "File to convert, or a folder: of a CLIP, or with --to of ours.")
    layout: str = option(
        "auto", "What the file is; 'auto' tells by its keys.", choices=("auto", *LAYOUTS)
    )
    network: str = option(
        "G_ema", "Which generator, where a file holds the averaged one too.", choices=("G_ema", "G")
    )
    conv_clamp: float | str | None = option(
        "auto",
        "Bound on activations of a bare NVlabs state dict, which does not say it: none or 256.",
        parse=_clamp,
    )
    rows: int = option(
        18,
        "Rows of W+ for what is stored for W, or flattened; 18 is 1024 px. Other counts fit, too.",
    )
    generator: str = option(
        "", "Generator that bare arrays belong to; tells latents from directions, and their rows."
    )
    component: int | None = option(
        None,
        "Which one to keep of several directions, from 0; by default all.",
        kind=int,
        minimum=0,
    )
    trunk: str = option("", "Second file of LPIPS: torchvision's VGG16 or AlexNet.")
    activation: str = option(
        "auto",
        "Of a CLIP's state dict, which does not say it: OpenAI's is quick_gelu, most others' gelu.",
        choices=("auto", "quick_gelu", "gelu"),
    )
    vocabulary: str = option(
        "", "Words of OpenAI's CLIP, whose own file lacks them: bpe_simple_vocab_16e6.txt.gz."
    )
    verify: str = option("", "File of inputs and expected outputs (.npz) to compare with.")
    to: str = option(
        "",
        "Convert one of our generators to this layout, its synthesis network to an ONNX file, or a "
        "file of latents to projected_w.npz.",
        choices=("", "rosinality", "nvlabs", "onnx", "projected_w"),
    )
    format: str = option(
        "safetensors",
        "How --to writes rosinality and nvlabs: safetensors, or torch's .pt.",
        choices=("safetensors", "pt"),
    )
    outdir: str = option("", "Folder for everything that this run writes.", flag=False)
    dry_run: bool = option(False, "Check everything, write nothing.", flag=False)
    overwrite: bool = option(False, "Begin anew in a folder that holds another run.", flag=False)

    def check(self) -> None:
        """Refuse a missing source, and what does not go together."""
        if not self.source:
            raise UsageError("--source is missing: the file to convert")
        if self.rows % 2 or not 4 <= self.rows <= 20:
            raise UsageError(f"rows must be an even number from 4 to 20, got {self.rows}")
        if self.to and (self.layout != "auto" or self.verify or self.trunk or self.vocabulary):
            raise UsageError(
                "--to goes the other way: it takes no --layout, --trunk, --vocabulary or --verify"
            )
        if self.to == "onnx" and self.format != "safetensors":
            raise UsageError(f"--to=onnx writes generator.onnx: it takes no --format={self.format}")
