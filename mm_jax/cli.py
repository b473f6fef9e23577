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

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from mm_jax import flag_types, io, runs
from mm_jax.errors import DataError, UsageError

if TYPE_CHECKING:
    from mm_jax.artifacts import Latents
    from mm_jax.stylegan2.generator import Generator

__all__ = [
    "Flags",
    "define_generator",
    "define_latents",
    "define_output",
    "file_hashes",
    "flag",
    "latents",
    "positive",
    "run",
    "settings",
    "show_plan",
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


def define_output(values: Flags) -> None:
    """--outdir, --overwrite, --dry_run, --compile_cache."""
    flag(values, "outdir", "", "Folder for everything that this run writes.")
    flag(values, "overwrite", False, "Begin anew in a folder that holds another run.")
    flag(values, "dry_run", False, "Check everything, print what would be done, write nothing.")
    flag(
        values,
        "compile_cache",
        "auto",
        "Folder for compiled programs; 'auto' is the user's cache folder, 'none' keeps nothing.",
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
    flag(values, "batch", 16, "Pictures per step; less needs less memory.")


def define_latents(values: Flags, *, seeds: str) -> None:
    """--seeds, --latents, --trunc: which codes to work on."""
    flag(values, "seeds", seeds, "Seeds of sampled codes, e.g. 0-7,12.")
    flag(values, "latents", "", "File of codes (.npz) to use in place of seeds.")
    flag(values, "trunc", 0.7, "Truncation psi of sampled codes: 1 is none, 0 is the mean.")


def positive(values: Flags, *names: str) -> None:
    """Refuse flags that are zero or less.

    Raises:
        UsageError: naming the flag.
    """
    for name in names:
        if not values[name].value > 0:
            raise UsageError(f"--{name}={values[name].value}: want a number above 0")


def latents(values: Flags, gen: Generator) -> Latents:
    """The codes that --seeds, --latents and --trunc ask for, [N, L, D], with names.

    Raises:
        UsageError: bad flags. DataError: a bad file, or codes of another generator's shape.
    """
    from mm_jax import artifacts
    from mm_jax import latents as spaces

    if values.latents:
        loaded = artifacts.load_latents(values.latents)
        wanted = (gen.config.num_ws, gen.config.w_dim)
        if loaded.ws.shape[1:] != wanted:
            raise DataError(
                f"{values.latents}: codes are {list(loaded.ws.shape[1:])}, the generator "
                f"{gen.name} wants {list(wanted)}"
            )
        names = loaded.names or tuple(f"code{i:04d}" for i in range(len(loaded.ws)))
        if len(set(names)) < len(names) or any(Path(name).name != name for name in names):
            raise DataError(f"{values.latents}: names are not distinct file names")
        return artifacts.Latents(loaded.ws, names, loaded.seeds)
    seeds = flag_types.parse_seeds(values.seeds)
    if not -2 <= values.trunc <= 2:
        raise UsageError(f"--trunc={values.trunc}: want a number from -2 to 2")
    ws = spaces.sample_latents(gen, seeds=seeds, truncation_psi=values.trunc)
    return artifacts.Latents(ws, tuple(f"seed{seed:04d}" for seed in seeds), seeds)


def file_hashes(paths: Sequence[str]) -> dict[str, str]:
    """sha256 of each input file: a run is another one when its inputs' bytes are.

    Raises:
        DataError: a file cannot be read.
    """
    return {path: io.sha256_file(path) for path in paths}


def settings(values: Flags, **more: Any) -> dict[str, Any]:
    """All that a run's results depend on: its flags, and `more` facts about its inputs."""
    own = {f.name: f.value for f in values.in_order() if f.name not in _NOT_SETTINGS}
    return {**own, **more}


def show_plan(command: str, plan: dict[str, Any], outputs: Sequence[str]) -> None:
    """Print what a run would do, for --dry_run."""
    import json

    print(json.dumps({"command": command, "settings": plan, "outputs": list(outputs)}, indent=2))


def run(
    doc: str,
    define: Callable[[Flags], None],
    work: Callable[[Flags], None],
    argv: Sequence[str] | None = None,
) -> int:
    """Parse flags, do the work, turn what goes wrong into a line and an exit status.

    Args:
        doc: the binary's docstring: what it does and examples that can be run; printed by --help.
        define: defines the binary's own flags.
        work: does the work. An --outdir is known to be given and writable when it is called.
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
        _set_up_jax(values)
        work(values)
        return 0
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


def _set_up_jax(values: Flags) -> None:
    """Keep compiled programs between runs, unless told otherwise by flag or environment."""
    if "compile_cache" not in values or os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return
    where = values.compile_cache
    if where == "none" or (where == "auto" and values.dry_run):
        return
    if where == "auto":
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        where = Path(home) / "mm_jax" / "compiled"
    try:
        runs.check_writable(where)
    except DataError:
        # A cache is a convenience: without a writable home the run goes on without one.
        if values.compile_cache != "auto":
            raise
        return
    import jax

    jax.config.update("jax_compilation_cache_dir", str(where))
