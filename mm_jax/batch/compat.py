"""Names that mm_batch still uses, on top of what they became; goes with mm_batch's own redesign."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from absl import flags
from etils import epy

from mm_jax import allocator, compile_cache, runs
from mm_jax.alignment.options import AlignOptions as AlignSettings
from mm_jax.anchors.options import AnchorOptions
from mm_jax.checks import check_number, layer_mask
from mm_jax.errors import DataError, UsageError
from mm_jax.inversion.options import InvertOptions as InvertSettings
from mm_jax.options import FlagSpec, option
from mm_jax.sources import fingerprints
from mm_jax.sources import open_subspaces as load_subspaces
from mm_jax.subspace.options import SubspaceOptions as SubspaceSettings

with epy.lazy_imports():
    import jax

    from mm_jax import rendering
    from mm_jax.anchors import text

__all__ = [
    "AlignSettings",
    "AnchorSettings",
    "Flags",
    "InvertSettings",
    "Judges",
    "SubspaceSettings",
    "anchors_of",
    "at_least",
    "check_layers",
    "define_generator",
    "define_latents",
    "define_output",
    "define_settings",
    "flag",
    "inputs",
    "load_subspaces",
    "open_run",
    "option",
    "pictures",
    "positive",
    "read_settings",
    "run",
]

T = TypeVar("T")
inputs = fingerprints


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnchorSettings(AnchorOptions):
    """Options with the prompt."""

    template: str = ""
    batch_size: int | None = None


@dataclasses.dataclass(frozen=True)
class Judges:
    """The networks that compare images."""

    clip: Any
    identity: Any = None


def anchors_of(gen: Any, judges: Judges, starts: Any, settings: AnchorSettings) -> list[Any]:
    """`mm_jax.text_anchors` of start latents [N, L, D]."""
    fields = {field.name for field in dataclasses.fields(AnchorOptions)}
    plain = {name: getattr(settings, name) for name in fields}
    found = text.text_anchors(
        gen, judges.clip, template=settings.template, start=starts,
        options=AnchorOptions(**plain), identity=judges.identity,
        key=jax.random.key(settings.seed), batch_size=settings.batch_size,
    )  # fmt: skip
    assert isinstance(found, list)
    return found


class pictures:
    """`mm_jax.rendering` by its former names."""

    @staticmethod
    def noise_keys_of(*args: Any) -> Any:
        """Keys of random noise."""
        return rendering.noise_keys(*args)

    @staticmethod
    def all_pictures(*args: Any, **options: Any) -> Any:
        """Images of latents."""
        return rendering.render_all(*args, **options)


def check_layers(layers: Sequence[int] | None, rows: int) -> None:
    """Refuse rows that a generator does not have."""
    layer_mask(layers, rows)


def at_least(settings: Any, least: float, *names: str) -> None:
    """Refuse settings below `least`; None passes."""
    for name in names:
        if (value := getattr(settings, name)) is not None:
            check_number(name, value, minimum=least)


_DEFINERS: dict[type, Callable[..., Any]] = {
    bool: flags.DEFINE_bool,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    str: flags.DEFINE_string,
    list: flags.DEFINE_multi_string,
}


_NOT_SETTINGS = {"help", "outdir", "dry_run", "overwrite", "compile_cache", "batch"}


class Flags(flags.FlagValues):
    """The flags of one call of one binary, in the order in which they were defined."""

    def in_order(self) -> list[flags.Flag]:
        """Every flag once, as defined."""
        own = dict.fromkeys(f for group in self.flags_by_module_dict().values() for f in group)
        return list(own)


def flag(
    values: Flags,
    name: str,
    default: Any,
    help: str,
    *,
    choices: Sequence[str] | None = None,
    kind: type | None = None,
) -> None:
    """Define a flag; its type is that of `default` unless `kind` is given (list: repeatable)."""
    if choices is not None:
        flags.DEFINE_enum(name, default, list(choices), help, flag_values=values)
        return
    _DEFINERS[kind or type(default)](name, default, help, flag_values=values)


def define_output(values: Flags, *, overwrite: bool = True) -> None:
    """--outdir, --dry_run, --compile_cache, and --overwrite where the binary has it."""
    flag(values, "outdir", "", "Folder for everything that this run writes.")
    if overwrite:
        flag(values, "overwrite", False, "Begin anew in a folder that holds another run.")
    flag(values, "dry_run", False, "Check everything, print what would be done, write nothing.")
    flag(
        values,
        "compile_cache",
        "auto",
        "Folder for compiled programs; 'auto' is one in the user's cache folder, 'off' keeps none.",
    )


def define_generator(values: Flags) -> None:
    """--generator, --noise_mode, --batch."""
    flag(values, "generator", "synthface", "Name of a bundled generator, or a folder of one.")
    flag(
        values,
        "noise_mode",
        "const",
        "Per-pixel noise: the generator's own, none, or random.",
        choices=("const", "none", "random"),
    )
    flag(values, "batch", None, "Pictures per step; by default what fits in 2 GiB.", kind=int)


def define_latents(values: Flags, *, seeds: str) -> None:
    """--seeds, --latents, --trunc: which codes to work on."""
    flag(values, "seeds", seeds, "Seeds of sampled codes, e.g. 0-7,12.")
    flag(values, "latents", "", "File of codes (.npz) to use in place of seeds.")
    flag(values, "trunc", 0.7, "Truncation psi of sampled codes: 1 is none, 0 is the mean.")


def define_settings(values: Flags, *kinds: type) -> None:
    """Define the flags of classes of options; fields of one name share a flag."""
    for name, spec, _ in _specs(*kinds):
        if name not in values:
            kind = str if spec.parse else spec.kind
            choices = None if spec.parse else spec.choices
            flag(values, name, spec.flag_default, spec.help, choices=choices, kind=kind)


def _specs(*kinds: Any) -> Iterator[tuple[str, FlagSpec, str]]:
    """(flag, what it says, field) of classes of options."""
    for field in (field for kind in kinds for field in dataclasses.fields(kind)):
        if (spec := field.metadata.get("spec")) is not None and spec.name:
            yield field.name if spec.name == "field" else spec.name, spec, field.name


def read_settings(values: Flags, kind: Callable[..., T], **given: Any) -> T:
    """Settings of a class from its flags, and from `given` for fields that are none.

    Raises:
        UsageError: a value that cannot be parsed or is out of range.
    """
    read = dict(given)
    for name, spec, field in _specs(kind):
        if field not in given:
            text = values[name].value
            read[field] = spec.parse(text, flag=f"--{name}") if spec.parse else text
    return kind(**read)


def positive(values: Flags, *names: str) -> None:
    """Refuse flags that are zero or less.

    Raises:
        UsageError: naming the flag.
    """
    for name in names:
        value = values[name].value
        if value is not None and value <= 0:
            raise UsageError(f"--{name}={value}: want a number above 0")


def open_run(
    values: Flags, command: str, outputs: Sequence[str], *, apart: Sequence[str] = (), **facts: Any
) -> runs.RunFolder | None:
    """The folder of --outdir, open for a run with these flags; None after printing a --dry_run.

    Args:
        values: the flags.
        command: the binary's name.
        outputs: the files that the run will write, relative to the folder.
        apart: further flags that may differ between calls that are the same run.
        **facts: what the results depend on beside the flags, such as hashes of inputs.

    Raises:
        UsageError: the folder holds another run. DataError: it cannot be written to.
    """
    left_out = {*_NOT_SETTINGS, *apart}
    own = {f.name: f.value for f in values.in_order() if f.name not in left_out}
    settings = {**own, **facts}
    if values.dry_run:
        plan = {"command": command, "settings": settings, "outputs": list(outputs)}
        print(json.dumps(plan, indent=2))
        return None
    return runs.RunFolder.open(
        values.outdir,
        command=command,
        settings=settings,
        outputs=outputs,
        overwrite="overwrite" in values and values.overwrite,
    )


def run(
    doc: str,
    define: Callable[[Flags], None],
    work: Callable[[Flags], int | None],
    argv: Sequence[str] | None = None,
) -> int:
    """Parse flags, do the work, turn what goes wrong into a line and an exit status.

    Args:
        doc: the binary's docstring: what it does and examples that can be run; printed by --help.
        define: defines the binary's own flags.
        work: does the work, and returns an exit status or None for 0. An --outdir is known to be
            given and writable when it is called.
        argv: the command line with the program's name first; by default the process's own.
    """
    argv = list(sys.argv if argv is None else argv)
    name = Path(argv[0]).stem
    try:
        values = Flags()
        flag(values, "help", False, "Show this help.")
        define(values)
        if any(arg in ("-h", "--help", "-help") for arg in argv[1:]):
            print(_help(name, doc, values))
            return 0
        rest = values(argv)[1:]
        if rest:
            raise UsageError(f"unexpected argument {rest[0]!r} (flags are --name=value)")
        _check_outdir(values)
        return _work(values, work) or 0
    except (UsageError, flags.Error) as error:
        return _fail(name, f"{error} (see {name} --help)", 2)
    except DataError as error:
        return _fail(name, str(error), 1)
    except KeyboardInterrupt:
        return _fail(name, "interrupted; run the same command again to go on", 130)
    except RuntimeError as error:
        # What XLA raises on every backend when memory runs out; anything else is a bug of ours.
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return _fail(name, "out of memory: try a smaller --batch", 1)


def _fail(name: str, message: str, status: int) -> int:
    print(f"{name}: {' '.join(message.split())}", file=sys.stderr)
    return status


def _help(name: str, doc: str, values: Flags) -> str:
    lines = [doc.strip(), "", "Flags:"]
    for own in values.in_order():
        default = "" if own.default in (None, "", [], False) else f" [{own.default}]"
        lines += [f"  --{own.name}{default}", f"      {own.help}"]
    return "\n".join(lines)


def _check_outdir(values: Flags) -> None:
    if "outdir" not in values:
        return
    if not values.outdir:
        raise UsageError("--outdir is missing: the folder for everything that this run writes")
    runs.check_writable(values.outdir)


def _work(values: Flags, work: Callable[[Flags], int | None]) -> int | None:
    """Do the work with compiled programs and memory kept, and say how long it took.

    Not for a --dry_run.
    """
    if "compile_cache" not in values or values.dry_run:
        return work(values)
    if not values.compile_cache:
        raise UsageError("--compile_cache is empty: want a folder, auto or off")
    compile_cache.keep_programs(values.compile_cache)
    allocator.keep_freed_memory()
    with compile_cache.timed() as spent:
        status = work(values)
    print(spent, file=sys.stderr)
    return status
