#!/usr/bin/env bash
# Cloud TPU: one slice of several hosts, which may be preempted at any time, until all items are done.
#
#   ZONE=us-west4-a SHARE=10.0.0.2:/share BUCKET=gs://mine tmux new cluster/cloud_tpu.sh
#   gcloud compute tpus tpu-vm delete mm-batch --zone=us-west4-a      # ends it for good
#
# Creates a spot slice, installs this project and runs mm_batch on every host; when the slice is
# preempted, creates another. When mm_batch succeeds, the script deletes the slice and ends. When
# mm_batch fails on a slice that still exists, the slice is kept for inspection.
#
# Hosts lose their disks with the slice. So the journals are in SHARE, an NFS export (Filestore) that
# also holds a copy of this project in /mm_jax; the items go to BUCKET.
#
# Change: the variables below, or set them in the environment; what mm_batch does. Run the script where
# it can stay for long: in tmux, on a small machine.
set -euo pipefail

NAME=${NAME:-mm-batch}
ZONE=${ZONE:?the zone of the slice, such as us-west4-a}
SHARE=${SHARE:?an NFS export, such as 10.0.0.2:/share}
BUCKET=${BUCKET:?where items go, such as gs://mine}
ACCELERATOR=${ACCELERATOR:-v5litepod-16}
RUNTIME=${RUNTIME:-v2-alpha-tpuv5-lite}
PAUSE=${PAUSE:-60}

# Runs on each host, also on one that is set up already. The images have too old a Python.
REMOTE="set -e
sudo mkdir -p /mnt/share
mountpoint -q /mnt/share || {
  sudo apt-get install -y -q nfs-common
  sudo mount -t nfs $SHARE /mnt/share
}
test -x ~/mm/bin/mm_batch || {
  python3 -m pip install -q --user uv
  python3 -m uv venv -q --clear --python 3.11 ~/mm
  python3 -m uv pip install -q --python ~/mm/bin/python gcsfs \
    -c /mnt/share/mm_jax/constraints/py311.txt '/mnt/share/mm_jax[tpu,remote]'
}
~/mm/bin/mm_batch --task=sample --seeds=0-999999 --outdir=/mnt/share/runs/many \
  --outputs=$BUCKET/many --distributed --writers=48"

tpu() { gcloud compute tpus tpu-vm "$1" "$NAME" --zone="$ZONE" "${@:2}"; }

state() { tpu describe --format='value(state)' 2>/dev/null || true; }

while true; do
  if [[ $(state) != READY ]]; then
    tpu delete --quiet 2>/dev/null || true
    until tpu create --accelerator-type="$ACCELERATOR" --version="$RUNTIME" --spot; do
      sleep "$PAUSE"
    done
  fi
  if tpu ssh --worker=all --command="$REMOTE"; then
    break
  fi
  sleep "$PAUSE" # the state of a preempted slice takes a while to change
  if [[ $(state) == READY ]]; then
    echo "$NAME was not preempted: see above what failed; the slice is kept" >&2
    exit 1
  fi
done
tpu delete --quiet
