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
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from absl import flags
from etils import epy

import mm_jax
from mm_jax import allocator, compile_cache, progress, runs, times
from mm_jax.errors import DataError, UsageError
from mm_jax.kinds import described
from mm_jax.options import FlagSpec, Options, flag_names, flag_specs, from_flags, option
from mm_jax.words import counted

with epy.lazy_imports():
    import importlib.metadata as metadata
    import platform

__all__ = ["ALWAYS", "Call", "FolderOptions", "OutputOptions", "heading", "run"]

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
_YES, _NO = ("true", "t", "1", "yes", "y", "on"), ("false", "f", "0", "no", "n", "off")


class _YesNo(flags.BooleanParser):
    """Yes and no in the words that people use."""

    def parse(self, argument: Any) -> bool:
        """The value. Raises ValueError, which absl puts behind the flag's name."""
        word = str(argument).lower()
        if word not in (*_YES, *_NO):
            raise ValueError("must be yes or no")
        return word in _YES


class _Whole(flags.IntegerParser):
    """Whole numbers; 1e3 is one."""

    def convert(self, argument: Any) -> int:
        """The value. Raises ValueError, which absl puts behind the flag's name."""
        try:
            return int(argument)
        except ValueError:
            number = _Number().convert(argument, "a whole number, e.g. 100")
        if not number.is_integer():
            raise ValueError("must be a whole number, e.g. 100")
        return int(number)


class _Number(flags.FloatParser):
    """Numbers."""

    def convert(self, argument: Any, wanted: str = "a number, e.g. 0.5") -> float:
        """The value. Raises ValueError, which absl puts behind the flag's name."""
        try:
            return float(argument)
        except ValueError:
            raise ValueError(f"must be {wanted}") from None


_PARSERS: dict[type, Callable[[], Any]] = {bool: _YesNo, int: _Whole, float: _Number}


# What other projects call our flags. Of several that a name may mean, a program's first is meant.
_ELSEWHERE = {
    "trunc": "truncation truncation_psi psi",
    "seeds": "seed num_samples",
    "generator": "network network_pkl ckpt checkpoint checkpoint_path model weights g_ckpt",
    "source": "network network_pkl ckpt checkpoint input",
    "image": "img images input inputs target photo picture file files data",
    "video": "clip input movie",
    "latents": "latent latent_path codes w projected_w",
    "subspace": "direction directions boundary boundary_path motion",
    "text": "prompt description template",
    "motion": "subspace direction",
    "strength": "alpha scale degree factor magnitude",
    "outdir": "out output output_dir out_dir outputs results save_dir",
    "steps": "step num_steps iterations",
    "learning_rate": "lr",
    "batch": "batch_size",
    "overwrite": "force",
    "format": "ext",
}
# What `described` calls the files that are values of these flags.
_TAKES = ("image", "video", "subspace", "latents", "anchors", "generator")

