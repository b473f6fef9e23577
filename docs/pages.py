"""Pages of the site that are made from the code and from files elsewhere in the repository.

`docs/hooks.py` hands them to mkdocs, and tests compare them with the code. Nothing here needs JAX
or mkdocs: flags come from the programs' options, names and docstrings from the source.
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from docs import notebooks
from mm_jax import cli
from mm_jax.options import FlagSpec, Options, flag_specs

__all__ = [
    "API",
    "INCLUDED",
    "PERFORMANCE",
    "ROOT",
    "api_index",
    "api_page",
    "docstring_of",
    "generated",
    "included_page",
    "linked",
    "performance_page",
    "program",
    "program_names",
    "program_page",
    "programs_index",
    "public_names",
]

ROOT = Path(__file__).resolve().parents[1]

API: dict[str, tuple[str, tuple[str, ...]]] = {
    "generators": (
        "Generators and latents",
        (
            "load_generator", "sample_latents", "synthesize", "mean_latent", "seeds_to_z",
            "to_stylespace", "synthesize_from_styles", "skip_images", "Latents", "load_latents",
            "save_latents", "Generator", "GeneratorConfig", "load_generator_dir", "save_generator",
        ),
    ),
    "anchors": (
        "Anchors",
        (
            "text_anchors", "AnchorOptions", "MOTIONS", "Motion", "DEFAULT_DEGREES",
            "video_anchors", "VideoAnchorOptions", "Anchors", "load_anchors", "save_anchors",
        ),
    ),
    "subspaces": (
        "Subspaces",
        (
            "extract_subspace", "SubspaceOptions", "Subspace", "load_subspace", "save_subspace",
            "read_back", "ReadBack", "decouple", "calibrate", "calibrated", "Calibration",
            "latent_svd",
        ),
    ),
    "edits": ("Edits", ("apply_edit", "EditOptions", "motion_truth", "MotionTruth")),
    "inversion": (
        "Inversion",
        (
            "invert", "InvertOptions", "Inversion", "tune_generator", "TuneOptions", "Tuning",
            "load_encoder", "encode", "Encoder", "save_encoder",
        ),
    ),
    "networks": (
        "CLIP, identity, likeness",
        (
            "load_clip", "encode_image", "encode_text", "Clip", "load_arcface", "embed_faces",
            "identity_loss", "ArcFace", "save_arcface", "load_lpips", "lpips", "Lpips",
            "save_lpips",
        ),
    ),
    "running": (
        "Devices, memory, errors",
        ("make_mesh", "replicate", "keep_freed_memory", "DataError", "UsageError"),
    ),
}  # fmt: skip
"""Pages of the API: title, and the public names in the order in which they are shown."""

INCLUDED = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "benchmarks/README.md": "benchmarks.md",
    "mm_jax/assets/MODEL_CARD.md": "models.md",
    "mm_jax/assets/faces/MODEL_CARD.md": "face-networks.md",
}
"""Files of the repository that are pages too."""

PERFORMANCE = (
    ("Images and gradients", "benchmarks/README.md", "**Images and gradients.**"),
    ("Memory", "benchmarks/README.md", "**Peak memory**"),
    ("Motions from prompts", "benchmarks/README.md", "**Text anchors**"),
    ("Robust PCA", "benchmarks/README.md", "**Robust PCA**"),
    ("The demonstration", "docs/all-of-it.md", "Measured by `mm_demo`"),
    ("Inversion", "docs/inversion.md", "`mm_eval --topic=inversion --subspaces=runs/demo --few"),
    ("", "docs/inversion.md", "**Likeness**"),
    ("Unknown photographs", "docs/photos.md", "The four images above together take"),
    ("Videos", "benchmarks/README.md", "**Media**"),
    ("The studio", "docs/studio.md", "From the input event"),
    ("Conversion of weights, and programs at 1024 px", "docs/weights.md", "## Time and memory"),
    ("Batches", "benchmarks/README.md", "**Batches**"),
    ("Start-up", "benchmarks/README.md", "**Start-up**"),
    ("Compiling", "benchmarks/README.md", "**Compiling.**"),
    ("Precision", "benchmarks/README.md", "**Precision.**"),
)
"""What the page on performance gathers: a heading, a file, and how the passage in it begins.

What has no heading of its own belongs to the one before.
"""

_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)")


def generated() -> dict[str, str]:
    """All pages, by their path within the site's sources."""
    found = {site: included_page(source) for source, site in INCLUDED.items()}
    found |= notebooks.pages()
    found["performance.md"] = performance_page()
    found["programs/index.md"] = programs_index()
    found |= {f"programs/{name}.md": program_page(name) for name in program_names()}
    found["api/index.md"] = api_index()
    return found | {f"api/{page}.md": api_page(page) for page in API}


# Programs.


def program_names() -> list[str]:
    """Names of all programs."""
    return sorted(path.stem for path in (ROOT / "bin").glob("mm_*.py"))


