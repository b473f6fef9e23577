"""Output folders: resumed by the same settings, refused to others, checked before any work."""

import json
import os

import pytest

from mm_jax import runs
from mm_jax.errors import DataError, UsageError


def open_run(path, *, settings=None, outputs=("a.txt", "b.txt"), command="mm_x", overwrite=False):
    settings = {"seeds": "0-3", "trunc": 0.7} if settings is None else settings
    return runs.RunFolder.open(
        path, command=command, settings=settings, outputs=outputs, overwrite=overwrite
    )


def test_config_holds_settings_versions_and_devices(tmp_path):
    run = open_run(tmp_path / "new" / "deep", settings={"seeds": (1, 2), "sub": {"x": (3,)}})
    config = json.loads(run.file("config.json").read_text())
    assert config["command"] == "mm_x"
    assert config["settings"] == {"seeds": [1, 2], "sub": {"x": [3]}}
    assert config["outputs"] == ["a.txt", "b.txt"]
    assert {"mm_jax", "python", "jax", "flax"} <= set(config["versions"])
    assert config["devices"][0].startswith("cpu:0")


def test_the_same_settings_resume(tmp_path):
    run = open_run(tmp_path)
    assert run.missing() == ["a.txt", "b.txt"]
    run.file("a.txt").write_text("done")
    before = run.file("config.json").stat().st_mtime_ns
    again = open_run(tmp_path)
    assert again.missing() == ["b.txt"]
    assert again.file("config.json").stat().st_mtime_ns == before


def test_other_settings_are_refused_and_named(tmp_path):
    open_run(tmp_path)
    with pytest.raises(UsageError, match=r"seeds='0-3', not '4'.*--overwrite"):
        open_run(tmp_path, settings={"seeds": "4", "trunc": 0.7})
    with pytest.raises(UsageError, match="mm_x, not mm_y"):
        open_run(tmp_path, command="mm_y")


def test_overwrite_deletes_what_the_earlier_run_promised_and_nothing_else(tmp_path):
    run = open_run(tmp_path, outputs=("a.txt", "old.txt"))
    for name in ("a.txt", "old.txt", "mine.txt"):
        run.file(name).write_text(name)
    new = open_run(tmp_path, settings={"seeds": "9"}, outputs=("a.txt",), overwrite=True)
    assert new.missing() == ["a.txt"]
    assert not (tmp_path / "old.txt").exists()
    assert (tmp_path / "mine.txt").exists()


def test_overwrite_never_leaves_the_folder(tmp_path):
    outside = tmp_path / "outside.txt"
    outside.write_text("keep")
    folder = tmp_path / "run"
    open_run(folder)
    config = json.loads((folder / "config.json").read_text())
    config["outputs"] = ["../outside.txt", str(outside)]
    (folder / "config.json").write_text(json.dumps(config))
    open_run(folder, settings={}, overwrite=True)
    assert outside.read_text() == "keep"


def test_files_of_others_are_not_taken_for_results(tmp_path):
    (tmp_path / "a.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"a\.txt but no config\.json"):
        open_run(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '{"command": 3}'])
def test_a_foreign_config_is_refused(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(DataError, match=r"config\.json"):
        open_run(tmp_path)


def test_an_unwritable_outdir_is_found_before_anything_is_made(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    for outdir in (file, file / "below", "/proc/nowhere/out"):
        with pytest.raises(DataError, match="cannot write to outdir"):
            runs.check_writable(outdir)
    runs.check_writable(tmp_path / "not" / "yet" / "there")
    assert os.listdir(tmp_path) == ["file"]
