"""A real Ray cluster on this machine, whose workers, nodes and drivers are killed."""

import contextlib
import functools
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from mm_jax.batch.journal import FAILED
from tests.batch import processes
from tests.batch.processes import check_whole, records

pytestmark = pytest.mark.slow

CHECK = Path(__file__).parent / "ray_check.py"
RAY = Path(sys.executable).parent / "ray"
# A cluster of several nodes listens on the network; the token keeps others out.
ENV = {
    "JAX_PLATFORMS": "cpu",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    # Workers have low priority by default, and starve on a busy machine.
    "RAY_worker_niceness": "0",
}


@pytest.fixture
def run(tmp_path):
    """`run(*command)` starts a process; the test's end kills it."""
    (tmp_path / "watch").mkdir()
    with contextlib.ExitStack() as stack:

        def start(*command):
            process = stack.enter_context(
                subprocess.Popen(
                    command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                    env={**os.environ, **ENV, "HOME": str(tmp_path)},
                )
            )  # fmt: skip
            stack.callback(process.kill)
            return process

        yield start


@pytest.fixture
def batch(run, models, tmp_path):
    """`batch(outdir, ..)` starts an mm_batch that samples in batches of four."""

    def start(outdir, *args):
        generator, cache = models
        options = [f"--outdir={tmp_path / outdir}", f"--compile_cache={cache}", "--batch=4", *args]
        command = [sys.executable, CHECK, tmp_path / "watch", "--task=sample"]
        return run(*command, f"--generator={generator}", *options)

    return start


TWO = ("--engine=ray", "--ray_workers=2")


finish = functools.partial(processes.finish, timeout=900)


def wait_until(true, process):
    limit = time.monotonic() + 600
    while not true():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit
        time.sleep(0.01)


def workers(tmp_path):
    """Ids of all worker processes that have opened the models, in order of time."""
    found = [path for path in (tmp_path / "watch").iterdir() if path.name.isdigit()]
    return [int(path.name) for path in sorted(found, key=lambda path: path.stat().st_mtime_ns)]


def gone(pid):
    """Whether a process has ended; a zombie has."""
    told = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return not told.stdout.strip() or told.stdout.strip().startswith("Z")


def listening(driver):
    """Addresses, as in /proc, on which a process and its descendants listen."""
    told = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True)
    parents = {int(pid): int(parent) for pid, parent in map(str.split, told.stdout.splitlines())}
    family = {driver}
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    sockets = set()
    for pid in family:
        with contextlib.suppress(OSError):
            sockets |= {os.readlink(handle) for handle in Path(f"/proc/{pid}/fd").iterdir()}
    rows = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path("/proc/net", name).read_text().splitlines()[1:]
    ]
    listens = "0A"
    return {
        row[1].split(":")[0]
        for row in rows
        if row[3] == listens and f"socket:[{row[9]}]" in sockets
    }


def files(outdir):
    """The contents of each item's files, by id."""
    return {
        record["id"]: [(outdir / "items" / name).read_bytes() for name in record["files"]]
        for record in records(outdir)
    }


def test_a_worker_that_is_killed(batch, tmp_path):
    seeds = "--seeds=0-399"
    (tmp_path / "watch" / "slow").write_text("0.06")
    process = batch("ray", seeds, *TWO)
    wait_until(lambda: len(workers(tmp_path)) == 2 and len(records(tmp_path / "ray")) > 8, process)
    if sys.platform == "linux":
        loopback = {"0100007F", "0000000000000000FFFF00000100007F"}
        assert listening(process.pid) and listening(process.pid) <= loopback
    victim = workers(tmp_path)[0]
    os.kill(victim, signal.SIGKILL)
    before = len(records(tmp_path / "ray"))
    (tmp_path / "watch" / "slow").unlink()
    status, out, err = finish(process)
    assert status == 0, err
    assert before < 400 and "400 are now" in out and "set aside" not in out
    assert "Traceback" not in err
    check_whole(tmp_path / "ray", 400)
    status, out, _ = finish(batch("ray", seeds, "--status"))
    assert status == 0 and "400 done, 0 failed, 0 missing, 0 damaged; 400 files checked" in out
    status, _, err = finish(batch("here", seeds))
    assert status == 0, err
    assert files(tmp_path / "ray") == files(tmp_path / "here")


def test_items_that_kill_their_workers(batch, tmp_path):
    """The shortest test of a cluster that works; every run of CI includes it."""
    (tmp_path / "watch" / "deadly").write_text("13 31")
    status, out, err = finish(batch("out", "--seeds=0-39", *TWO))
    assert status == 0, err
    assert out.startswith("0 items were done before, 38 are now; 2 set aside in ")
    assert out.count("\n") == 1
    failed = {one["item"]["seed"]: one["reason"] for one in records(tmp_path / "out", name=FAILED)}
    assert sorted(failed) == [13, 31]
    for reason in failed.values():
        assert reason.startswith("its worker died 2 times while it had no other item, the last: ")
        assert "\n" not in reason and len(reason) < 250
    check_whole(tmp_path / "out", 38)
    # --status agrees, and --retry_failed does the items once they are harmless.
    status, out, _ = finish(batch("out", "--seeds=0-39", "--status"))
    assert status == 1 and "38 done, 2 failed, 0 missing" in out
    (tmp_path / "watch" / "deadly").unlink()
    status, out, err = finish(batch("out", "--seeds=0-39", "--retry_failed"))
    assert status == 0 and "38 items were done before, 2 are now" in out, err
    check_whole(tmp_path / "out", 40)