def program(name: str) -> ModuleType:
    """The module of a program: its docstring, OPTIONS and main."""
    return importlib.import_module(f"bin.{name}")


def programs_index() -> str:
    """A table of the programs."""
    rows = [
        f"| [`{name}`]({name}.md) | {_escaped(_first_line(program(name).__doc__ or ''))} |"
        for name in program_names()
    ]
    return "\n".join(
        [
            "# Programs",
            "",
            "Every program prints this with `--help`, checks its flags and files before it starts, "
            "writes to one `--outdir`, and completes what is missing when the same command is run "
            "again. Exit statuses: 0 done, 1 bad data or out of memory, 2 bad usage, 130 "
            "interrupted. What they share, and how the shell completes their flags: "
            "[The programs in short](../programs-in-short.md).",
            "",
            "| program | |",
            "|---|---|",
            *rows,
            "",
            "`python -m mm_jax` prints what a bug report needs: versions, devices, models.",
            "",
        ]
    )


def program_page(name: str) -> str:
    """What a program does, examples, and its flags with their defaults, in groups."""
    module = program(name)
    text, _, examples = (module.__doc__ or "").partition("\nExamples:\n")
    lines = [f"# {name}", "", *_description(text), "", "```sh"]
    lines += [inspect.cleandoc(examples).replace("\\\n", "\\\n    "), "```", "", "## Flags", ""]
    shown: set[str] = set()
    for kind in module.OPTIONS:
        # Options of one name share a flag, which the first class defines.
        flags = [(flag, spec) for flag, spec in flag_specs(kind) if flag not in shown]
        shown |= {flag for flag, _ in flags}
        if flags:
            lines += [f"### {_escaped(cli.heading(kind))}", ""]
            lines += [line for flag, spec in flags for line in _flag_lines(flag, spec)]
    return "\n".join(lines)


def _description(text: str) -> Iterator[str]:
    """The paragraphs of a program's docstring; those of the form "name: text" become a list."""
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        named = re.match(r"\w+: ", paragraph)
        for line in paragraph.splitlines():
            starts = re.match(r"(\w+): (.*)", line) if named else None
            yield f"- `{starts[1]}`: {_escaped(starts[2])}" if starts else _escaped(line)
        yield ""


def _flag_lines(flag: str, spec: FlagSpec) -> Iterator[str]:
    said = _escaped(spec.help) + _limits(spec)
    default = spec.flag_default
    if isinstance(default, list):
        default = ",".join(default)
    if default is True:
        said += f" On unless `--no{flag}` is given."
    elif default not in (None, "", False):
        said += f" Default: `{default}`."
    yield from (f"`--{flag}`{{ #{flag} }}", f":   {said}", "")


def _limits(spec: FlagSpec) -> str:
    """What values a flag takes, where its help does not say it."""
    said = []
    if spec.choices is not None:
        names = [f"`{choice}`" for choice in spec.choices if choice]
        said.append(f"One of {', '.join(names)}.")
    if spec.minimum is not None or spec.above is not None:
        bound = f"above {spec.above:g}" if spec.minimum is None else f"at least {spec.minimum:g}"
        said.append(bound.capitalize() + ("." if spec.maximum is None else ""))
    if spec.maximum is not None:
        said.append(f"{'and at' if said else 'At'} most {spec.maximum:g}.")
    if spec.kind is list and "repeat" not in spec.help:
        said.append("May be given several times.")
    return "".join(f" {part}" for part in said)


# The API.


@functools.cache
def _api() -> ast.Module:
    return ast.parse((ROOT / "mm_jax/__init__.py").read_text(encoding="utf-8"))


def public_names() -> list[str]:
    """`mm_jax.__all__` without its dunder names."""
    for node in _api().body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return [name for name in ast.literal_eval(node.value) if not name.startswith("_")]
    raise LookupError("mm_jax/__init__.py has no __all__")


def _home(name: str) -> str:
    """The module that a public name is imported from."""
    for node in ast.walk(_api()):
        if isinstance(node, ast.ImportFrom) and name in {alias.name for alias in node.names}:
            return str(node.module)
    raise LookupError(f"mm_jax/__init__.py does not import {name}")


def docstring_of(name: str) -> str:
    """The docstring of a public name, of a constant the string below it; "" if there is none."""
    file = ROOT / (_home(name).replace(".", "/") + ".py")
    file = file if file.exists() else file.with_suffix("") / "__init__.py"
    body = ast.parse(file.read_text(encoding="utf-8")).body
    for node, following in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return ast.get_docstring(node) or ""
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            value = following.value if isinstance(following, ast.Expr) else None
            text = value.value if isinstance(value, ast.Constant) else None
            return inspect.cleandoc(text) if isinstance(text, str) else ""
    raise LookupError(f"{file} does not define {name}")


