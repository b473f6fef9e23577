"""Tables, figure, pictures and files of mm_eval --topic=compared."""

from __future__ import annotations

import csv
import dataclasses
import io as text_io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mm_jax import io, media, rendering
from mm_jax.baselines.methods import TABLE
from mm_jax.baselines.moving import moved_images
from mm_jax.baselines.world import Direction
from mm_jax.edit_metrics import spearman
from mm_jax.evaluation.compared_measures import Draws, differences, interval
from mm_jax.evaluation.motions import target_of
from mm_jax.evaluation.options import ComparedEval
from mm_jax.evaluation.results import Result
from mm_jax.report import Figure, Section, Svg, Table
from mm_jax.report.plots import Series, line_chart
from mm_jax.runs import RunFolder

__all__ = ["CHART", "CSV", "Found", "csv_text", "draw", "figures", "outputs", "result", "tables"]

CSV, CHART = "compared.csv", "compared.svg"
# Faces that are shown, and how far they are moved: twice the standard deviation is well seen.
_SHOWN, _STRENGTH = 4, 2.0
# As many as can be told apart by colour; the others are grey.
_COLOURED = (
    "ganspace",
    "sefa",
    "styleclip",
    "interfacegan_clip",
    "clip_regression",
    "ours_optimize",
    "ours_gradient",
    "ceiling_regression",
)
_CAPTION = (
    "Means over the motions, of the first repetition; bands are 95 % intervals over faces. Grey: "
    "the other methods."
)
_SEES = {
    "nothing": "nothing",
    "CLIP": "prompts",
    "video": "a video",
    "probe": "factors of sampled faces",
    "oracle": "nothing; factors choose",
}
_COLUMNS = (
    "target_change",
    "reached",
    "right_way",
    "spearman",
    "linearity",
    "step_variation",
    "saturation",
    "identity_kept",
    "leakage_abs_mean",
    "leakage_abs_max",
    "cpu_seconds",
)


@dataclasses.dataclass(frozen=True, eq=False)
class Found:
    """One repetition of a method.

    Attributes:
        figures: by motion, as `mm_jax.evaluation.compared.measure` gives them.
        changes: by motion [N, S, F] in standard deviations.
        directions: by motion.
        second: by motion [N, F2] changes at strength 1 as the second judge reads them, or nothing.
    """

    figures: Mapping[str, Mapping[str, Any]]
    changes: Mapping[str, np.ndarray]
    directions: Mapping[str, Direction]
    second: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)


def outputs(options: ComparedEval) -> list[str]:
    """Names of the files that are written beside json, Markdown and report."""
    return [CSV, CHART, *(_sheet(motion) for motion in options.edits)]


def _sheet(motion: str) -> str:
    return f"faces_{motion}.png"


def figures(
    found: Mapping[str, Sequence[Found]],
    factors: Sequence[str],
    options: ComparedEval,
    *,
    second: Sequence[str] = (),
) -> dict[str, Any]:
    """All figures with their intervals, as json values.

    Args:
        found: by method, its repetitions.
        factors: names of what the judge reads.
        options: of the run.
        second: names of what the second judge reads, if there is one.
    """
    draws = Draws.make(len(options.unseen), options.repetitions)
    methods: dict[str, Any] = {}
    means: dict[str, np.ndarray] = {}  # [1 + B], over the motions
    again: dict[str, np.ndarray] = {}  # the same by the second judge
    for name, repetitions in found.items():
        of_motions = []
        rows: dict[str, Any] = {}
        for motion, own in repetitions[0].figures.items():
            target, _ = target_of(motion, factors)
            at_one = [_at_one(one.changes[motion], options) for one in repetitions]
            drawn = draws.leakage(at_one, target)
            of_motions.append(drawn)
            rows[motion] = {
                **{key: own[key] for key in ("amount", "space", "found", "curve", "moved")},
                **{key: own[key] for key in _COLUMNS},
                "right_way": float(
                    np.mean([one.figures[motion]["right_way"] for one in repetitions])
                ),
                "leakage": interval(drawn[0, 0], drawn[1:, 0]).to_list(),
                "largest": interval(drawn[0, 1], drawn[1:, 1]).to_list(),
                "leakage_by_repetition": [
                    one.figures[motion]["leakage_mean"] for one in repetitions
                ],
            }
        methods[name] = {"title": TABLE[name].title, "sees": TABLE[name].sees, "motions": rows}
        # A mean over other motions than the others' cannot be compared with theirs.
        if set(rows) == set(options.edits):
            mean = np.mean(of_motions, axis=0)
            means[name] = mean[:, 0]
            methods[name]["mean"] = {
                "leakage": interval(mean[0, 0], mean[1:, 0]).to_list(),
                "largest": interval(mean[0, 1], mean[1:, 1]).to_list(),
            }
            if second and all(set(one.second) == set(rows) for one in repetitions):
                by_second = []
                for motion in rows:
                    target, _ = target_of(motion, second)
                    others = [one.second[motion] for one in repetitions]
                    by_second.append(draws.leakage(others, target)[:, 0])
                again[name] = np.mean(by_second, axis=0)
                mean = interval(again[name][0], again[name][1:])
                methods[name]["mean"]["second"] = mean.to_list()
    return {
        "generator": options.generator,
        "judge": options.judge,
        "probe": options.probe,
        "clip": options.clip,
        "unseen": len(options.unseen),
        "calibrated_on": len(options.calibrated_on),
        "repetitions": options.repetitions,
        "samples": options.looked_at.samples,
        "few": min(options.few, len(options.unseen)),
        "strengths": list(options.strengths),
        "factors": list(factors),
        "motions": {
            motion: dict(zip(("factor", "sign"), _named(motion, factors), strict=True))
            for motion in options.edits
        },
        "reference": options.reference,
        "second": {"judge": options.second, **ranking(means, again, options)} if second else None,
        "one_start": one_start(means),
        "methods": methods,
        "differences": {
            base: {name: d.to_list() for name, d in differences(means, base).items()}
            for base in means
        },
    }


