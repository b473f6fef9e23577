"""Completion of the programs' flags and values in bash, zsh and fish.

`python -m mm_jax completion bash` prints a script for the shell. It is made from the options of the
programs that are installed, without JAX, and runs nothing of them while somebody types.

    source <(python -m mm_jax completion bash)       # in ~/.bashrc
    source <(python -m mm_jax completion zsh)        # in ~/.zshrc, after compinit
    python -m mm_jax completion fish | source        # in ~/.config/fish/config.fish
"""

from __future__ import annotations

import dataclasses
import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata

from mm_jax import cli
from mm_jax.errors import DataError, UsageError
from mm_jax.options import FlagSpec, Options, flag_specs

__all__ = ["SHELLS", "installed_programs", "script"]

Programs = Mapping[str, Sequence[type[Options]]]
"""Name of each program, and the classes whose fields are its flags."""


@dataclasses.dataclass(frozen=True)
class _Flag:
    """What a shell needs to know of a flag.

    Attributes:
        name: without dashes.
        help: one line.
        takes: "nothing", "one" of `words`, a "file", or a "value" that cannot be guessed.
        words: the values that there are.
        repeats: whether it may be given several times.
    """

    name: str
    help: str
    takes: str
    words: tuple[str, ...] = ()
    repeats: bool = False


def installed_programs() -> dict[str, Sequence[type[Options]]]:
    """The programs of this installation, by name, with their options.

    Raises:
        DataError: mm-jax is not installed, so that its programs are not known.
    """
    try:
        found = metadata.distribution("mm-jax").entry_points.select(group="console_scripts")
    except metadata.PackageNotFoundError as error:
        raise DataError("mm-jax is not installed: pip install -e . in its folder") from error
    return {one.name: importlib.import_module(one.module).OPTIONS for one in sorted(found)}


def script(shell: str, programs: Programs) -> str:
    """The completion of some programs, to be read by a shell.

    Args:
        shell: "bash", "zsh" or "fish".
        programs: names and options.

    Raises:
        UsageError: another shell.
    """
    if shell not in _SCRIPTS:
        raise UsageError(f"completion is for one of {', '.join(_SCRIPTS)}, got {shell!r}")
    return _SCRIPTS[shell]({name: _flags(kinds) for name, kinds in programs.items()})


def _flags(kinds: Sequence[type[Options]]) -> list[_Flag]:
    """All flags of a program, those that every program has first."""
    found = {name: _Flag(name, text, "nothing") for name, text in cli.ALWAYS.items()}
    for name, spec in (flag for kind in kinds for flag in flag_specs(kind)):
        if name not in found:
            found[name] = _flag(name, spec)
            if spec.kind is bool and spec.default:
                found[f"no{name}"] = _Flag(f"no{name}", f"The opposite of --{name}.", "nothing")
    return list(found.values())


def _flag(name: str, spec: FlagSpec) -> _Flag:
    repeats = spec.kind is list
    if spec.kind is bool:
        return _Flag(name, spec.help, "nothing")
    if spec.choices is not None:
        return _Flag(name, spec.help, "one", tuple(filter(None, spec.choices)), repeats)
    # Most texts that are not parsed name files, folders, or models, which may be folders.
    is_file = spec.kind in (str, list) and spec.parse is None
    return _Flag(name, spec.help, "file" if is_file else "value", (), repeats)