def api_index() -> str:
    """All public names with the first line of what they are.

    Raises:
        LookupError: a public name is on no page, or has no docstring.
    """
    placed = {name for _, names in API.values() for name in names}
    if lost := sorted(set(public_names()) ^ placed):
        raise LookupError(f"docs/pages.py and mm_jax.__all__ differ by {', '.join(lost)}")
    if bare := [name for name in public_names() if not docstring_of(name).strip()]:
        raise LookupError(f"no docstring: {', '.join(bare)}")
    lines = [
        "# API",
        "",
        "Everything here is imported from `mm_jax`, on first use. Shapes: N latents or images, "
        "L rows of W+, D latent width, H W image, K rank, M anchors, S strengths, T frames. Images "
        "are float32 in about [-1, 1], channels last.",
        "",
    ]
    for page, (title, names) in API.items():
        lines += [f"## {title}", "", "| | |", "|---|---|"]
        for name in names:
            first = _escaped(_first_line(docstring_of(name)))
            lines.append(f"| [`{name}`]({page}.md#mm_jax.{name}) | {first} |")
        lines.append("")
    return "\n".join(lines)


def api_page(page: str) -> str:
    """One page of the API; mkdocstrings fills in signatures and docstrings."""
    title, names = API[page]
    lines = [f"# {title}", ""]
    for name in names:
        lines += [f"::: mm_jax.{name}", ""]
        if name.endswith("Options"):
            lines += _fields(getattr(importlib.import_module(_home(name)), name))
    return "\n".join(lines)


def _fields(kind: type[Options]) -> Iterator[str]:
    yield from ("| field | default | |", "|---|---|---|")
    for field in kind.__dataclass_fields__.values():
        spec = field.metadata.get("spec")
        if spec is not None:
            said = _escaped(spec.help) + _limits(spec)
            yield f"| `{field.name}` | `{spec.default!r}` | {said} |"
    yield ""


# Files from elsewhere.


def included_page(source: str) -> str:
    """A file of the repository as a page of the site."""
    return linked(source, INCLUDED[source], (ROOT / source).read_text(encoding="utf-8"))


def performance_page() -> str:
    """All measured figures of speed and memory, from the pages that each belongs to.

    Raises:
        LookupError: a passage is not where `PERFORMANCE` says.
    """
    lines = [
        "# Performance",
        "",
        "All measured figures of speed and memory, gathered from the pages that say how they were "
        "measured. [Benchmarks](benchmarks.md) says how comparisons are made, and has the layers "
        "and more. Derived, not measured, figures for GPUs and TPUs: [Costs](cluster.md#costs).",
        "",
        "Unless a passage names another machine: "
        + _passage("benchmarks/README.md", "Two cores of an AMD EPYC"),
        "",
    ]
    for heading, source, begins in PERFORMANCE:
        text = linked(source, "performance.md", _passage(source, begins))
        lines += [f"## {heading}", "", text, ""] if heading else [text, ""]
    gpu = _passage("benchmarks/README.md", "**GPU and TPU.**")
    return "\n".join([*lines, "## GPU and TPU", "", gpu, ""])


def _passage(source: str, begins: str) -> str:
    """From a line that begins so up to the next heading, or paragraph that begins in bold."""
    text = (ROOT / source).read_text(encoding="utf-8")
    found = re.search(rf"^{re.escape(begins)}.*?(?=^#|^\*\*|\Z)", text, re.MULTILINE | re.DOTALL)
    if found is None:
        raise LookupError(f"{source} has no line that begins with {begins!r}")
    passage = found[0].removeprefix(begins) if begins.startswith("#") else found[0]
    return passage.strip()


def linked(source: str, page: str, text: str) -> str:
    """Markdown with its links made to fit the site.

    Links to what is a page stay links; others within the repository become plain text, since the
    site does not hold what they point to.

    Args:
        source: the file within the repository, from which its links go.
        page: the page that it becomes, within the site's sources.
        text: of the file.
    """

    def relinked(match: re.Match[str]) -> str:
        words, target = match[1], match[2]
        if re.match(r"[a-z]+:|#", target):
            return match[0]
        path, _, anchor = target.partition("#")
        path = os.path.normpath(Path(source).parent / path)
        to = INCLUDED.get(path) or (path[5:] if re.fullmatch(r"docs/.*\.md", path) else None)
        if to is None:
            return words
        to = os.path.relpath(to, Path(page).parent)
        return f"[{words}]({to}{f'#{anchor}' if anchor else ''})"

    return _LINK.sub(relinked, text)


def _first_line(text: str) -> str:
    """The first sentence or line of a docstring, in one line."""
    return " ".join(text.strip().split("\n\n")[0].split())


def _escaped(text: str) -> str:
    """Text as Markdown shows it as it stands; what is in backticks is left alone."""
    parts = re.sub(r"(?<![\w`-])--[a-z]\w*(=[\w.+/-]*\w)?", r"`\g<0>`", text).split("`")
    parts[::2] = [re.sub(r"([*_<>|\[\]])", r"\\\1", part) for part in parts[::2]]
    return "`".join(parts)
