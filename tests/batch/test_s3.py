"""Outputs in an S3 bucket, on a server that runs on this machine; needs the extra test-cluster."""

import contextlib
import hashlib
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from tests.batch.processes import finish, own_line, records, wait_for

pytestmark = pytest.mark.slow

URL = "s3://faces/many"
# Must be present, but is not checked.
SIGNED = "AWS4-HMAC-SHA256 Credential=none/20260101/us-east-1/s3/aws4_request, Signature=none"


class Server:
    """Plain requests. The server accepts any key until `refuse` is called."""

    def __init__(self, port):
        self.address = f"http://127.0.0.1:{port}"
        self.env = {
            "AWS_ENDPOINT_URL": self.address,
            "AWS_ACCESS_KEY_ID": "none",
            "AWS_SECRET_ACCESS_KEY": "none",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def ask(self, method, path, data=None):
        headers = {"Content-Type": "text/plain", "Authorization": SIGNED}
        request = urllib.request.Request(f"{self.address}/{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read()

    def refuse(self, after):
        """Check keys after so many requests; none is valid."""
        self.ask("POST", "moto-api/reset-auth", str(after).encode())

    def keys(self):
        return set(re.findall(r"<Key>(.*?)</Key>", self.ask("GET", "faces").decode()))


@pytest.fixture(scope="module")
def process():
    """The server's address and port, once it answers."""
    for package in ("flask", "flask_cors", "moto", "s3fs"):
        pytest.importorskip(package)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
        try:
            until = time.monotonic() + 60
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                assert server.poll() is None and time.monotonic() < until
                time.sleep(0.1)
            yield port
        finally:
            server.kill()


@pytest.fixture
def server(process):
    """An S3 without buckets."""
    server = Server(process)
    server.ask("POST", "moto-api/reset")
    return server


@pytest.fixture
def batch(start, server, tmp_path):
    """`batch(..)` starts a process that samples a hundred images into the bucket."""

    def run(*args):
        return start(tmp_path, "--seeds=0-99", f"--outputs={URL}", *args, env=server.env)

    return run


def failed(process):
    """The single line of a run that must fail."""
    status, out, err = finish(process)
    assert (status, out) == (1, ""), err
    return own_line(err)


def test_stopped_resumed_damaged_and_repaired(batch, server, tmp_path):
    server.ask("PUT", "faces")
    process = batch("--batch=2")
    wait_for(tmp_path, 4, process)
    process.terminate()
    assert finish(process)[0] == 143
    before = len(records(tmp_path))
    assert 4 <= before < 100 and len(server.keys()) == before
    status, out, err = finish(batch())
    assert status == 0, err
    assert out == f"{before} items were done before, {100 - before} are now: {URL}\n"

    ids = [record["id"] for record in records(tmp_path)]
    assert len(ids) == len(set(ids)) == 100
    files = {name: sha for record in records(tmp_path) for name, sha in record["files"].items()}
    assert server.keys() == {f"many/{name}" for name in files}
    for name, sha in files.items():
        assert hashlib.sha256(server.ask("GET", f"faces/many/{name}")).hexdigest() == sha
    assert not (tmp_path / "items").exists()

    damaged, deleted, *_ = files
    server.ask("PUT", f"faces/many/{damaged}", b"half")
    server.ask("DELETE", f"faces/many/{deleted}")
    status, out, err = finish(batch("--status"))
    assert status == 1
    assert out == "100 items: 98 done, 0 failed, 0 missing, 2 damaged; 100 files checked\n"
    assert damaged in err and deleted in err
    status, out, err = finish(batch("--verify"))
    assert status == 0, err
    assert "98 items were done before, 2 are now" in out
    status, out, _ = finish(batch("--status"))
    assert status == 0 and "100 done, 0 failed, 0 missing, 0 damaged" in out


def test_a_missing_bucket_is_not_created(batch, server, tmp_path):
    for _ in range(2):
        line = failed(batch())
        assert line.startswith(f"mm_batch: cannot write {URL}/")
        assert "bucket does not exist" in line and "run the same command again" in line
    with pytest.raises(urllib.error.HTTPError, match="404"):
        server.keys()
    assert records(tmp_path) == []
    server.ask("PUT", "faces")
    assert finish(batch())[0] == 0
    assert len(records(tmp_path)) == len(server.keys()) == 100


def test_a_key_that_is_refused_midway(batch, server, tmp_path):
    server.ask("PUT", "faces")
    server.refuse(after=20)
    line = failed(batch())
    assert "Access Key" in line and "run the same command again" in line
    assert "Forbidden" in failed(batch("--status"))
    before = records(tmp_path)
    assert 0 < len(before) <= 20
    server.refuse(after="inf")
    status, out, err = finish(batch())
    assert status == 0, err
    assert out.startswith(f"{len(before)} items were done before, {100 - len(before)} are now")
    assert records(tmp_path)[: len(before)] == before
    assert len(server.keys()) == 100


def test_nobody_answers(start, server, tmp_path):
    env = {**server.env, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
    line = failed(start(tmp_path, "--seeds=0-3", f"--outputs={URL}", env=env))
    assert "Could not connect" in line and records(tmp_path) == []
