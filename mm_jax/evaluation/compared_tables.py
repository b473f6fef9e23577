"""Tables of mm_eval --topic=compared, made only from the numbers of its JSON file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mm_jax.baselines.methods import TABLE
from mm_jax.report import Table

__all__ = ["SEES", "label", "tables"]

#: What methods are given, in words.
SEES = {
    "nothing": "nothing",
    "CLIP": "prompts",
    "video": "a video",
    "probe": "factors of sampled faces",
    "oracle": "nothing; factors choose",
}


def label(name: str) -> str:
    """A title that is unique among the methods."""
    sees = TABLE[name].sees
    same = [other for other, method in TABLE.items() if method.title == TABLE[name].title]
    return TABLE[name].title + (f" ({SEES[sees]})" if len(same) > 1 else "")


def _percent(bounds: Sequence[float]) -> str:
    value, low, high = (100 * part for part in bounds)
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"


def _min(method: Mapping[str, Any], key: str) -> float | None:
    """The minimum over the motions, of those that have one."""
    values = (own[key] for own in method["motions"].values())
    return min((value for value in values if value is not None), default=None)


def _max(method: Mapping[str, Any], key: str) -> float | None:
    """The maximum over the motions, of those that have one."""
    values = (own[key] for own in method["motions"].values())
    return max((value for value in values if value is not None), default=None)


def tables(numbers: Mapping[str, Any], claims: Mapping[str, Any]) -> list[Table]:
    """The tables of the json's metrics."""
    motions, reference = list(numbers["motions"]), numbers["reference"]
    against = numbers["differences"].get(reference, {})
    again = int(bool(numbers.get("second")))
    rows, shape = [], []
    for name, method in numbers["methods"].items():
        mean = method.get("mean")
        cells = [method["motions"].get(motion) for motion in motions]
        rows.append(
            [
                method["title"],
                SEES[method["sees"]],
                *(None if own is None else _percent(own["leakage"]) for own in cells),
                None if mean is None else _percent(mean["leakage"]),
                None if mean is None else _percent(mean["largest"]),
                _percent(against[name]) if name in against else None,
                *([_percent(mean["second"]) if mean and "second" in mean else None] * again),
            ]
        )
        shape.append(
            [
                label(name),
                _min(method, "spearman"),
                _min(method, "right_way"),
                _min(method, "linearity"),
                _max(method, "step_variation"),
                _min(method, "saturation"),
                _min(method, "identity_kept"),
                _min(method, "reached"),
            ]
        )
    title = numbers["methods"].get(reference, {}).get("title", reference)
    found = [
        Table(
            ["method", "sees", *(m.replace("_", " ") for m in motions), "mean", "largest",
             f"mean minus that of {title}", *["mean, second judge"] * again],
            rows,
            units=["", "", *["%"] * (len(motions) + 3 + again)],
            title="Mean leakage at one standard deviation of the target",
            caption=_explained(numbers),
        ),
        Table(
            ["method", "Spearman", "right way", "linearity", "variation of steps",
             "saturates at", "identity kept", "reached"],
            shape,
            title="Along the strength, the worst of the motions",
            caption=f"At strengths from 0 to {numbers['strengths'][-1]:g}. Saturates at: the "
            "lowest strength from which a step moves the target less than half as far as the first "
            "step. Identity kept: cosine with the unedited face, by a face recogniser. Reached: "
            "mean change of the target at strength 1, in standard deviations.",
        ),
    ]  # fmt: skip
    return found + _claim_tables(numbers, claims)


def _explained(numbers: Mapping[str, Any]) -> str:
    return (
        f"{numbers['unseen']} unseen faces of {numbers['generator']}, read by {numbers['judge']}; "
        f"each direction is scaled on {numbers['calibrated_on']} others, and found "
        f"{numbers['repetitions']} times. In brackets: 95 % intervals over faces and repetitions. "
        "Leakage: absolute mean change of the other factors, averaged over them, relative to the "
        "target's; largest: that of the worst factor, averaged over the motions. Both are absolute "
        "values, so they are above 0 even without leakage, and intervals may lie above the figure. "
        "'factors choose': an oracle chooses component and layers by the probe's Jacobian; "
        "'factors of sampled faces': read by the probe. A dash: no video of that motion, or "
        "nothing to compare." + _second_explained(numbers)
    )


