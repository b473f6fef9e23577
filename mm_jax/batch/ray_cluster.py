"""A Ray cluster to work on: one that is there, or one of this machine alone while it works.

A cluster of our own listens on the loopback interface alone. Nothing is reported to Ray's makers.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from mm_jax.errors import UsageError, first_line

__all__ = ["imported", "joined"]

# Seconds in which a cluster has to answer.
_PATIENCE = 30
# Objects are lists of names; Ray asks for this much at least.
_OBJECTS = 80 * 2**20
_QUIET: dict[str, Any] = {"configure_logging": False, "log_to_driver": False}
_TRY = """
import logging, sys, ray
logging.disable()
try:
    ray.init(sys.argv[1], configure_logging=False, log_to_driver=False)
except Exception as error:
    sys.exit(print(error) or 1)
"""


def imported() -> Any:
    """The module `ray`.

    Raises:
        UsageError: it is not installed.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        ray = importlib.import_module("ray")
    except ImportError:
        raise UsageError("--engine=ray needs Ray: pip install 'mm-jax[ray]'") from None
    logging.getLogger("ray").setLevel(logging.ERROR)
    return ray


@contextlib.contextmanager
def joined(address: str) -> Iterator[Any]:
    """The module `ray`, connected until the block ends.

    Args:
        address: as of `ray.init`, "auto" or HOST:PORT or ray://HOST:PORT; empty for a cluster of
            this machine alone, which ends with the block.

    Raises:
        UsageError: no Ray, or no cluster there.
    """
    if not address:
        # So Ray calls it where a machine takes the loopback interface for its own address, as it
        # does by itself elsewhere than on Linux. It is read as Ray is imported.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    ray = imported()
    if address:
        _check(address)
    before = signal.getsignal(signal.SIGTERM)
    try:
        if address:
            ray.init(address, **_QUIET)
        else:
            ray.init("local", include_dashboard=False, object_store_memory=_OBJECTS, **_QUIET)
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = f"--ray_address={address}" if address else "a Ray cluster of this machine"
        raise UsageError(f"{where}: {first_line(error)}") from error
    # Ray's own handler would make the exit status 15.
    signal.signal(signal.SIGTERM, before)
    try:
        yield ray
    finally:
        ray.shutdown()


def _check(address: str) -> None:
    """Tries a cluster in a process of its own: Ray tries for minutes, and then ends the process.

    Raises:
        UsageError: there is none.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-c", _TRY, address],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=_PATIENCE,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        reason = f"no Ray cluster answers within {_PATIENCE} s"
    else:
        if not done.returncode:
            return
        reason = next(iter(done.stdout.strip().splitlines()), "no Ray cluster answers")
    raise UsageError(f"--ray_address={address}: {reason}")
