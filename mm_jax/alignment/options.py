"""Options of alignment: how faces are found and cropped, and pasted back."""

from __future__ import annotations

import dataclasses

from mm_jax.errors import UsageError
from mm_jax.options import Options, option

__all__ = ["DETECTOR_NAMES", "AlignOptions", "PasteOptions", "parse_face"]

DETECTOR_NAMES = ("faces", "dlib")


def parse_face(text: str, *, flag: str = "--face") -> str | tuple[int, ...]:
    """Which faces of an image: "largest", "all", or numbers such as "0,2".

    Raises:
        UsageError: anything else, or a number that is given twice.
    """
    word = text.strip().lower()
    if word in ("largest", "all"):
        return word
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise UsageError(
            f"{flag} must be largest, all, or numbers of faces, e.g. 0,2, got {text!r}"
        )
    numbers = tuple(int(part) for part in parts)
    if len(set(numbers)) < len(numbers):
        raise UsageError(f"{flag}={text!r}: a face is given twice")
    return numbers


@dataclasses.dataclass(frozen=True, kw_only=True)
class AlignOptions(Options):
    """How the faces in images are found and cropped.

    Raises:
        UsageError: options that contradict each other.
    """

    aligned: bool = option(
        False, "Images are crops like the generator's own already: only resize them."
    )
    landmarks: str = option(
        "", "File with the landmarks of the faces (.json, .npy, .txt, .pts) instead of a detector."
    )
    detector: str = option("faces", "What finds faces.", choices=DETECTOR_NAMES)
    detector_model: str = option("", "The detector's model file, for dlib.")
    face: str | tuple[int, ...] = option(
        "largest",
        "Which faces of an image: largest, all, or their numbers from left to right, e.g. 0,2.",
        parse=parse_face,
    )

    def check(self) -> None:
        """Refuse landmarks and detectors that would not be used."""
        if self.aligned and (self.landmarks or self.detector_model or self.face != "largest"):
            raise UsageError(
                "aligned images are not searched for faces: give no landmarks, detector_model or "
                "face with them"
            )
        if self.landmarks and self.detector_model:
            raise UsageError("give landmarks or a detector_model, not both")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PasteOptions(Options):
    """How edited faces are pasted back into their images.

    Raises:
        UsageError: a number out of range.
    """

    paste: str = option(
        "move",
        "Move what the image shows as the edit does and add what else changes; add all of the "
        "difference; or replace the face by the generator's.",
        choices=("move", "difference", "replace"),
    )
    feather: float = option(
        0.3, "Width of the soft edge, as a fraction of half the crop's side.", above=0, maximum=1
    )
