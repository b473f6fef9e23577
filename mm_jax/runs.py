"""The output folder of one run: `config.json` and the files that it promises.

Files are written atomically (`mm_jax.io.write_atomic`), so an existing file is complete. That makes
resuming simple: a run with the same settings in the same folder does what is missing, and one with
other settings is refused, so that two runs never mix in one folder.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from etils import epy

import mm_jax
from mm_jax import io
from mm_jax.errors import DataError, UsageError

with epy.lazy_imports():
    import importlib.metadata as metadata
    import platform

    import jax
    import numpy as np

__all__ = ["RunFolder", "check_writable", "fingerprint", "settings_of", "versions"]

CONFIG = "config.json"


def check_writable(outdir: io.PathLike) -> None:
    """Check that files can be written to `outdir`, existing or not, without leaving a trace.

    Raises:
        DataError: it is a file, or it or the folder that it would be made in cannot be written to.
    """
    outdir = Path(outdir)
    try:
        nearest = next(p for p in (outdir, *outdir.absolute().parents) if p.exists())
        if not nearest.is_dir():
            raise NotADirectoryError(f"{nearest} is not a folder")
        # Asking for permission is not enough: read-only file systems and root see it differently.
        with tempfile.TemporaryDirectory(prefix=".mm-jax-", dir=nearest):
            return
    except OSError as error:
        raise DataError(f"cannot write to outdir {outdir}: {error.strerror or error}") from error


def settings_of(outdir: io.PathLike) -> dict[str, Any]:
    """The settings of the run that a folder holds.

    Raises:
        DataError: it holds none.
    """
    config = _read_config(Path(outdir) / CONFIG)
    if config is None:
        raise DataError(f"{outdir} holds no run: it has no {CONFIG}")
    return config["settings"]


def fingerprint(tree: Any) -> str:
    """sha256 over the leaves of a pytree, in order."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Versions of what a run's numbers depend on."""
    found = {"mm_jax": mm_jax.__version__, "python": platform.python_version()}
    for name in ("jax", "jaxlib", "flax", "numpy", "optax", "transformers"):
        found[name] = metadata.version(name)
    return found


def _devices() -> list[str]:
    return [f"{device.platform}:{device.id} {device.device_kind}" for device in jax.devices()]


class RunFolder:
    """An open output folder; made by `RunFolder.open`.

    Attributes:
        path: the folder.
        command: name of the binary.
        settings: all that the results depend on, as plain json values.
        outputs: names of the files that the run promises, relative to `path`.
    """

    def __init__(self, path: Path, command: str, settings: dict[str, Any], outputs: Sequence[str]):
        self.path = path
        self.command = command
        self.settings = settings
        self.outputs: tuple[str, ...] = tuple(outputs)
        self._begun = self._made = False

    @classmethod
    def open(
        cls,
        outdir: io.PathLike,
        *,
        command: str,
        settings: Mapping[str, Any],
        outputs: Sequence[str],
        perhaps: Sequence[str] = (),
        overwrite: bool = False,
        dry_run: bool = False,
    ) -> RunFolder:
        """Create the folder, or resume the run that it holds.

        Args:
            outdir: the folder.
            command: name of the binary.
            settings: all that the results depend on, as plain json values: two runs with equal
                command and settings are the same run.
            outputs: the files that the run will write, relative to `outdir`.
            perhaps: the files that it may write beside them.
            overwrite: begin anew: delete what the folder's earlier run promised.
            dry_run: check, and change nothing.

        Raises:
            UsageError: the folder holds a run of other settings, or files of the promised names
                that no run of ours has written.
            DataError: the folder cannot be written to, or its config.json is not ours.
        """
        check_writable(outdir)
        path, plain = Path(outdir), _plain(settings)
        made = not path.exists()
        config = {
            "command": command,
            "settings": plain,
            "outputs": list(outputs),
            **({"perhaps": list(perhaps)} if perhaps else {}),
        }
        earlier = _read_config(path / CONFIG)
        if earlier is None:
            taken = [name for name in (*outputs, *perhaps) if (path / name).exists()]
            if taken and not overwrite:
                raise UsageError(
                    f"{path} holds {taken[0]} but no {CONFIG}: choose another --outdir or add "
                    "--overwrite"
                )
        elif not overwrite:
            _refuse_other_run(path, earlier, config)
        run = cls(path, command, plain, outputs)
        if dry_run:
            return run
        if overwrite:
            known = [*earlier["outputs"], *earlier.get("perhaps", ())] if earlier else []
            for name in {*outputs, *perhaps, *known}:
                if _inside(name):
                    (path / name).unlink(missing_ok=True)
        if earlier is None or overwrite:
            config |= {"versions": versions(), "devices": _devices()}
            io.write_json(path / CONFIG, config)
            run._begun, run._made = True, made
        return run

    def file(self, name: str) -> Path:
        """Path of one of the run's files."""
        return self.path / name

    def withdraw(self) -> None:
        """Forget the run if this process began it and the folder holds nothing else."""
        config = self.path / CONFIG
        held = list(self.path.rglob("*"))
        if not self._begun or any(path != config and not path.is_dir() for path in held):
            return
        config.unlink(missing_ok=True)
        if self._made:
            shutil.rmtree(self.path)

    def missing(self, names: Sequence[str] | None = None) -> list[str]:
        """Those of `names` (by default all promised files) that do not exist yet."""
        return [n for n in (self.outputs if names is None else names) if not self.file(n).exists()]


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as they read back from json: tuples become lists, paths become text."""
    plain = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            value = _plain(value)
        elif isinstance(value, (tuple, list)):
            value = [os.fspath(v) if isinstance(v, os.PathLike) else v for v in value]
        elif isinstance(value, os.PathLike):
            value = os.fspath(value)
        plain[name] = value
    return plain


def _inside(name: str) -> bool:
    """Whether a name from a config.json stays within its folder; only such files are deleted."""
    return not Path(name).is_absolute() and ".." not in Path(name).parts


def _read_config(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    config = io.read_json(path)
    wanted = {"command": str, "settings": dict, "outputs": list}
    if not isinstance(config, dict) or any(
        not isinstance(config.get(name), kind) for name, kind in wanted.items()
    ):
        raise DataError(f"{path} was not written by this program: choose another --outdir")
    return config


def _refuse_other_run(path: Path, earlier: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    advice = "choose another --outdir or add --overwrite"
    if earlier["command"] != config["command"]:
        raise UsageError(
            f"{path} holds a run of {earlier['command']}, not {config['command']}: {advice}"
        )
    old, new = earlier["settings"], config["settings"]
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            raise UsageError(
                f"{path} holds a run with {name}={_short(old.get(name))}, not "
                f"{_short(new.get(name))}: {advice}"
            )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
