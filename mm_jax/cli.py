"""What the programs share: flags made from options, `--help`, exit statuses, output folders.

A program is one file: a docstring (its help), the options that are its flags, and the work:

    def work(call: cli.Call) -> int | None:
        own = call.read(SampleOptions)
        ...

    def main(argv=None) -> int:
        return cli.run(__doc__, (SampleOptions, cli.OutputOptions), work, argv)

Exit statuses: 0 done, 1 bad data (`DataError`) or out of memory, 2 bad usage (`UsageError` and
flags that cannot be parsed), 130 interrupted. Every failure that a user can cause is one line on
standard error. Flags belong to one call, not to the global `absl` flags, so that programs can be
imported side by side.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from absl import flags

from mm_jax import allocator, compile_cache, runs
from mm_jax.errors import DataError, UsageError
from mm_jax.options import FlagSpec, Options, flag_specs, from_flags, option

__all__ = ["Call", "FolderOptions", "OutputOptions", "run"]

T = TypeVar("T", bound=Options)

# Flags that say where or whether results are written, not what they are.
_NOT_SETTINGS = {"help", "outdir", "dry_run", "overwrite", "compile_cache", "batch"}
_DEFINERS: dict[type, Callable[..., Any]] = {
    bool: flags.DEFINE_bool,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    str: flags.DEFINE_string,
    list: flags.DEFINE_multi_string,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class FolderOptions(Options):
    """Where a program writes, for programs that never begin anew."""

    outdir: str = option("", "Folder for everything that this run writes.")
    dry_run: bool = option(False, "Check everything, print what would be done, write nothing.")
    compile_cache: str = option(
        "auto",
        "Folder for compiled programs; 'auto' is one in the user's cache folder, 'off' keeps none.",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class OutputOptions(FolderOptions):
    """Where a program writes."""

    overwrite: bool = option(False, "Begin anew in a folder that holds another run.")


class Call:
    """One call of a program: its flags, from which options are read when they are needed.

    Attributes:
        name: of the program.
        output: where it writes.
    """

    def __init__(self, name: str, kinds: Sequence[type[Options]]) -> None:
        self.name = name
        self.output: FolderOptions = OutputOptions()
        self._kinds = tuple(kinds)
        self._values = flags.FlagValues()
        self._specs: dict[str, FlagSpec] = {}
        flags.DEFINE_bool("help", False, "Show this help.", flag_values=self._values)
        for kind in kinds:
            for flag, spec in flag_specs(kind):
                # Options of one name share a flag: the first one defines it.
                if flag not in self._specs:
                    self._specs[flag] = spec
                    _define(self._values, flag, spec)

    def read(self, kind: type[T], **given: Any) -> T:
        """Options of a class from the flags, and from `given` for fields that are no flags.

        Raises:
            UsageError: a value that cannot be parsed or is out of range.
        """
        return from_flags(kind, lambda flag: self._values[flag].value, given)

    def is_given(self, flag: str) -> bool:
        """Whether the flag is on the command line."""
        return self._values[flag].present > 0

    def open_run(
        self,
        outputs: Sequence[str],
        *,
        perhaps: Sequence[str] = (),
        apart: Sequence[str] = (),
        **metadata: Any,
    ) -> runs.RunFolder | None:
        """The folder of --outdir, open for a run with these flags; None after a --dry_run.

        Args:
            outputs: the files that the run will write, relative to the folder.
            perhaps: the files that it may write beside them.
            apart: further flags that may differ between calls that are the same run.
            **metadata: what the results depend on beside the flags, such as hashes of inputs.

        Raises:
            UsageError: the folder holds another run. DataError: it cannot be written to.
        """
        left_out = {*_NOT_SETTINGS, *apart}
        own = {name: self._values[name].value for name in self._specs if name not in left_out}
        settings = {**own, **metadata}
        if self.output.dry_run:
            plan = {"command": self.name, "settings": settings, "outputs": list(outputs)}
            print(json.dumps(plan, indent=2))
            return None
        return runs.RunFolder.open(
            self.output.outdir,
            command=self.name,
            settings=settings,
            outputs=outputs,
            perhaps=perhaps,
            overwrite=isinstance(self.output, OutputOptions) and self.output.overwrite,
        )

    def _help(self, doc: str) -> str:
        lines = [doc.strip(), "", "Flags:", "  --help", "      Show this help."]
        for name in self._specs:
            own = self._values[name]
            default = "" if own.default in (None, "", [], False) else f" [{own.default}]"
            lines += [f"  --{name}{default}", f"      {own.help}"]
        return "\n".join(lines)

    def _parse(self, argv: Sequence[str]) -> None:
        rest = self._values(argv)[1:]
        if rest:
            raise UsageError(f"unexpected argument {rest[0]!r} (flags are --name=value)")
        kind = next((kind for kind in self._kinds if issubclass(kind, FolderOptions)), None)
        if kind is None:
            return
        self.output = self.read(kind)
        if not self.output.outdir:
            raise UsageError("--outdir is missing: the folder for everything that this run writes")
        runs.check_writable(self.output.outdir)


def _define(values: flags.FlagValues, name: str, spec: FlagSpec) -> None:
    if spec.choices is not None and spec.parse is None:
        choices = list(spec.choices)
        flags.DEFINE_enum(name, spec.flag_default, choices, spec.help, flag_values=values)
    else:
        kind = str if spec.parse else spec.kind
        _DEFINERS[kind](name, spec.flag_default, spec.help, flag_values=values)
    if spec.alias:
        flags.DEFINE_alias(spec.alias, name, flag_values=values)


def run(
    doc: str | None,
    options: Sequence[type[Options]],
    work: Callable[[Call], int | None],
    argv: Sequence[str] | None = None,
) -> int:
    """Parse flags, do the work, turn what goes wrong into a line and an exit status.

    Args:
        doc: the program's docstring: what it does and examples that can be run; --help prints it.
        options: the classes whose fields are the flags, in the order of the help.
        work: does the work, and returns an exit status or None for 0. An --outdir is known to be
            given and writable when it is called.
        argv: the command line with the program's name first; by default the process's own.
    """
    argv = list(sys.argv if argv is None else argv)
    name = Path(argv[0]).stem
    try:
        call = Call(name, options)
        if any(arg in ("-h", "--help", "-help") for arg in argv[1:]):
            print(call._help(doc or ""))
            return 0
        call._parse(argv)
        with _kept(call):
            return work(call) or 0
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


@contextlib.contextmanager
def _kept(call: Call) -> Iterator[None]:
    """Within the block compiled programs and memory are kept; then a line says how long it took.

    A --dry_run does neither.
    """
    if not call.output.outdir or call.output.dry_run:
        yield
        return
    if not call.output.compile_cache:
        raise UsageError("--compile_cache is empty: give a folder, auto or off")
    compile_cache.keep_programs(call.output.compile_cache)
    allocator.keep_freed_memory()
    with compile_cache.timed() as spent:
        yield
    print(spent, file=sys.stderr)