def ranking(
    means: Mapping[str, np.ndarray], again: Mapping[str, np.ndarray], options: ComparedEval
) -> dict[str, Any]:
    """Whether two judges rank the methods alike, of those that have not seen the second one.

    Args:
        means: by method [1 + B] mean leakage, the first of all data.
        again: the same by the second judge.
        options: the second judge may be the probe that some methods learned from.
    """
    blind = [
        name
        for name in again
        if options.second != options.probe or TABLE[name].sees not in ("probe", "oracle")
    ]
    if len(blind) < 3:
        return {"methods": blind, "spearman": None, "first_alike": None}
    first = np.array([means[name][0] for name in blind])
    second = np.array([again[name][0] for name in blind])
    return {
        "methods": blind,
        "spearman": float(spearman(first, second)),
        "first_alike": bool(first.argmin() == second.argmin()),
    }


def one_start(means: Mapping[str, np.ndarray]) -> list[float] | None:
    """Mean leakage of anchors of one face over that of several, with its interval."""
    if not {"ours_one_start", "ours_optimize"} <= set(means):
        return None
    ratio = means["ours_one_start"] / np.maximum(means["ours_optimize"], 1e-12)
    return interval(ratio[0], ratio[1:]).to_list()


def _named(motion: str, factors: Sequence[str]) -> tuple[str, int]:
    target, sign = target_of(motion, factors)
    return factors[target], sign


def _at_one(changes: np.ndarray, options: ComparedEval) -> np.ndarray:
    """Changes [N, F] at strength 1, of all strengths or of only 0 and 1."""
    return changes[:, 1 if changes.shape[1] == 2 else options.strengths.index(1.0)]


def draw(
    judged: Any, found: Mapping[str, Sequence[Found]], run: RunFolder, options: ComparedEval
) -> None:
    """Write the sheets of pictures that are missing: a row of unedited faces, then one a method."""
    ws = judged.unseen[:_SHOWN]
    for motion in options.edits:
        file = run.file(_sheet(motion))
        if file.exists():
            continue
        rows = [rendering.render_all(judged.gen, ws, batch=options.batch)]
        for name in _drawn(found, motion):
            one = found[name][0]
            amounts = np.array([_STRENGTH * one.figures[motion]["amount"]])
            images = moved_images(
                judged.gen, ws, one.directions[motion], amounts, batch=options.batch
            )
            rows.append(np.concatenate(list(images)))
        media.save_png(file, media.grid(np.concatenate(rows), len(ws), gap=2))


def _drawn(found: Mapping[str, Sequence[Found]], motion: str) -> list[str]:
    return [name for name, repetitions in found.items() if motion in repetitions[0].figures]


def chart(
    found: Mapping[str, Sequence[Found]], factors: Sequence[str], options: ComparedEval
) -> str:
    """Leakage against change of the target, means over the motions, as SVG.

    The band is the 95 % interval over faces, of the first repetition.
    """
    draws = Draws.make(len(options.unseen), 1)
    series = []
    for name, repetitions in found.items():
        one = repetitions[0]
        if name == "random" or set(one.changes) != set(options.edits):
            continue
        across, up = [], []
        for motion, changes in one.changes.items():
            target, _ = target_of(motion, factors)
            across.append(np.abs(changes[:, :, target].mean(axis=0)))
            up.append(draws.band(changes, target))
        band = np.mean(up, axis=0)  # [1 + B, S]
        low, high = np.percentile(band[1:], [2.5, 97.5], axis=0)
        loud = name in _COLOURED
        series.append(
            Series(
                _label(name) if loud else "others",
                np.mean(across, axis=0),
                (low + high) / 2 if loud else band[0],
                spread=(high - low) / 2 if loud else None,
                quiet=not loud,
            )
        )
    return line_chart(
        series,
        title="Leakage of the compared methods against the change of the target",
        x_label="change of the target (standard deviations)",
        y_label="mean change of other factors",
        height=420,
    )