_BASH = r"""# Flags of mm-jax's programs, for bash 4 or newer.
_mm_jax() {
    local cur=${COMP_WORDS[COMP_CWORD]} flag='' lead='' flags='' words='' takes='value'
    local before=${COMP_WORDS[COMP_CWORD - 1]}
    COMPREPLY=()
    case ${1##*/} in
@PROGRAMS@    esac
    # By default = ends a word of the command line.
    if [[ $cur == = ]]; then
        flag=$before cur=''
    elif [[ $before == = && $COMP_CWORD -ge 2 ]]; then
        flag=${COMP_WORDS[COMP_CWORD - 2]}
    elif [[ $cur == --*=* ]]; then
        flag=${cur%%=*} lead=$flag= cur=${cur#*=}
    elif [[ $cur != -* && " $flags " == *" $before= "* ]]; then
        flag=$before
    fi
    if [[ -z $flag ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$flags" -- "$cur")
        [[ ${COMPREPLY[0]-} == *= ]] && compopt -o nospace 2> /dev/null
        return 0
    fi
    case ${1##*/}/$flag in
@VALUES@    esac
    if [[ $takes == file ]]; then
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        compopt -o filenames 2> /dev/null
    else
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
    fi
    COMPREPLY=("${COMPREPLY[@]/#/$lead}")
    return 0
}
complete -F _mm_jax @NAMES@
"""


def _bash(programs: Mapping[str, Sequence[_Flag]]) -> str:
    flags, values = [], []
    for name, known in programs.items():
        texts = [f"--{one.name}{'' if one.takes == 'nothing' else '='}" for one in known]
        flags.append(f"        {name}) flags='{' '.join(texts)}' ;;\n")
        files = [f"{name}/--{one.name}" for one in known if one.takes == "file"]
        if files:
            values.append(f"        {' | '.join(files)}) takes='file' ;;\n")
        for one in known:
            if one.words:
                words = _quoted(" ".join(one.words))
                values.append(f"        {name}/--{one.name}) words={words} ;;\n")
    text = _BASH.replace("@PROGRAMS@", "".join(flags)).replace("@VALUES@", "".join(values))
    return text.replace("@NAMES@", " ".join(programs))


def _zsh(programs: Mapping[str, Sequence[_Flag]]) -> str:
    lines = ["#compdef " + " ".join(programs)]
    lines += ["# Flags of mm-jax's programs."]
    lines += ["_mm_jax() {", "    case $service in"]
    for name, known in programs.items():
        lines += [f"        {name}) _arguments -S \\"]
        lines += [f"            {_quoted(_zsh_argument(one))} \\" for one in known]
        lines += ["            ;;"]
    return "\n".join([*lines, "    esac", "}", "compdef _mm_jax " + " ".join(programs), ""])


def _zsh_argument(flag: _Flag) -> str:
    text = re.sub(r"([\[\]\\:])", r"\\\1", flag.help)
    star = "*" if flag.repeats else ""
    if flag.takes == "nothing":
        return f"{star}--{flag.name}[{text}]"
    action = {"one": f"({' '.join(flag.words)})", "file": "_files", "value": " "}[flag.takes]
    return f"{star}--{flag.name}=[{text}]:{flag.name}:{action}"


def _fish(programs: Mapping[str, Sequence[_Flag]]) -> str:
    lines = ["# Flags of mm-jax's programs."]
    for name, known in programs.items():
        lines.append(f"complete -c {name} -f")
        for flag in known:
            takes = {
                "nothing": "",
                "one": f" -x -a {_fish_quoted(' '.join(flag.words))}",
                "file": " -r -F",
                "value": " -x",
            }[flag.takes]
            lines.append(f"complete -c {name} -l {flag.name}{takes} -d {_fish_quoted(flag.help)}")
    return "\n".join([*lines, ""])


def _quoted(text: str) -> str:
    """Text in single quotes, for bash and zsh."""
    return "'" + text.replace("'", "'\\''") + "'"


def _fish_quoted(text: str) -> str:
    return "'" + re.sub(r"(['\\])", r"\\\1", text) + "'"


_SCRIPTS: dict[str, Callable[[Mapping[str, Sequence[_Flag]]], str]] = {
    "bash": _bash,
    "zsh": _zsh,
    "fish": _fish,
}
SHELLS: tuple[str, ...] = tuple(_SCRIPTS)
"""The shells that there is a completion for."""
