"""Completion of flags: what the shells offer, with real shells where they are installed."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
import time

import pytest

from docs import pages
from mm_jax import __main__ as program
from mm_jax import completion
from mm_jax.errors import UsageError
from mm_jax.options import flag_specs

PROGRAMS = {name: pages.program(name).OPTIONS for name in pages.program_names()}
needs_bash = pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash")

# Splits a line as bash does, with = as a word, and calls the function that `complete` registered.
DRIVER = r"""
source "$1"
read -r -a registered <<< "$(complete -p "${2##*/}")"
shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
"${registered[2]}" "$1"
printf '%s\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("completion")
    for shell in completion.SHELLS:
        (folder / shell).write_text(completion.script(shell, PROGRAMS))
    return folder


@pytest.fixture
def offered(scripts, tmp_path):
    """What bash offers for words, the last of which is being typed."""

    def run(*words):
        command = ["bash", "--norc", "-c", DRIVER, "bash", str(scripts / "bash"), *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.split()

    return run


@needs_bash
@pytest.mark.parametrize("name", PROGRAMS)
def test_bash_offers_every_flag(offered, name):
    flags = {word.strip("-=") for word in offered(name, "--")}
    assert flags >= {flag for kind in PROGRAMS[name] for flag, _ in flag_specs(kind)}
    assert {"help", "version"} <= flags


@needs_bash
def test_bash_offers_what_fits(offered, tmp_path):
    (tmp_path / "me.jpg").touch()
    assert offered("mm_sample", "--form") == ["--format="]
    assert offered("mm_sample", "--dry") == ["--dry_run"]
    assert offered("mm_sample", "--format", "=") == ["png", "npy"]
    assert offered("mm_sample", "--format", "=", "n") == ["npy"]
    assert offered("mm_sample", "--format=n") == ["--format=npy"]
    assert offered("/usr/bin/mm_sample", "--format", "n") == ["npy"]
    assert offered("mm_edit", "--image", "=", "m") == ["me.jpg"]
    assert offered("mm_sample", "--batch", "=", "m") == []
    assert "--norepair" in offered("mm_extract", "--no")


@needs_bash
def test_the_tabulator_key_completes(scripts):
    """In a real interactive bash: --form<TAB>p<TAB> becomes --format=png."""
    ours, theirs = os.openpty()
    shell = subprocess.Popen(
        ["bash", "--norc", "--noprofile", "-i"],
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        env={**os.environ, "TERM": "dumb", "PS1": "$ "},
    )  # fmt: skip
    os.close(theirs)
    try:
        lines = f"source '{scripts / 'bash'}'; mm_sample() {{ printf '<%s>' \"$@\"; }}\n"
        os.write(ours, (lines + "mm_sample --form\tp\t\n").encode())
        seen, until = b"", time.monotonic() + 60
        while b"<--format=png>" not in seen and time.monotonic() < until:
            if select.select([ours], [], [], 1)[0]:
                seen += os.read(ours, 4096)
        assert b"<--format=png>" in seen
    finally:
        shell.kill()
        shell.wait()
        os.close(ours)


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_scripts_parse(scripts, shell):
    if not shutil.which(shell):
        pytest.skip(f"there is no {shell}")
    done = subprocess.run([shell, "-n", str(scripts / shell)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_scripts_for_zsh_and_fish_hold_every_flag(scripts):
    zsh, fish = (scripts / "zsh").read_text(), (scripts / "fish").read_text()
    for name, kinds in PROGRAMS.items():
        own = zsh.partition(f" {name}) _arguments")[2].partition(";;")[0]
        for flag, spec in (pair for kind in kinds for pair in flag_specs(kind)):
            assert f"--{flag}{'[' if spec.kind is bool else '=['}" in own, (name, flag)
            assert f"complete -c {name} -l {flag} " in fish, (name, flag)
    assert "'--format=[Images, or one float32 array \\[N,H,W,3\\].]:format:(png npy)'" in zsh
    assert "complete -c mm_sample -l format -x -a 'png npy' -d " in fish


def test_the_installed_programs_are_those_of_the_repository():
    assert set(completion.installed_programs()) == set(PROGRAMS)


def test_the_script_is_printed_without_jax(tmp_path):
    code = (
        "import sys; from mm_jax import __main__ as m; "
        "status = m.main(['m', 'completion', 'bash']); "
        "sys.exit(status or 'jax' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "complete -F _mm_jax" in done.stdout


@pytest.mark.parametrize(
    ("words", "got"), [([], "none"), (["tcsh"], "tcsh"), (["bash", "zsh"], "bash zsh")]
)
def test_other_words_are_refused(capsys, words, got):
    assert program.main(["m", "completion", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    wanted = f"python -m mm_jax: completion takes one of bash, zsh, fish, got {got} "
    assert err == f"{wanted}(see python -m mm_jax --help)\n"


def test_an_unknown_shell_is_refused():
    with pytest.raises(UsageError, match="one of bash, zsh, fish, got 'tcsh'"):
        completion.script("tcsh", PROGRAMS)
