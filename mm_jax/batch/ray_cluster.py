"""Connect to a Ray cluster, or to one of this machine alone that lasts as long as the run.

A cluster of our own listens on the loopback interface only. Usage statistics are off.
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
from mm_jax.words import how_to_install

__all__ = ["joined"]

# Seconds within which a cluster must answer.
_PATIENCE = 30
# Bytes for objects, which are short lists here; Ray demands at least as much.
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


def _imported() -> Any:
    """Import `ray`.

    Raises:
        UsageError: it is not installed.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # By default Ray repeats a task forever if the node runs out of memory.
    os.environ.setdefault("RAY_task_oom_retries", "1")
    try:
        ray = importlib.import_module("ray")
    except ImportError:
        raise UsageError(f"--engine=ray needs Ray: {how_to_install('mm-jax[ray]')}") from None
    logging.getLogger("ray").setLevel(logging.ERROR)
    return ray


@contextlib.contextmanager
def joined(address: str, *, dry_run: bool = False) -> Iterator[Any]:
    """Yield the module `ray`, connected until the block ends.

    Args:
        address: as for `ray.init`: "auto", HOST:PORT or ray://HOST:PORT; empty for a cluster of
            this machine alone, which ends with the block.
        dry_run: connect to nothing; only see that Ray is installed.

    Raises:
        UsageError: Ray is not installed, or no cluster answers there.
    """
    if dry_run:
        yield _imported()
        return
    if not address:
        # Makes Ray use the loopback interface, as it does by default except on Linux. Ray reads the
        # variable when it is imported.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    ray = _imported()
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
    # Ray prints what it knows about lost workers to stdout, which is for the program's result; some
    # of it comes as Ray shuts down.
    with contextlib.redirect_stdout(sys.stderr):
        try:
            yield ray
        finally:
            ray.shutdown()


def _check(address: str) -> None:
    """Try to connect in a child process: Ray tries for minutes and then ends its process.

    Raises:
        UsageError: no cluster answers.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-c", _TRY, address],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=_PATIENCE,
        )
    except subprocess.TimeoutExpired:
        reason = f"no Ray cluster answers within {_PATIENCE} s"
    else:
        if not done.returncode:
            return
        reason = next(iter(done.stdout.strip().splitlines()), "no Ray cluster answers")
    raise UsageError(f"--ray_address={address}: {reason}")
