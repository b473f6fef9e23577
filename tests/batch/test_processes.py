"""Real processes that are killed, are told to stop, run out of space, or share the work."""

import random
import signal
import socket
import subprocess
import time

import pytest

from tests.batch.processes import check_whole, finish, own_line, records, wait_for

pytestmark = pytest.mark.slow


def test_killed_at_ten_random_moments(start, tmp_path):
    count, chance = 2000, random.Random(0)
    kills = 0
    while kills < 10:
        process = start(tmp_path, f"--seeds=0-{count - 1}")
        wait_for(tmp_path, len(records(tmp_path)) + chance.randint(1, 120), process)
        time.sleep(chance.uniform(0, 0.02))
        assert process.poll() is None, "it was done before it was killed"
        process.kill()
        finish(process)
        kills += 1
        ids = [record["id"] for record in records(tmp_path)]
        assert len(ids) == len(set(ids)) < count
    status, out, err = finish(start(tmp_path, f"--seeds=0-{count - 1}"))
    assert status == 0, err
    assert f"{len(ids)} items were done before, {count - len(ids)} are now" in out
    check_whole(tmp_path, count)
    status, out, _ = finish(start(tmp_path, f"--seeds=0-{count - 1}", "--status"))
    assert status == 0 and f"{count} done, 0 failed, 0 missing, 0 damaged" in out


def test_sigterm_and_a_second_process(start, tmp_path):
    process = start(tmp_path, "--seeds=0-3999")
    wait_for(tmp_path, 8, process)
    status, _, err = finish(start(tmp_path, "--seeds=0-3999"))
    assert status == 2 and f"process {process.pid} on" in own_line(err)
    process.send_signal(signal.SIGTERM)
    status, _, err = finish(process)
    assert status == 143, err
    assert "stopped by SIGTERM" in err and "run the same command again" in err
    assert 8 <= len(records(tmp_path)) < 4000
    check_whole(tmp_path, len(records(tmp_path)))


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MiB, and a function that enlarges it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, text=True
    )
    if made.returncode:
        pytest.skip(f"no file system can be mounted here: {made.stderr.strip()}")
    try:
        yield (
            folder,
            lambda: subprocess.run(["mount", "-o", "remount,size=64m", folder], check=True),
        )
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_full_disk(start, small_disk):
    folder, enlarge = small_disk
    status, _, err = finish(start(folder / "out", "--seeds=0-999"))
    assert status == 1, err
    line = own_line(err)
    assert "No space left on device" in line and "run the same command again" in line
    before = len(records(folder / "out"))
    assert 0 < before < 1000
    check_names = {name for record in records(folder / "out") for name in record["files"]}
    assert all((folder / "out" / "items" / name).stat().st_size for name in check_names)
    enlarge()
    status, _, err = finish(start(folder / "out", "--seeds=0-999"))
    assert status == 0, err
    check_whole(folder / "out", 1000)


def test_two_hosts_of_two_devices(start, tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    processes = [
        start(
            tmp_path,
            "--seeds=0-98", "--distributed", f"--coordinator=localhost:{port}", "--processes=2",
            f"--process={index}",
            env={"XLA_FLAGS": "--xla_force_host_platform_device_count=2"},
        )
        for index in range(2)
    ]  # fmt: skip
    ended = [finish(process) for process in processes]
    assert [status for status, _, _ in ended] == [0, 0], ended
    # Only the first shows progress.
    assert "items: " in ended[0][2] and "items: " not in ended[1][2]
    parts = [records(tmp_path, f"{index}-of-2") for index in range(2)]
    assert min(map(len, parts)) > 20
    ids = [record["id"] for part in parts for record in part]
    assert len(ids) == len(set(ids)) == 99
    status, out, _ = finish(start(tmp_path, "--seeds=0-98", "--status"))
    assert status == 0 and "99 done" in out
