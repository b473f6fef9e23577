"""What all binaries share: flags, `--help`, exit statuses, where results and caches go.

A binary is a docstring (its help), a function that defines its flags and a function that does the
work:

    def main(argv=None) -> int:
        return cli.run(__doc__, define, work, argv)

Exit statuses: 0 done, 1 bad data (`DataError`) or out of memory, 2 bad usage (`UsageError` and
flags that cannot be parsed), 130 interrupted. Every failure that a user can cause is one line on
standard error. Flags live in an object of their own per call, not in the global `absl` ones, so
that binaries can be imported side by side.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from absl import flags

from mm_jax import allocator, compile_cache, flag_types, io, runs
from mm_jax.anchors.prompts import MOTIONS
from mm_jax.errors import DataError, UsageError
from mm_jax.jobs.settings import AnchorSettings

if TYPE_CHECKING:
    from mm_jax.artifacts import Latents, Subspace
    from mm_jax.stylegan2.generator import Generator

T = TypeVar("T")

__all__ = [
    "Flags",
    "define_generator",
    "define_latents",
    "define_output",
    "define_settings",
    "flag",
    "inputs",
    "load_codes",
    "load_subspaces",
    "open_run",
    "positive",
    "read_search",
    "read_settings",
    "read_strengths",
    "run",
]

# Flags that say where or whether results are written, not what they are.
_NOT_SETTINGS = {"help", "outdir", "dry_run", "overwrite", "compile_cache", "batch"}
_DEFINERS: dict[type, Callable[..., Any]] = {
    bool: flags.DEFINE_bool,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    str: flags.DEFINE_string,
    list: flags.DEFINE_multi_string,
}


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
    """Define the flags of classes of `mm_jax.jobs.settings`; fields of one name share a flag."""
    for field in (field for kind in kinds for field in dataclasses.fields(kind)):
        facts = field.metadata
        if facts and field.name not in values:
            default = facts["text"] if facts["parse"] else field.default
            flag(
                values,
                field.name,
                default,
                facts["help"],
                choices=facts["choices"],
                kind=facts["kind"],
            )


def read_settings(values: Flags, kind: Callable[..., T], **given: Any) -> T:
    """Settings of a class from its flags, and from `given` for fields that are none.

    Raises:
        UsageError: a value that cannot be parsed or is out of range.
    """
    read = dict(given)
    for field in dataclasses.fields(cast(Any, kind)):
        if field.metadata and field.name not in given:
            text = values[field.name].value
            parse = field.metadata["parse"]
            read[field.name] = parse(text, flag=f"--{field.name}") if parse else text
    return kind(**read)


def read_search(values: Flags) -> AnchorSettings | None:
    """How anchors are looked for by prompts; None where --anchors or --video gives them.

    Raises:
        UsageError: flags that contradict each other, or a bad value.
    """
    if sum(map(bool, (values.text, values.motion, values.anchors, values.video))) != 1:
        raise UsageError("want exactly one of --motion, --text, --anchors and --video")
    stored = values.anchors or values.video
    if values.arcface and (stored or values.strategy != "optimize"):
        raise UsageError("--arcface is for anchors that are optimised")
    if not (values.arcface or values["identity_weight"].using_default_value):
        raise UsageError("--identity_weight wants --arcface")
    if stored:
        return None
    motion = MOTIONS.get(values.motion)
    layers = flag_types.parse_layers(values.layers, flag="--layers")
    return read_settings(
        values,
        AnchorSettings,
        template=motion.template if motion else values.text,
        layers=layers or (motion.layers if motion else None),
        truncation_psi=values.trunc,
        batch_size=values.batch,
    )


def read_strengths(values: Flags) -> tuple[tuple[float, ...], ...]:
    """[E][S]: for each --subspace its strength in every frame.

    Raises:
        UsageError: no subspace, or as many strengths as fit neither one nor all of them.
    """
    if not values.subspace:
        raise UsageError("--subspace is missing: a file that mm_extract wrote")
    given, wanted = len(values.strength), len(values.subspace)
    if given not in (1, wanted):
        raise UsageError(f"{given} --strength for {wanted} --subspace")
    texts = values.strength * (wanted // given)
    return tuple(flag_types.parse_strengths(text, frames=values.frames) for text in texts)


def positive(values: Flags, *names: str) -> None:
    """Refuse flags that are zero or less.

    Raises:
        UsageError: naming the flag.
    """
    for name in names:
        value = values[name].value
        if value is not None and value <= 0:
            raise UsageError(f"--{name}={value}: want a number above 0")


def load_codes(values: Flags) -> tuple[Generator, Latents]:
    """The generator, and the named codes [N, L, D] that --seeds, --latents and --trunc ask for.

    Raises:
        UsageError: bad flags. DataError: a bad file, or codes of another generator's shape.
    """
    positive(values, "batch")
    if not -2 <= values.trunc <= 2:
        raise UsageError(f"--trunc={values.trunc}: want a number from -2 to 2")
    seeds = () if values.latents else flag_types.parse_seeds(values.seeds)
    from mm_jax import artifacts
    from mm_jax.latents import sample_latents
    from mm_jax.zoo import load_generator

    loaded = artifacts.load_latents(values.latents) if values.latents else None
    gen = load_generator(values.generator)
    if loaded is None:
        names = tuple(f"seed{seed:04d}" for seed in seeds)
        ws = sample_latents(gen, seeds=seeds, truncation_psi=values.trunc)
        return gen, artifacts.Latents(ws, names, seeds)
    _check_shape(values.latents, loaded.ws.shape[1:], gen)
    names = loaded.names or tuple(f"code{i:04d}" for i in range(len(loaded.ws)))
    if len(set(names)) < len(names) or any(Path(n).name != n or n[0] == "." for n in names):
        raise DataError(f"{values.latents}: names are not distinct names of files")
    return gen, artifacts.Latents(loaded.ws, names, loaded.seeds)


def load_subspaces(paths: Sequence[str], gen: Generator) -> list[Subspace]:
    """Subspaces for a generator; one that was found in another generator is remarked upon.

    Raises:
        DataError: a bad file, or a subspace of another generator's shape.
    """
    from mm_jax.artifacts import load_subspace

    loaded = [load_subspace(path) for path in paths]
    for path, subspace in zip(paths, loaded, strict=True):
        _check_shape(path, subspace.basis.shape[1:], gen)
        home = subspace.meta.get("generator_fingerprint", gen.fingerprint)
        if home not in (gen.fingerprint, gen.meta.get("base_fingerprint")):
            print(f"note: {path} was found in another generator than {gen.name}", file=sys.stderr)
    return loaded


def _check_shape(path: str, shape: Sequence[int], gen: Generator) -> None:
    wanted = (gen.config.num_ws, gen.config.w_dim)
    if tuple(shape) != wanted:
        raise DataError(f"{path}: codes are {list(shape)}, those of {gen.name} are {list(wanted)}")


def inputs(gen: Generator, *paths: str, **networks: Any) -> dict[str, Any]:
    """What a run's results depend on beside its flags: the bytes of networks and of files.

    Args:
        gen: the generator.
        *paths: files; empty names are skipped.
        **networks: further pytrees by name, or None.

    Raises:
        DataError: a file cannot be read.
    """
    facts: dict[str, Any] = {"generator_fingerprint": gen.fingerprint}
    for name, network in networks.items():
        if network is not None:
            facts[f"{name}_fingerprint"] = runs.fingerprint(network)
    return {**facts, "inputs": {path: io.sha256_file(path) for path in paths if path}}


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
