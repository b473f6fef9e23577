"""The wrapper of all programs: help, exit statuses, one line for each failure."""

import dataclasses
import json
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest

from mm_jax import cli, compile_cache, completion
from mm_jax.errors import DataError, UsageError
from mm_jax.options import Options, flag_specs, option

DOC = """Do a thing.

Examples:
  mm_thing --number=3 --outdir=runs/thing
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Thing(Options):
    number: int = option(1, "A number.", minimum=1, alias="count")
    method: str = option("rpca", "A choice.", choices=("rpca", "svd"))
    file: list[str] = option([], "A repeatable flag.")
    scale: float = option(1.0, "For Python code only.", flag=False)


OPTIONS = (Thing, cli.OutputOptions)


@pytest.fixture
def call(tmp_path, capsys):
    """Runs a binary that does `work`, without touching the user's cache."""

    def run(*args, work=lambda call: None):
        argv = ["mm_thing", f"--outdir={tmp_path / 'out'}", "--compile_cache=off", *args]
        status = cli.run(DOC, OPTIONS, work, argv)
        return status, capsys.readouterr()

    return run


def raiser(error):
    def work(call):
        raise error

    return work


def test_flags_reach_the_work_and_the_config(call, tmp_path):
    seen = []

    def work(call):
        seen.append(call.read(Thing, scale=2.0))
        assert call.is_given("number") and not call.is_given("overwrite")
        call.open_run(["a.png"], more=1)

    status, _ = call("--count=3", "--method=svd", "--file=a", "--file=b", work=work)
    assert status == 0
    assert seen == [Thing(number=3, method="svd", file=["a", "b"], scale=2.0)]
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["settings"] == {"number": 3, "method": "svd", "file": ["a", "b"], "more": 1}
    assert config["outputs"] == ["a.png"]


def test_help_shows_examples_flags_and_choices(call):
    status, out = call("--help", work=raiser(AssertionError("worked")))
    assert status == 0
    assert "mm_thing --number=3" in out.out
    assert "--number [1]" in out.out
    assert "<rpca|svd>: A choice." in out.out
    # Former names are understood, but not shown.
    assert "count" not in out.out and "scale" not in out.out
    assert out.err == ""


@pytest.mark.parametrize(
    "arg", ["--number=x", "--no_such_flag=1", "--method=pca", "stray", "--number"]
)
def test_bad_flags_are_usage_errors(call, arg):
    status, out = call(arg, work=raiser(AssertionError("worked")))
    assert status == 2
    assert out.err.startswith("mm_thing: ")
    assert out.err.count("\n") == 1


def test_a_missing_outdir_is_a_usage_error(capsys):
    assert cli.run(DOC, OPTIONS, raiser(AssertionError), ["mm_thing"]) == 2
    assert "--outdir is missing" in capsys.readouterr().err


def test_an_unwritable_outdir_is_a_data_error_before_work(call, tmp_path):
    (tmp_path / "file").write_text("")
    status, out = call(f"--outdir={tmp_path / 'file'}", work=raiser(AssertionError("worked")))
    assert status == 1
    assert "cannot write to outdir" in out.err


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (DataError("bad\nfile"), 1),
        (UsageError("bad rank"), 2),
        (KeyboardInterrupt(), 130),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes\nmore"), 1),
    ],
)
def test_failures_are_one_line_and_a_status(call, error, status):
    got, out = call(work=raiser(error))
    assert got == status
    assert out.err.count("\n") == 1
    assert out.err.startswith("mm_thing: ")


def test_a_bug_is_not_hidden(call):
    with pytest.raises(RuntimeError, match="a bug"):
        call(work=raiser(RuntimeError("a bug")))


def test_values_out_of_range_are_usage_errors(call):
    status, out = call("--number=0", work=lambda call: call.read(Thing))
    assert status == 2
    assert "number must be at least 1, got 0" in out.err


def test_a_dry_run_prints_the_plan_and_writes_nothing(call, tmp_path):
    status, out = call("--dry_run", work=lambda call: call.open_run(["a.png"], more=1))
    assert status == 0
    plan = json.loads(out.out)
    assert plan["command"] == "mm_thing"
    assert plan["settings"] == {"number": 1, "method": "rpca", "file": [], "more": 1}
    assert plan["outputs"] == ["a.png"]
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_prints_paths_as_they_are(call):
    out = call("--dry_run", "--file=Käse/写真.png", work=lambda call: call.open_run(["a.png"]))[1]
    assert '"Käse/写真.png"' in out.out