def test_workers_that_die_as_they_start(batch, tmp_path):
    (tmp_path / "watch" / "starting").touch()
    status, _, err = finish(batch("out", "--seeds=0-9", "--engine=ray"))
    assert status == 1
    lines = [line for line in err.splitlines() if line.startswith("mm_batch: ")]
    assert len(lines) == 1 and "3 workers died as they started" in lines[0]
    assert "Traceback" not in err


def test_engines_take_turns(batch, tmp_path):
    out, seeds = tmp_path / "out", "--seeds=0-3999"
    counts = [0]

    def end(process, number):
        wait_until(lambda: len(records(out)) > counts[-1] + 8, process)
        process.send_signal(number)
        status, _, err = finish(process)
        counts.append(len(records(out)))
        check_names = {name for record in records(out) for name in record["files"]}
        assert all((out / "items" / name).exists() for name in check_names)
        assert counts[-2] < counts[-1] < 4000
        return status, err

    (tmp_path / "watch" / "slow").write_text("0.06")  # while Ray does the items
    status, err = end(batch("out", seeds, *TWO), signal.SIGTERM)
    assert status == 143 and "stopped by SIGTERM: 0 items were done before" in err
    status, err = end(batch("out", seeds), signal.SIGTERM)
    assert status == 143 and f"{counts[1]:,} items were done before" in err
    process = batch("out", seeds, *TWO)
    status, err = end(process, signal.SIGKILL)
    left = workers(tmp_path)
    limit = time.monotonic() + 120
    while not all(map(gone, left)):
        assert time.monotonic() < limit, "workers outlive their cluster"
        time.sleep(0.1)
    status, err = end(batch("out", seeds, *TWO), signal.SIGINT)
    assert status == 130 and "stopped by SIGINT" in err
    (tmp_path / "watch" / "slow").unlink()
    status, told, err = finish(batch("out", seeds, *TWO))
    assert status == 0, err
    assert f"{counts[-1]:,} items were done before, {4000 - counts[-1]:,} are now" in told
    check_whole(out, 4000)
    status, told, _ = finish(batch("out", seeds))
    assert status == 0 and "4,000 items were done before, 0 are now" in told


@pytest.fixture
def short():
    """A folder with a name short enough for sockets in it."""
    with tempfile.TemporaryDirectory(prefix="ray") as folder:
        yield folder


def test_nodes_that_join_and_leave(run, batch, tmp_path, short):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    address = f"127.0.0.1:{port}"
    assert finish(run(RAY, "get-auth-token", "--generate"))[0] == 0
    node = [RAY, "start", "--block", "--num-cpus=1", "--num-gpus=1"]
    head = run(
        *node, "--head", f"--port={port}", f"--temp-dir={short}", "--include-dashboard=false"
    )
    wait_until(lambda: "started" in head.stdout.readline(), head)
    (tmp_path / "watch" / "slow").write_text("0.25")
    process = batch("out", "--seeds=0-1999", "--engine=ray", f"--ray_address={address}")
    out = tmp_path / "out"
    wait_until(lambda: len(records(out)) > 8, process)
    assert len(workers(tmp_path)) == 1
    joined = run(*node, f"--address={address}")
    wait_until(lambda: len(workers(tmp_path)) == 2, process)
    # Each sees the accelerator of its node.
    assert all((tmp_path / "watch" / str(pid)).read_text() == "0" for pid in workers(tmp_path))
    before = len(records(out))
    wait_until(lambda: len(records(out)) > before + 16, process)
    joined.terminate()
    finish(joined)
    wait_until(lambda: gone(workers(tmp_path)[1]), process)
    before = len(records(out))
    assert before < 2000
    (tmp_path / "watch" / "slow").unlink()
    status, _, err = finish(process)
    assert status == 0, err
    check_whole(out, 2000)
    head.terminate()
    finish(head)


@pytest.mark.parametrize("address", ["auto", "nonsense", "127.0.0.1:{port}"])
def test_no_cluster_answers(batch, tmp_path, address):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = address.format(port=free.getsockname()[1])
    began = time.monotonic()
    args = ("--seeds=0-9", "--engine=ray", f"--ray_address={address}")
    status, _, err = finish(batch("out", *args))
    assert status == 2 and f"--ray_address={address}: " in err
    assert len([line for line in err.splitlines() if line.startswith("mm_batch: ")]) == 1
    assert "Traceback" not in err and time.monotonic() - began < 60
    assert not (tmp_path / "out").exists()
