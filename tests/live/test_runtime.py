"""ONNX Runtime for browsers: from npm, from a file, from a folder."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile

import pytest

from mm_jax.errors import DataError, UsageError
from mm_jax.live import runtime
from tests.live.fake_npm import make_npm

FILES = [name for both in runtime.RUNTIMES.values() for name in both]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of the right name and files, whose checksum is the expected one."""
    path = tmp_path / "onnxruntime-web.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for name in FILES:
            entry = tarfile.TarInfo(f"package/dist/{name}")
            entry.size = len(name)
            archive.addfile(entry, io.BytesIO(name.encode()))
    monkeypatch.setattr(runtime, "_SHA512", hashlib.sha512(path.read_bytes()).hexdigest())
    return path


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/mm_jax"


def check(folder):
    for module, program in runtime.RUNTIMES.values():
        assert (folder / module).read_text() == module
        assert gzip.decompress((folder / f"{program}.gz").read_bytes()).decode() == program


@pytest.mark.parametrize("by", ["npm", "file", "folder"])
def test_it_is_made_once(by, package, cache, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    source = ""
    if by == "npm":
        monkeypatch.setenv("PATH", make_npm(tmp_path / "bin", f"/bin/cp {package} fetched.tgz"))
    elif by == "file":
        source = str(package)
    else:
        (tmp_path / "module/dist").mkdir(parents=True)
        told = {"name": runtime.PACKAGE, "version": runtime.VERSION}
        (tmp_path / "module/package.json").write_text(json.dumps(told))
        for name in FILES:
            (tmp_path / "module/dist" / name).write_text(name)
        source = str(tmp_path / "module")
    runtime.check_runtime(source)
    assert not cache.exists()
    folder = runtime.open_runtime(source)
    assert folder == cache / f"{runtime.PACKAGE}-{runtime.VERSION}"
    check(folder)
    monkeypatch.setenv("PATH", str(tmp_path))
    runtime.check_runtime()
    assert runtime.open_runtime() == folder


@pytest.mark.parametrize("script", [None, "echo offline >&2; exit 1"])
def test_without_it_the_message_says_what_to_do(script, cache, tmp_path, monkeypatch):
    path = str(tmp_path) if script is None else make_npm(tmp_path / "bin", script)
    monkeypatch.setenv("PATH", path)
    said = r"npm is not installed" if script is None else r"npm could not fetch .* \(offline\)"
    how = rf"{said}\. --live needs .*`npm pack onnxruntime-web@.*--live_runtime=onnx.*\.tgz"
    with pytest.raises(UsageError, match=how):
        runtime.open_runtime()
    if script is None:
        with pytest.raises(UsageError, match=how):
            runtime.check_runtime()
    assert not cache.exists()


def test_another_package_is_refused(package, cache, tmp_path):
    other = tmp_path / "other.tgz"
    other.write_bytes(package.read_bytes() + b"x")
    with pytest.raises(DataError, match=r"other\.tgz is not onnxruntime-web 1\.\d+\.\d+ as npm"):
        runtime.open_runtime(str(other))
    (tmp_path / "package.json").write_text(json.dumps({"name": "left-pad", "version": "1.0.0"}))
    with pytest.raises(
        DataError, match=r"is not onnxruntime-web .*, but \['left-pad', '1\.0\.0'\]"
    ):
        runtime.open_runtime(str(tmp_path))
    told = {"name": runtime.PACKAGE, "version": runtime.VERSION}
    (tmp_path / "package.json").write_text(json.dumps(told))
    with pytest.raises(DataError, match="is incomplete"):
        runtime.open_runtime(str(tmp_path))
    for function in (runtime.open_runtime, runtime.check_runtime):
        with pytest.raises(UsageError, match=r"there is no nowhere\.tgz"):
            function("nowhere.tgz")
    assert not list(cache.glob("*/*"))