def test_compiled_programs_are_kept_where_asked(call, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(compile_cache, "keep_programs", asked.append)
    assert call(f"--compile_cache={tmp_path / 'cache'}")[0] == 0
    assert asked == [str(tmp_path / "cache")]
    assert call("--compile_cache=")[0] == 2
    assert call("--dry_run", "--compile_cache=auto")[0] == 0
    assert len(asked) == 1


def test_the_last_line_tells_how_long_it_took(call):
    assert re.fullmatch(r"\d+\.\d s, of which compiling \d+\.\d s\n", call()[1].err)
    assert call("--dry_run")[1].err == ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class More(Options):
    """How it is done. Not the heading."""

    quick: bool = option(False, "A switch.")
    where: str = option("", "A path.")


def more(call, *args):
    return cli.run(DOC, (Thing, More, cli.OutputOptions), call, ["mm_thing", *args])


@pytest.mark.parametrize(("text", "value"), [("yes", True), ("off", False), ("No", False)])
def test_yes_and_no_are_understood(text, value, tmp_path):
    seen = []

    def work(call):
        seen.append(call.read(More).quick)

    assert more(work, f"--outdir={tmp_path / 'out'}", "--compile_cache=off", f"--quick={text}") == 0
    assert seen == [value]


def test_numbers_are_read_as_people_write_them(call):
    seen = []
    assert call("--number=1e3", work=lambda call: seen.append(call.read(Thing).number))[0] == 0
    assert seen == [1000]
    for text in ("1.5", "many", "1e400"):
        status, out = call(f"--number={text}")
        assert status == 2
        assert f"--number={text}: must be a whole number, e.g. 100" in out.err


def test_the_home_folder_is_found_in_paths(call, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    seen = []
    assert call("--file=~/a", "--file=b~", work=lambda c: seen.append(c.read(Thing).file))[0] == 0
    assert seen == [[f"{tmp_path}/a", "b~"]]


def test_help_groups_flags_and_shows_defaults(capsys):
    assert more(raiser(AssertionError("worked")), "--help") == 0
    out = capsys.readouterr().out
    assert "How it is done:\n  --quick [no]" in out
    assert "repeat this option" not in out


@dataclasses.dataclass(frozen=True, kw_only=True)
class Other(Options):
    """How another thing is done."""

    number: int = option(5, "A number.", minimum=1)
    method: str = option("svd", "A choice.", choices=("rpca", "svd"))


def test_options_that_share_a_flag_keep_their_own_defaults(tmp_path, capsys):
    def numbers(*args):
        seen = []

        def work(call):
            seen.append(call.read(Other))
            call.open_run(["a.png"])

        out = tmp_path / f"out{len(args)}"
        argv = ["mm_thing", f"--outdir={out}", "--compile_cache=off", *args]
        assert cli.run(DOC, (Thing, Other, cli.OutputOptions), work, argv) == 0
        return seen[0], json.loads((out / "config.json").read_text())["settings"]

    found, kept = numbers()
    assert found == Other() and (kept["number"], kept["method"]) == (5, "svd")
    found, kept = numbers("--number=1")  # the default of the other
    assert (found.number, kept["number"]) == (1, 1)

    # Each has its own in any order, and fields that are given leave the settings alone.
    def all_of_them(call):
        for kind in (Thing, Other, Thing):
            assert call.read(kind).number == kind().number
        call.read(Other, number=7)
        assert call._values["number"].value == 1
        call.adopt("number", 9)
        assert call.read(Other).number == call.read(Thing).number == 9

    argv = ["mm_thing", f"--outdir={tmp_path / 'all'}", "--compile_cache=off"]
    assert cli.run(DOC, (Thing, Other, cli.OutputOptions), all_of_them, argv) == 0
    capsys.readouterr()
    assert cli.run(DOC, (Thing, Other, cli.OutputOptions), raiser(None), ["x", "--help"]) == 0
    out = capsys.readouterr().out
    assert out.index("--number [1]") < out.index("How another thing is done:")
    assert out.index("How another thing is done:") < out.index("--number [5]")


def test_the_version_is_told(capsys):
    assert more(raiser(AssertionError("worked")), "--version") == 0
    assert re.match(r"mm_thing \d+\.\d+", capsys.readouterr().out)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Given(Options):
    image: list[str] = option([], "Images.")
    latents: str = option("", "Latents.")
    subspace: list[str] = option([], "Subspaces.", names=lambda: ("smile", "anger"))
    motion: str = option("", "A motion.", choices=("", "smile", "age"))
    trunc: float = option(0.7, "Truncation.")


def refused(capsys, *words):
    argv = ["mm_thing", "--outdir=out", *words]
    assert cli.run(DOC, (Given, cli.OutputOptions), raiser(AssertionError("worked")), argv) == 2
    return capsys.readouterr().err


def test_a_stray_word_is_told_which_flag_it_belongs_to(capsys, tmp_path):
    photo, latents = tmp_path / "b.jpg", tmp_path / "a.npz"
    photo.write_bytes(b"\xff\xd8\xff\xe0")
    np.savez(latents, ws=np.zeros((1, 2, 3)))
    assert "mean --subspace=anger?" in refused(capsys, "anger")
    assert "mean --motion=age?" in refused(capsys, "age")
    told = refused(capsys, "--image", "a.jpg", str(photo))
    assert "a JPEG image" in told and "quote a pattern: --image='*.jpg'" in told
    told = refused(capsys, str(latents))
    assert f"--latents={latents}?" in told and "several" not in told


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("truncation_psi=0.5", "--trunc"), ("truncation-psi=0.5", "--trunc"),
        ("dry-run", "--dry_run"), ("Outdir=x", "--outdir"), ("direction=a.npz", "--subspace"),
        ("input=a.png", "--image"), ("output_dir=x", "--outdir"),
    ],
)  # fmt: skip
def test_flags_of_other_projects_are_told_ours(capsys, theirs, ours):
    assert f"here it is {ours} (see" in refused(capsys, f"--{theirs}")
    # Of a program that does not have ours it knows no more than absl.
    assert "here it is" not in refused(capsys, "--num_steps=3")