ALWAYS = {"help": "Show this help.", "version": "Show the version."}
"""Flags that every program has, and their help."""


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
        self._adopted: set[str] = set()
        self._run: runs.RunFolder | None = None
        self._to_write = 0
        for flag, text in ALWAYS.items():
            flags.DEFINE_bool(flag, False, text, flag_values=self._values)
        for kind in kinds:
            for flag, spec in flag_specs(kind):
                # Options of one name share a flag, which the first one defines; their defaults
                # may differ: see `read`.
                if flag not in self._specs:
                    self._specs[flag] = spec
                    _define(self._values, flag, spec)

    def read(self, kind: type[T], **given: Any) -> T:
        """Options of a class from the flags, and from `given` for fields that are no flags.

        A flag that is neither on the command line nor adopted has this class's own default, which
        the run's settings then have too.

        Raises:
            UsageError: a value that cannot be parsed or is out of range.
        """
        specs = dict(flag_specs(kind))

        def value(flag: str) -> Any:
            if not self.is_given(flag) and flag not in self._adopted:
                self._values[flag].value = specs[flag].flag_default
            return self._values[flag].value

        return from_flags(kind, value, given)

    def is_given(self, flag: str) -> bool:
        """Whether the flag is on the command line."""
        return self._values[flag].present > 0

    def given_fields(self, kind: type[Options]) -> list[str]:
        """The fields of a class of options whose flags are on the command line."""
        return [field for field, flag in flag_names(kind).items() if self.is_given(flag)]

    def adopt(self, flag: str, value: Any) -> None:
        """Take the value of a flag that is not on the command line from elsewhere."""
        if value is not None:
            self._values[flag].value = value
            self._adopted.add(flag)

    def refuse_beside(self, flag: str, *others: str, why: str) -> None:
        """Refuse flags that would be ignored because `flag` is given.

        Raises:
            UsageError: one of `others` is on the command line beside `flag`.
        """
        for other in others:
            if self.is_given(flag) and self.is_given(other):
                raise UsageError(f"--{other} does nothing beside --{flag}: {why}")

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
        run = runs.RunFolder.open(
            self.output.outdir,
            command=self.name,
            settings=settings,
            outputs=outputs,
            perhaps=perhaps,
            overwrite=isinstance(self.output, OutputOptions) and self.output.overwrite,
            dry_run=self.output.dry_run,
        )
        if self.output.dry_run:
            plan = {"command": self.name, "settings": settings, "outputs": list(outputs)}
            print(json.dumps(plan, indent=2, ensure_ascii=False))
            if run.outputs:
                print(_would(run), file=sys.stderr)
            return None
        self._run, self._to_write = run, len(run.missing())
        return run

    def remember(self, seconds: float) -> None:
        """Note how long the run took, for later dry runs."""
        if self._run is not None and self._run.outputs:
            written = self._to_write - len(self._run.missing())
            times.remember(self.name, self._run.settings, written, seconds)

    def withdraw_run(self) -> None:
        """Leave no trace of a run that failed before it wrote anything.

        Its settings would else refuse the corrected command.
        """
        if self._run is not None:
            self._run.withdraw()

    def _help(self, doc: str) -> str:
        lines = [doc.strip(), "", "Flags:"]
        for name, text in ALWAYS.items():
            lines += [f"  --{name}", f"      {text}"]
        shown: dict[str, Any] = {}
        for kind in self._kinds:
            # A flag is shown again where its default is another.
            specs = {
                name: spec for name, spec in flag_specs(kind)
                if name not in shown or shown[name] != spec.flag_default
            }  # fmt: skip
            shown |= {name: spec.flag_default for name, spec in specs.items()}
            if specs:
                lines += ["", f"{heading(kind)}:"]
            for name, spec in specs.items():
                own = self._values[name]
                # absl adds to the help of a repeatable flag that it can be repeated.
                plain = isinstance(own.default, list) or spec is not self._specs[name]
                text = spec.help if plain else own.help
                lines += [f"  --{name}{_default(spec.flag_default)}", f"      {text}"]
        return "\n".join(lines)

    def parse(self, argv: Sequence[str]) -> None:
        """Take the flags of a command line, whose first word is the program's name.

        Raises:
            flags.Error: an unknown flag, or a value of another type.
            UsageError: a word that is no flag.
        """
        try:
            rest = self._values(argv)[1:]
        except flags.UnrecognizedFlagError as error:
            raise UsageError(self._unknown(error)) from None
        if rest:
            raise UsageError(self._stray(rest[0]))
        for name, spec in self._specs.items():
            if spec.kind in (str, list) and spec.parse is None and spec.choices is None:
                self._values[name].value = _at_home(self._values[name].value)

    def _unknown(self, error: flags.UnrecognizedFlagError) -> str:
        """What to say of a flag that there is not: absl's words, and ours for the same thing."""
        name = error.flagname.replace("-", "_").lower()
        ours = (flag for flag, theirs in _ELSEWHERE.items() if name in theirs.split())
        likely = name if name in self._values else next((f for f in ours if f in self._specs), None)
        if likely is None:
            return str(error)
        return f"Unknown command line flag '{error.flagname}': here it is --{likely}"

    def _stray(self, word: str) -> str:
        """What to say of a word that is no flag."""
        wrong = f"unexpected argument {word!r}"
        for flag, spec in self._specs.items():
            if word in (*(spec.choices or ()), *(spec.names() if spec.names else ())):
                return f"{wrong}: did you mean --{flag}={word}?"
        what = described(word)
        flag = next((f for f in _TAKES if f in self._specs and re.search(rf"\b{f}\b", what)), None)
        if flag is None:
            return (
                f"unexpected argument {word!r} "
                "(flags are --name=value; a value with spaces needs quotes)"
            )
        several = ""
        if self._specs[flag].kind is list:
            several = " For several, repeat the flag"
            if flag == "image":
                several += f", or quote a pattern: --image='*{Path(word).suffix}'"
        return f"{wrong}, {what}: did you mean --{flag}={word}?{several}"

    def _find_output(self) -> None:
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
        if kind in _PARSERS:
            values[name].parser = _PARSERS[kind]()
    if spec.alias:
        flags.DEFINE_alias(spec.alias, name, flag_values=values)


