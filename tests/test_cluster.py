"""The templates in cluster/: mm_batch knows their flags, and they resume when it is stopped.

No cluster is at hand, so stand-ins replace the programs that a script calls.
"""

import configparser
import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from bin import mm_batch
from mm_jax import cli
from mm_jax.batch.shards import parse_shard

ROOT = Path(__file__).resolve().parents[1]
CLUSTER = ROOT / "cluster"
SCRIPTS = sorted(CLUSTER.glob("*.sh"))
JOBSETS = sorted(CLUSTER.glob("k8s_[gt]pu.yaml"))
NAMES = [path.name for path in sorted(CLUSTER.iterdir())]

# mm_batch and the flags after it; a value is quoted within a line, or ends as in a shell.
_CALL = re.compile(r"""mm_batch((?:\s+--\w+(?:=(?:"[^"\n]*"|'[^'\n]*'|[^\s"'`;&|)])*)?)+)""")


def documents(name):
    return list(yaml.safe_load_all((CLUSTER / name).read_text()))


def job_of(path):
    """The only Job of a JobSet."""
    (jobset,) = documents(path.name)
    (job,) = jobset["spec"]["replicatedJobs"]
    return job["template"]


def calls(path):
    """The arguments of every call of mm_batch in a template."""
    if path in JOBSETS:
        (container,) = job_of(path)["spec"]["template"]["spec"]["containers"]
        assert container["command"] == ["mm_batch"]
        return [container["args"]]
    text = path.read_text().replace("\\\n", " ")
    return [shlex.split(found) for found in _CALL.findall(text)]


def parsed(args):
    """A call of mm_batch with these flags."""
    call = cli.Call("mm_batch", mm_batch.OPTIONS)
    assert call._values(["mm_batch", *args])[1:] == []
    return call


def shard_of(call):
    return parse_shard(call.read(mm_batch.RunOptions).shard)


def test_calls_are_found_whole():
    text = "-- mm_batch --a --b='c d' --e=\"$F/g\" & x mm_batch --h=1) `mm_batch --i`; mm_batch"
    assert _CALL.findall(text) == [" --a --b='c d' --e=\"$F/g\"", " --h=1", " --i"]


@pytest.mark.parametrize(
    "path", [*SCRIPTS, *JOBSETS, ROOT / "docs" / "batch.md"], ids=lambda path: path.name
)
def test_every_flag_is_known(path):
    found = calls(path)
    assert found
    for args in found:
        call = parsed(args)
        if not call.is_given("task"):
            continue  # a single flag mentioned in the text
        options, sources = mm_batch.read_options(call), call.read(mm_batch.ItemOptions)
        if path.suffix != ".md":
            assert options.task == "sample" and call.is_given("outdir") and next(sources.entries())


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_sound(path):
    assert os.access(path, os.X_OK)
    subprocess.run(["bash", "-n", path], check=True)
    checker = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if checker:
        subprocess.run([checker, path], check=True)


@pytest.mark.parametrize("name", NAMES)
def test_each_says_what_it_is_and_what_to_change(name):
    head = []
    for line in (CLUSTER / name).read_text().splitlines():
        if line.startswith("#SBATCH") or not line.startswith("#"):
            break
        head.append(line)
    assert len(head) >= 4
    assert any(line.startswith("# Change: ") for line in head)
    assert any(f"cluster/{name}" in line for line in head)