def _second_explained(numbers: Mapping[str, Any]) -> str:
    second = numbers.get("second")
    if not second:
        return ""
    text = f" Second judge: the same edits, read by {second['judge']}."
    if second["judge"] == numbers["probe"]:
        text += (
            " Methods that see factors learned from it, so it cannot judge them; the model card "
            "says whether it was also used to train the models that are compared."
        )
    if second["spearman"] is not None:
        which = "the same method is" if second["first_alike"] else "another method is"
        text += (
            f" Of the {len(second['methods'])} methods that have not seen it, the two judges' "
            f"rankings have a Spearman correlation of {second['spearman']:.2f}, and {which} first."
        )
    return text


def _claim_tables(numbers: Mapping[str, Any], claims: Mapping[str, Any]) -> list[Table]:
    parts = {
        "anchors": _anchor_tables,
        "of_anchors": _anchor_variants,
        "of_gradients": _gradient_variants,
        "calibrated": _calibrated_table,
        "composed": _composed_table,
        "videos": _video_table,
        "dci": _dci_table,
    }
    present = [(make, claims[name]) for name, make in parts.items() if name in claims]
    return [table for make, own in present for table in make(numbers, own)]


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def _anchor_tables(numbers: Mapping[str, Any], claims: Mapping[str, Any]) -> list[Table]:
    rank, agreement = [], []
    for motion in numbers["motions"]:
        own = claims[motion]
        one, svd, rpca = own["single_svd"], own["together_svd"], own["together_rpca"]
        rank.append(
            [
                _spaced(motion), one["pc1_ratio"], one["components_for_90"],
                svd["pc1_ratio"], svd["components_for_90"], rpca["pc1_ratio"],
                own.get("video_svd", {}).get("pc1_ratio"),
            ]
        )  # fmt: skip
        if both := own.get("text_and_video"):
            agreement.append([_spaced(motion), both["cosine"], both["live_cosine"]])
    found = [
        Table(
            ["motion", "one face: PC1", "for 90 %", "all faces: PC1", "for 90 %",
             "robust PCA: PC1", "video: PC1"],
            rank,
            title="Low rank",
            caption="Fraction of the energy of the anchors' displacements in the first component, "
            "and number of components that hold 90 % of it. For optimised anchors of one face "
            "(mean) and of all start faces together, for the low-rank part by robust PCA of "
            "entries, and for a video's frames.",
        )
    ]  # fmt: skip
    if agreement:
        found.append(
            Table(
                ["motion", "cosine in W+", "of row means, live components"],
                agreement,
                title="Directions from text and from a video",
                caption="Plain cosines, and cosines of the means over the rows of W+ within the "
                "components that hold 99.5 % of W's variance. The first depends on which rows the "
                "optimisation happened to use.",
            )
        )
    return found


def _variants(
    numbers: Mapping[str, Any], variants: Mapping[str, Any], *, title: str, first: str, caption: str
) -> Table:
    """Mean and largest leakage of each variant and motion."""
    motions = list(numbers["motions"])
    rows = []
    for variant in variants.values():
        own = [variant["motions"][m] for m in motions]
        found = [o for o in own if "why_not" not in o]
        rows.append(
            [
                variant["title"],
                *(
                    f"{100 * o['leakage_mean']:.1f} / {100 * o['leakage_max']:.0f}"
                    if o in found
                    else "none found"
                    for o in own
                ),
                # A mean over other motions than the others' cannot be compared with theirs.
                float(100 * np.mean([o["leakage_mean"] for o in own])) if found == own else None,
                float(min(o["right_way"] for o in own)) if found == own else None,
            ]
        )
    return Table(
        [first, *map(_spaced, motions), "mean", "right way"],
        rows,
        units=["", *["%"] * (len(motions) + 1), ""],
        digits=2,
        title=title,
        caption=f"Mean / largest leakage on {numbers['few']} unseen faces, for the first "
        f"repetition. Right way: fraction of faces, the lowest of the motions. {caption}",
    )


def _anchor_variants(numbers: Mapping[str, Any], variants: Mapping[str, Any]) -> list[Table]:
    caption = "With optimised anchors."
    if ratio := numbers.get("one_start"):
        value, low, high = ratio
        caption += (
            f" In the table of methods, one start face leaks {value:.2f} [{low:.2f}, "
            f"{high:.2f}] times as much as all of them."
        )
    title = "One face, fewer degrees, corrupted anchors"
    return [_variants(numbers, variants, title=title, first="anchors", caption=caption)]