def test_every_flag_that_is_named_in_place_of_another_exists():
    programs = completion.installed_programs().values()
    known = {flag for kinds in programs for kind in kinds for flag, _ in flag_specs(kind)}
    assert {*cli._ELSEWHERE, *cli._TAKES} <= known
    # Whoever types one of our own flags is not sent to another.
    for flag, theirs in cli._ELSEWHERE.items():
        assert flag not in theirs.split()


def test_a_value_with_spaces_and_no_quotes_is_explained(call):
    status, out = call("--file=a", "person", "smiling")
    assert status == 2
    assert "'person'" in out.err and "needs quotes" in out.err


def test_a_reader_that_has_seen_enough_is_no_failure():
    code = "from mm_jax import cli; cli._print('x' * 200_000); raise SystemExit(0)"
    piped = f'{shlex.quote(sys.executable)} -c "{code}" | head -c 1; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", piped], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "x", "")


def test_a_run_that_failed_at_once_leaves_nothing(call, tmp_path):
    def fail(call):
        call.open_run(["a.png"])
        raise DataError("no face")

    assert call(work=fail)[0] == 1
    assert not (tmp_path / "out").exists()


def test_a_run_that_failed_later_keeps_what_it_has(call, tmp_path):
    def fail(call):
        run = call.open_run(["a.png", "b.png"])
        run.file("a.png").write_text("done")
        raise DataError("no face")

    assert call(work=fail)[0] == 1
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a.png", "config.json"}


def test_a_dry_run_refuses_what_the_run_would_refuse(call, tmp_path):
    def work(call):
        if run := call.open_run(["a.png"]):
            run.file("a.png").write_text("done")

    assert call(work=work)[0] == 0
    status, out = call("--dry_run", "--number=2", work=work)
    assert status == 2
    assert "holds a run with number=1, not 2" in out.err
    assert "would write 0 files" in call("--dry_run", work=work)[1].err


def test_flags_that_would_be_ignored_are_refused(call):
    def work(call):
        call.refuse_beside("file", "number", why="the file says it")

    assert call("--file=a", work=work)[0] == 0
    status, out = call("--file=a", "--number=2", work=work)
    assert status == 2
    assert "--number does nothing beside --file: the file says it" in out.err


def test_a_dry_run_says_how_long_it_will_take(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(compile_cache, "keep_programs", lambda where: None)
    monkeypatch.setattr(compile_cache.Spent, "working", 20.0)

    def work(call):
        if run := call.open_run([f"{i}.png" for i in range(call.read(Thing).number)]):
            for name in run.outputs:
                run.file(name).write_text("done")

    def told(*args):
        argv = ["mm_thing", *args]
        assert cli.run(DOC, OPTIONS, work, argv) == 0
        return capsys.readouterr().err

    assert "about" not in told(f"--outdir={tmp_path / 'a'}", "--dry_run", "--number=2")
    told(f"--outdir={tmp_path / 'a'}", "--number=2")
    assert "would write 2 files to" in told(f"--outdir={tmp_path / 'b'}", "--dry_run", "--number=2")
    assert "in about 20 s" in told(f"--outdir={tmp_path / 'b'}", "--dry_run", "--number=2")
    # Other numbers among the settings, other times.
    assert "about" not in told(f"--outdir={tmp_path / 'c'}", "--dry_run", "--number=3")