@pytest.mark.parametrize("path", JOBSETS, ids=lambda path: path.name)
def test_jobs_of_kubernetes_share_all_items_and_survive_preemption(path):
    (jobset,) = documents(path.name)
    queue = next(d for d in documents("k8s_queue.yaml") if d["kind"] == "LocalQueue")
    assert jobset["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == queue["metadata"]["name"]
    spec = job_of(path)["spec"]
    assert spec["completionMode"] == "Indexed"
    (shard,) = [arg for arg in calls(path)[0] if arg.startswith("--shard=")]
    shares = {
        parse_shard(shard.removeprefix("--shard=").replace("$(JOB_COMPLETION_INDEX)", str(i)))
        for i in range(spec["completions"])
    }
    assert {share.count for share in shares} == {len(shares)}
    pod = spec["template"]["spec"]
    # Required by podFailurePolicy and backoffLimitPerIndex.
    assert pod["restartPolicy"] == "Never" and spec["backoffLimitPerIndex"] > 0
    rules = spec["podFailurePolicy"]["rules"]
    by_code = {
        code: rule["action"]
        for rule in rules
        for code in rule.get("onExitCodes", {}).get("values", [])
    }
    assert by_code == {143: "Ignore", 2: "FailIndex"}
    (container,) = pod["containers"]
    assert all(
        rule["onExitCodes"]["containerName"] == container["name"]
        for rule in rules
        if "onExitCodes" in rule
    )


@pytest.mark.parametrize("path", JOBSETS, ids=lambda path: path.name)
def test_the_queue_has_room_and_the_volume_is_its_own(path):
    queue, volume = (
        next(d for d in documents("k8s_queue.yaml") if d["kind"] == kind)
        for kind in ("ClusterQueue", "PersistentVolumeClaim")
    )
    (group,) = queue["spec"]["resourceGroups"]
    quotas = {
        one["name"]: quantity(one["nominalQuota"]) for one in group["flavors"][0]["resources"]
    }
    assert set(quotas) == set(group["coveredResources"])
    spec = job_of(path)["spec"]
    pod = spec["template"]["spec"]
    resources = pod["containers"][0]["resources"]
    for name, amount in {**resources["limits"], **resources["requests"]}.items():
        assert quantity(amount) * spec["parallelism"] <= quotas[name], name
    (mounted,) = pod["volumes"]
    assert mounted["persistentVolumeClaim"]["claimName"] == volume["metadata"]["name"]


def quantity(value):
    units = {"Gi": 2**30, "Ti": 2**40}
    text = str(value)
    return int(text[:-2]) * units[text[-2:]] if text[-2:] in units else int(text)


@pytest.mark.parametrize("path", JOBSETS, ids=lambda path: path.name)
def test_schemas_of_kubernetes(path):
    validate = pytest.importorskip("kubernetes_validate").validate
    metadata = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": path.stem}}
    validate({**metadata, **job_of(path)}, "1.34", strict=True)
    for document in documents("k8s_queue.yaml"):
        if document["apiVersion"] == "v1":
            validate(document, "1.34", strict=True)


def test_the_image_names_extras_that_there_are():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    text = (CLUSTER / "Dockerfile").read_text()
    named = ",".join(re.findall(r"EXTRAS=([\w,]+)", text)).split(",")
    assert {"tpu", "remote"} < set(named) <= set(parser["options.extras_require"])


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """`stand_in(program, text)` makes a bash program that writes its arguments to LOG."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    monkeypatch.chdir(tmp_path)

    def make(program, text):
        path = tmp_path / "bin" / program
        path.write_text(f'#!/usr/bin/env bash\necho "{program} $*" >> "$LOG"\n{text}\n')
        path.chmod(0o755)

    return make


def log():
    path = Path(os.environ["LOG"])
    return path.read_text().splitlines() if path.exists() else []


# Like mm_batch, runs until it gets SIGTERM and then exits with status 143.
_STOPPABLE = "trap 'exit 143' TERM; echo working >> \"$LOG\"; while :; do sleep 0.05; done"
_ARRAY = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "8"}
_HOSTS = {"SLURM_JOB_ID": "7", "SLURM_CPUS_PER_TASK": "12"}
_SRUN = 'while [[ $1 == --* ]]; do shift; done; exec "$@"'


@pytest.mark.parametrize(
    ("script", "env", "job"),
    [("slurm_array.sh", _ARRAY, "7_3"), ("slurm_hosts.sh", _HOSTS, "7")],
)
@pytest.mark.parametrize("status", [0, 1, 2, 143])
def test_slurm_requeues_after_143_only(stand_in, script, env, job, status):
    stand_in("srun", _SRUN)
    stand_in("scontrol", "")
    stand_in("mm_batch", f"exit {status}")
    done = subprocess.run(["bash", CLUSTER / script], env={**os.environ, **env}, timeout=60)
    asked = [line for line in log() if line.startswith("scontrol")]
    if status == 143:
        assert asked == [f"scontrol requeue {job}"] and done.returncode == 0
    else:
        assert asked == [] and done.returncode == status
    (call,) = [line for line in log() if line.startswith("mm_batch")]
    if script == "slurm_array.sh":
        assert shard_of(parsed(shlex.split(call)[1:])).index == 3


def test_an_array_passes_sigterm_on(stand_in):
    stand_in("scontrol", "")
    stand_in("mm_batch", _STOPPABLE)
    # Slurm signals only the script, as B: in its header requests.
    process = subprocess.Popen(
        ["bash", CLUSTER / "slurm_array.sh"], env={**os.environ, **_ARRAY}, start_new_session=True
    )
    try:
        until = time.monotonic() + 30
        while "working" not in log():
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert log()[-1] == "scontrol requeue 7_3"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


# The state of a slice is a file; each `ssh` runs the next line of the file `steps`.
_GCLOUD = """
case $4 in
  describe) cat state ;;
  create) echo READY > state ;;
  delete) rm -f state ;;
  ssh)
    for word in "$@"; do [[ $word == --command=* ]] && echo "${word#--command=}" > command; done
    step=$(head -n 1 steps); sed -i 1d steps; eval "$step" ;;
esac
"""


def cloud(stand_in, *steps):
    stand_in("gcloud", _GCLOUD)
    Path("steps").write_text("".join(f"{step}\n" for step in steps))
    given = {"ZONE": "here-a", "SHARE": "10.0.0.2:/share", "BUCKET": "gs://mine", "PAUSE": "0"}
    done = subprocess.run(
        ["bash", CLUSTER / "cloud_tpu.sh"],
        env={**os.environ, **given}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    words = [line.split()[4] for line in log() if line.startswith("gcloud")]
    return done, [word for word in words if word != "describe"]


def test_a_preempted_slice_is_created_again(stand_in):
    done, words = cloud(stand_in, "echo PREEMPTED > state; exit 1", "rm state; exit 1", "exit 0")
    assert done.returncode == 0, done.stderr
    once = ["delete", "create", "ssh"]
    assert words == [*once, *once, *once, "delete"]
    subprocess.run(["bash", "-n", "command"], check=True)
    (found,) = _CALL.findall(Path("command").read_text().replace("\\\n", " "))
    call = parsed(shlex.split(found))
    assert call.read(mm_batch.RunOptions).distributed
    assert mm_batch.read_options(call).outputs == "gs://mine/many"


def test_a_slice_on_which_mm_batch_fails_is_kept(stand_in):
    done, words = cloud(stand_in, "exit 1")
    assert done.returncode == 1 and "not preempted" in done.stderr
    assert words == ["delete", "create", "ssh"]


def test_the_page_names_every_template():
    page = (ROOT / "docs" / "cluster.md").read_text()
    assert [name for name in NAMES if f"`{name}`" not in page] == []
