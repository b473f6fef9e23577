#!/usr/bin/env bash
# Slurm, an array: each task does its shard of the items, on one GPU, whenever it gets one.
#
#   OUTDIR=/shared/runs/many sbatch cluster/slurm_array.sh      # --array=0-31 for more shards
#   scontrol update JobId=ID Requeue=0 && scancel ID            # stops it for good
#
# The first choice on Slurm: tasks need not run at the same time and do not depend on each other. Two
# minutes before its time limit, or when it is preempted, a task gets SIGTERM, finishes its batch and
# goes back into the queue. If items are missing in the end, submit the same array again: always from 0
# and without gaps, because its length is the number of shards.
#
# Change: the resources, to your cluster's names for them; 120, to more seconds than a batch takes;
# OUTDIR, a folder that all nodes share; what mm_batch does.
#SBATCH --job-name=mm_batch
#SBATCH --array=0-7
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=16
#SBATCH --mem=32G
#SBATCH --time=04:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=mm_batch_%A_%a.log
set -euo pipefail

OUTDIR=${OUTDIR:-/shared/runs/many}

# Set before mm_batch starts, as the signal may come at any time.
stopped='' child=''
trap 'stopped=1; if [[ $child ]]; then kill -TERM "$child" || true; wait "$child" || true; fi' TERM

# In the background, because bash handles signals only after a foreground program has ended.
mm_batch --task=sample --seeds=0-999999 --outdir="$OUTDIR" \
  --shard="$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" \
  --compile_cache="$OUTDIR/compiled" --writers=14 &
child=$!
if [[ $stopped ]]; then kill -TERM "$child" || true; fi

status=0
wait "$child" || status=$?
if [[ $status == 143 ]]; then
  exec scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"
fi
exit "$status"