def heading(kind: type[Options]) -> str:
    """What a class of options is about: the first words of its docstring."""
    doc = kind.__doc__ or ""
    if doc.startswith(f"{kind.__name__}("):  # a dataclass without one gets its signature
        return kind.__name__
    return re.split(r"[;:.\n]", doc, maxsplit=1)[0]


def _default(value: Any) -> str:
    """A flag's default, for the help; what is empty by default is explained there in words."""
    if isinstance(value, bool):
        return f" [{'yes' if value else 'no'}]"
    if isinstance(value, list):
        value = " ".join(map(str, value))
    return "" if value in (None, "", []) else f" [{value}]"


def _at_home(value: Any) -> Any:
    """A flag's text, or each of its texts, with ~ as the shell has it at the start of a word."""
    if isinstance(value, list):
        return [_at_home(one) for one in value]
    return os.path.expanduser(value) if isinstance(value, str) and value[:1] == "~" else value


def _would(run: runs.RunFolder) -> str:
    """What a --dry_run found, in one line."""
    missing = len(run.missing())
    there = len(run.outputs) - missing
    already = f"; {there} of {len(run.outputs)} are there already" if there else ""
    seconds = times.expected(run.command, run.settings, missing)
    about = "" if seconds is None else f", in about {_rounded(seconds)}"
    return f"would write {counted(missing, 'file')} to {run.path}{about}{already}"


def _rounded(seconds: float) -> str:
    if seconds < 100:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _version(name: str) -> str:
    return (
        f"{name} {mm_jax.__version__} (jax {metadata.version('jax')}, "
        f"Python {platform.python_version()})"
    )


def _print(text: str) -> None:
    """Print for a reader who, like `head`, may have seen enough before the end."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # What is buffered would be tried again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
            _print(call._help(doc or ""))
            return 0
        if "--version" in argv[1:]:
            _print(_version(name))
            return 0
        call.parse(argv)
        call._find_output()
        with _kept(call):
            try:
                return work(call) or 0
            except BaseException:
                call.withdraw_run()
                raise
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
    """Within the block compiled programs and memory are kept; then a line says what it cost.

    A --dry_run does neither.
    """
    compile_cache.be_quiet()
    compile_cache.compile_quickly()
    if not call.output.outdir or call.output.dry_run:
        yield
        return
    if not call.output.compile_cache:
        raise UsageError("--compile_cache is empty: give a folder, auto or off")
    compile_cache.keep_programs(call.output.compile_cache)
    allocator.keep_freed_memory()
    with compile_cache.timed() as spent, progress.staged() as stages:
        yield
    if call.output.compile_cache != "off":
        call.remember(spent.working)
    print(f"{spent} ({stages})" if stages.seconds else spent, file=sys.stderr)