def _label(name: str) -> str:
    """A title that is unique among the methods."""
    sees = TABLE[name].sees
    same = [other for other, method in TABLE.items() if method.title == TABLE[name].title]
    return TABLE[name].title + (f" ({_SEES[sees]})" if len(same) > 1 else "")


def csv_text(numbers: Mapping[str, Any]) -> str:
    """A line for each method and motion; empty where there is nothing to tell."""
    out = text_io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    bounds = [f"{key}_{end}" for key in ("leakage", "largest") for end in ("value", "low", "high")]
    writer.writerow(["method", "sees", "motion", *bounds, *_COLUMNS])
    for name, method in numbers["methods"].items():
        for motion, own in method["motions"].items():
            writer.writerow(
                [name, method["sees"], motion, *own["leakage"], *own["largest"]]
                + ["" if own[key] is None else own[key] for key in _COLUMNS]
            )
    return out.getvalue()


def _percent(bounds: Sequence[float]) -> str:
    value, low, high = (100 * part for part in bounds)
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"


def _least(method: Mapping[str, Any], key: str, *, least: bool = True) -> float | None:
    values = [own[key] for own in method["motions"].values() if own[key] is not None]
    return (min(values) if least else max(values)) if values else None


def tables(numbers: Mapping[str, Any], claims: Mapping[str, Any]) -> list[Table]:
    """The tables of the json's figures."""
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
                _SEES[method["sees"]],
                *(None if own is None else _percent(own["leakage"]) for own in cells),
                None if mean is None else _percent(mean["leakage"]),
                None if mean is None else _percent(mean["largest"]),
                _percent(against[name]) if name in against else None,
                *([_percent(mean["second"]) if mean and "second" in mean else None] * again),
            ]
        )
        shape.append(
            [
                _label(name),
                _least(method, "spearman"),
                _least(method, "right_way"),
                _least(method, "linearity"),
                _least(method, "step_variation", least=False),
                _least(method, "saturation"),
                _least(method, "identity_kept"),
                _least(method, "reached"),
            ]
        )
    title = numbers["methods"].get(reference, {}).get("title", reference)
    found = [
        Table(
            ["method", "sees", *(m.replace("_", " ") for m in motions), "mean", "largest",
             f"mean less that of {title}", *["mean, second judge"] * again],
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
            caption=f"At strengths from 0 to {numbers['strengths'][-1]:g}. Saturates at: the least "
            "strength from which a step moves the target less than half as far as the first step. "
            "Identity kept: cosine with the unedited face, by a face recogniser. Reached: mean "
            "change of the target where strength 1 was set, in standard deviations.",
        ),
    ]  # fmt: skip
    return found + _claim_tables(numbers, claims)


def _explained(numbers: Mapping[str, Any]) -> str:
    return (
        f"{numbers['unseen']} unseen faces of {numbers['generator']}, read by {numbers['judge']}; "
        f"each direction is scaled on {numbers['calibrated_on']} others, and found "
        f"{numbers['repetitions']} times. In brackets 95 % intervals over faces and repetitions. "
        "Leakage: mean over the other factors of the size of their mean change, in units of the "
        "target's; largest: the largest of them, mean over the motions. Both are sizes, so what "
        "does not leak still has some, and intervals may lie above the figure. 'factors choose': "
        "an oracle picks component and layers by the probe's Jacobian; 'factors of sampled faces': "
        "read by the probe. A dash: no video of that motion, or nothing to compare."
        + _second_explained(numbers)
    )


