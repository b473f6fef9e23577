"""Every command in README and docs names a program that exists, with flags and values it takes."""

from __future__ import annotations

import dataclasses
import re
import shlex

import numpy as np
import pytest
from absl import flags

from docs import pages
from mm_jax import __main__ as doctor
from mm_jax import cli, completion
from mm_jax.errors import UsageError
from mm_jax.options import flag_specs
from tests.docs.markdown import ROOT, commands

# Words that stand for the rest of a command.
ELISIONS = {"..", "...", "…"}
FOUND = [(piece, line) for piece, line in commands() if line.startswith("mm_")]


def words_of(line: str) -> list[str]:
    return shlex.split(line, comments=True)


def check(line: str) -> None:
    """See that a program takes a command, value by value; of a fragment, that it has the flags."""
    name, *words = words_of(line)
    module = pages.program(name)
    call = cli.Call(name, module.OPTIONS)
    known = {flag for kind in module.OPTIONS for flag, _ in flag_specs(kind)}
    if ELISIONS & set(words) or not any(word.startswith("--outdir=") for word in words):
        for flag in words:
            if flag not in ELISIONS:
                assert flag.startswith("--"), flag
                assert {flag[2:].split("=")[0], flag[4:].split("=")[0]} & known, flag
        return
    call.parse([name, *words])
    defaults: dict[str, object] = {}
    for kind in module.OPTIONS:
        own = {flag: spec.default for flag, spec in flag_specs(kind)}
        # Where classes share a flag and not its default, the program sorts out what is meant.
        if all(defaults.get(flag, default) == default for flag, default in own.items()):
            call.read(kind)
        defaults = {**own, **defaults}


@pytest.mark.parametrize(("piece", "line"), FOUND, ids=[f"{p}-{c[:30]}" for p, c in FOUND])
def test_programs_and_flags_exist(piece, line):
    check(line)


def test_commands_were_found():
    assert len(RUNNABLE) > 15
    shown = {line.split()[0] for _, line in FOUND}
    assert shown == {*pages.program_names()}
    assert len({piece.file for piece, _ in FOUND}) > 8


@pytest.mark.parametrize(
    "line",
    [
        "mm_sample --seed=1",
        "mm_sample 1",
        "mm_sample --seed=1 --outdir=a",
        "mm_edit --frames=many --outdir=a",
        "mm_extract --motion=smile --rank=0 --outdir=a",
    ],
)
def test_mistakes_would_be_found(line):
    with pytest.raises((AssertionError, UsageError, flags.Error)):
        check(line)


def test_targets_of_make_exist():
    text = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", text, re.MULTILINE))
    for piece, line in commands():
        if line.startswith("make "):
            assert words_of(line)[1] in targets, piece


def test_modules_that_are_run_exist():
    for piece, line in commands():
        if line.startswith("python -m "):
            module, *words = words_of(line)[2:]
            if module.split(".")[0] not in ("mm_jax", "benchmarks"):
                continue
            path = ROOT / module.replace(".", "/")
            assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), piece
            if module == "mm_jax" and words[:1] == ["completion"]:
                assert words[1] in completion.SHELLS, piece
            elif module == "mm_jax":
                cli.Call(module, doctor.OPTIONS).parse([module, *words])


# With what is bundled, every command can be checked up to the work itself. These cannot:
NOT_BUNDLED = re.compile(
    r"models/|--source=(?!people\b)|openai/|--engine=ray|--outputs=|mm_train_people"
    r"|--live|--coordinator|--distributed|--status|<|YOUR|NAME\b|\.\.\.|…|--manifest"
)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with the files that the commands of the docs name."""
    import mm_jax
    from mm_jax import media, zoo

    folder = tmp_path_factory.mktemp("workplace")
    gen = mm_jax.load_generator("people")
    ws = np.asarray(mm_jax.sample_latents(gen, seeds=range(3), truncation_psi=0.7))
    anchors = mm_jax.Anchors(ws=ws, start=ws[0], degrees=np.linspace(0, 1, 3))
    subspace = mm_jax.extract_subspace(anchors, method="svd")
    curve = mm_jax.load_subspace(zoo.ASSETS / "people-motions" / "smile.npz").meta["calibration"]
    subspace = dataclasses.replace(subspace, meta={**subspace.meta, "calibration": curve})
    face = np.asarray(mm_jax.synthesize(gen, ws[:1]))[0]
    for _, line in FOUND:
        for name in re.findall(r"--(?:subspace|latents|anchors|image|video)=(\S+)", line):
            path = folder / name.strip("'\"").replace("*", "a")
            if path.suffix == ".npz":
                path.parent.mkdir(parents=True, exist_ok=True)
                save = mm_jax.save_latents if "latents" in path.name else mm_jax.save_subspace
                if "anchors" in path.name:
                    mm_jax.save_anchors(path, anchors)
                elif save is mm_jax.save_latents:
                    save(path, mm_jax.Latents(ws, ("a", "b", "c")))
                else:
                    save(path, subspace)
            elif path.suffix in (".jpg", ".png"):
                path.parent.mkdir(parents=True, exist_ok=True)
                media.save_png(path.with_suffix(".png"), media.to_uint8(face))
                path.with_suffix(".png").rename(path)
            elif path.suffix == ".mp4" and not (ROOT / name).exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes((ROOT / "mm_jax/assets/people-videos/smile.mp4").read_bytes())
    mm_jax.save_generator(gen, folder / "runs/me/generator")
    (folder / "mm_jax").symlink_to(ROOT / "mm_jax")
    for motion in ("smile", "anger", "aging", "closing_eyes", "head_turn"):
        for run in ("demo", "mine"):
            (folder / "runs" / run / motion).mkdir(parents=True, exist_ok=True)
            mm_jax.save_subspace(folder / "runs" / run / motion / "subspace.npz", subspace)
    return folder


def is_runnable(words: list[str]) -> bool:
    complete = any(word.startswith("--outdir=") for word in words)
    return complete and not NOT_BUNDLED.search(" ".join(words))


RUNNABLE = sorted({shlex.join(words_of(line)) for _, line in FOUND if is_runnable(words_of(line))})


@pytest.mark.slow
@pytest.mark.parametrize("line", RUNNABLE)
def test_commands_pass_a_dry_run(line, workplace, monkeypatch, capsys):
    """Models open, files are read, settings agree: all that comes before the work."""
    monkeypatch.chdir(workplace)
    # A million items take a minute and a half to be listed; a hundred are checked alike.
    name, *words = shlex.split(line.replace("0-999999", "0-99"))
    # Runs of other settings may be in the folder that a command names.
    words = [word for word in words if not word.startswith("--outdir=")]
    status = pages.program(name).main([name, *words, "--outdir=runs/dry", "--dry_run"])
    assert status == 0, capsys.readouterr().err
    assert not (workplace / "runs/dry").exists()