def _gradient_variants(numbers: Mapping[str, Any], variants: Mapping[str, Any]) -> list[Table]:
    words = [own for name, own in variants.items() if name.startswith("paraphrase")]
    found = [one for own in words for one in own["motions"].values()]
    likeness = [one["cosine"] for one in found if "why_not" not in one]
    caption = "For directions from gradients."
    if likeness:
        caption += (
            " Directions by other words and those by the first words have cosines of "
            f"{min(likeness):.2f} to {max(likeness):.2f} in the metric of W, "
            f"{np.mean(likeness):.2f} on average."
        )
    title = "Gradients in W, W+ and S, by other words, and decoupled"
    return [_variants(numbers, variants, title=title, first="direction", caption=caption)]


def _calibrated_table(numbers: Mapping[str, Any], found: Mapping[str, Any]) -> list[Table]:
    rows = []
    for motion, own in found.items():
        if "why_not" in own:
            rows.append([_spaced(motion), own["why_not"], None, None, None, None])
            continue
        plain, even = own["plain"], own["calibrated"]
        low, high = own["saturates"]
        rows.append(
            [
                _spaced(motion), f"{low:.2f} to {high:.2f}", plain["linearity"], even["linearity"],
                plain["step_variation"], even["step_variation"],
            ]
        )  # fmt: skip
    return [
        Table(
            ["motion", "CLIP's reading rises", "linearity", "calibrated", "variation of steps",
             "calibrated"],
            rows,
            title="Calibrated strengths",
            caption=f"The target's mean change on {numbers['few']} unseen faces, in even steps "
            "along our direction from gradients and in steps that CLIP's reading of other faces "
            "makes even, between the strengths at which that reading saturates (1 is one standard "
            "deviation). Linearity: R2 of a straight line. Variation of steps: their standard "
            "deviation over their mean; 0 is even.",
        )
    ]  # fmt: skip


def _composed_table(numbers: Mapping[str, Any], found: Mapping[str, Any]) -> list[Table]:
    rows = []
    for pair, own in found.items():
        left = [own["left"][name] for name in pair.split(", ")]
        rows.append([_spaced(pair), *left, 100 * own["interference"], f"{own['order']:.1e}"])
    return [
        Table(
            ["two motions", "of the first", "of the second", "beyond the sum", "by order"],
            rows,
            units=["", "", "", "%", ""],
            title="Two motions at once",
            caption=f"Both by one standard deviation, on {numbers['few']} unseen faces, directions "
            "from gradients. The fraction of each motion's own effect that is left beside the "
            "other; the mean absolute change, over all factors, of both together beyond the sum of "
            "their separate changes, in per cent of a standard deviation; the largest difference "
            "of a pixel between the two orders, in images from -1 to 1.",
        )
    ]


def _video_table(numbers: Mapping[str, Any], found: Mapping[str, Any]) -> list[Table]:
    del numbers  # its metrics are its own
    if not found["methods"]:
        return []
    keys = list(next(iter(found["methods"].values())))
    pairs = ", ".join(f"{_spaced(v)} by {_spaced(m)}" for v, m in found["videos"].items())
    return [
        Table(
            ["method", *keys],
            [[label(name), *(own[key] for key in keys)] for name, own in found["methods"].items()],
            title="Edited videos",
            caption="Similarity of the person from frame to frame (TL-ID) and between all frames "
            f"(TG-ID), relative to that before the edit; videos of {pairs}, moved by strength 1.",
        )
    ]


def _dci_table(numbers: Mapping[str, Any], found: Mapping[str, Any]) -> list[Table]:
    keys = ("disentanglement", "completeness", "informativeness", "numbers", "of")
    return [
        Table(
            ["space", *keys[:3], "numbers used", "of"],
            [[space, *(own[key] for key in keys)] for space, own in found["spaces"].items()],
            title="Disentanglement of the spaces",
            caption=f"DCI by lasso, from {found['faces']} sampled faces and what "
            f"{numbers['probe']} reads from them; for W+, faces whose rows are mixed from two.",
        )
    ]