def _second_explained(numbers: Mapping[str, Any]) -> str:
    second = numbers.get("second")
    if not second:
        return ""
    text = f" Second judge: the same edits, read by {second['judge']}."
    if second["judge"] == numbers["probe"]:
        text += (
            " Methods that see factors learned from it, so of these it is no judge; whether it "
            "also helped to train the models that are compared, their model card says."
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
            caption="Share of the first component in the displacements of optimised anchors, and "
            "components that hold 90 % of them; of one face (mean), of all start faces together, "
            "of the low-rank part by robust PCA of entries, and of a video's frames.",
        )
    ]  # fmt: skip
    if agreement:
        found.append(
            Table(
                ["motion", "cosine in W+", "of row means, live components"],
                agreement,
                title="Directions from text and from a video",
                caption="Cosines as they are, and of the means over the rows of W+ within the "
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
        rows.append(
            [
                variant["title"],
                *(f"{100 * o['leakage_mean']:.1f} / {100 * o['leakage_max']:.0f}" for o in own),
                float(100 * np.mean([o["leakage_mean"] for o in own])),
                float(min(o["right_way"] for o in own)),
            ]
        )
    return Table(
        [first, *map(_spaced, motions), "mean", "right way"],
        rows,
        units=["", *["%"] * (len(motions) + 1), ""],
        digits=2,
        title=title,
        caption=f"Mean / largest leakage on {numbers['few']} unseen faces, of the first "
        f"repetition. Right way: the least share of faces, of the motions. {caption}",
    )


def _anchor_variants(numbers: Mapping[str, Any], variants: Mapping[str, Any]) -> list[Table]:
    caption = "Of optimised anchors."
    if ratio := numbers.get("one_start"):
        value, low, high = ratio
        caption += (
            f" In the table of the methods one start face leaks {value:.2f} [{low:.2f}, "
            f"{high:.2f}] times as much as all of them."
        )
    title = "One face, fewer degrees, corrupted anchors"
    return [_variants(numbers, variants, title=title, first="anchors", caption=caption)]


def _gradient_variants(numbers: Mapping[str, Any], variants: Mapping[str, Any]) -> list[Table]:
    words = [own for name, own in variants.items() if name.startswith("paraphrase")]
    likeness = [one["cosine"] for own in words for one in own["motions"].values()]
    caption = "Of directions from gradients."
    if likeness:
        caption += (
            " Those by other words have cosines in the metric of W with those by the first of "
            f"{min(likeness):.2f} to {max(likeness):.2f}, {np.mean(likeness):.2f} on average."
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
            caption=f"The target's mean change on {numbers['few']} unseen faces, in steps that are "
            "even along our direction from gradients, and in steps that CLIP's reading of other "
            "faces makes even, between the strengths at which it saturates (1 is one standard "
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
            "from gradients. How much of each motion's own effect is left beside the other (1: all "
            "of it); the mean size, over all factors, of what both change beyond the sum of what "
            "each does, in per cent of a standard deviation; the largest difference of a pixel "
            "between the two orders, in images from -1 to 1.",
        )
    ]


def _video_table(numbers: Mapping[str, Any], found: Mapping[str, Any]) -> list[Table]:
    del numbers  # its figures are its own
    if not found["methods"]:
        return []
    keys = list(next(iter(found["methods"].values())))
    pairs = ", ".join(f"{_spaced(v)} by {_spaced(m)}" for v, m in found["videos"].items())
    return [
        Table(
            ["method", *keys],
            [[_label(name), *(own[key] for key in keys)] for name, own in found["methods"].items()],
            title="Edited videos",
            caption="Similarity of the person from frame to frame (TL-ID) and between all frames "
            f"(TG-ID), over that before the edit; videos of {pairs}, moved by strength 1.",
        )
    ]


def _dci_table(numbers: Mapping[str, Any], found: Mapping[str, Any]) -> list[Table]:
    keys = ("disentanglement", "completeness", "informativeness", "numbers", "of")
    return [
        Table(
            ["space", *keys[:3], "numbers used", "of"],
            [[space, *(own[key] for key in keys)] for space, own in found["spaces"].items()],
            title="Disentanglement of the spaces",
            caption=f"DCI by lasso, of {found['faces']} sampled faces and what {numbers['probe']} "
            "reads of them; W+ of faces whose rows are mixed of two.",
        )
    ]


def result(
    judged: Any,
    found: Mapping[str, Sequence[Found]],
    claims: Mapping[str, Any],
    run: RunFolder,
    options: ComparedEval,
) -> Result:
    """Write table and figure as files, and put the result together."""
    factors = judged.judge.factors
    other = () if judged.second is None else judged.second.factors
    numbers = {**figures(found, factors, options, second=other), "claims": dict(claims)}
    io.write_atomic(run.file(CSV), lambda file: file.write(csv_text(numbers).encode()))
    svg = chart(found, factors, options)
    io.write_atomic(run.file(CHART), lambda file: file.write(svg.encode()))
    sheets = [
        Figure(
            run.file(_sheet(motion)),
            title=motion.replace("_", " "),
            caption=f"The target moved by {_STRENGTH:g} standard deviations. From above: unedited; "
            + "; ".join(_label(name) for name in _drawn(found, motion)),
        )
        for motion in options.edits
    ]
    return Result(
        title="Micromotions beside the usual methods",
        subtitle=f"{len(options.unseen)} faces of {judged.gen.name}, read by {options.judge}",
        figures=numbers,
        tables=tables(numbers, claims),
        sections=[
            Section("Leakage against change of the target", [Svg(svg, caption=_CAPTION)]),
            Section("The same faces, the same change of the target", sheets),
        ],
    )
