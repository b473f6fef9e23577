#!/usr/bin/env bash
# Slurm, an array: each task does its share of the items, on one GPU, whenever it gets one.
#
#   OUTDIR=/shared/runs/many sbatch cluster/slurm_array.sh      # --array=0-31 for more shares
#   scontrol update JobId=ID Requeue=0 && scancel ID            # ends it for good
#
# The first choice on Slurm: tasks need not run at the same time and know nothing of each other.
# Two minutes before its time is over, or when it is preempted, a task gets SIGTERM, finishes its
# batch and is put back into the queue. What is still missing in the end, the same array does: always
# from 0 and without gaps, since shares are counted by the array's length.
#
# Change: the resources, to what your cluster calls them; 120, to more than a batch takes; OUTDIR, a
# folder that all nodes share; what mm_batch does.
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

# In the background: bash would hear the signal only after a program in the foreground has ended.
mm_batch --kind=sample --seeds=0-999999 --outdir="$OUTDIR" \
  --shard="$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" \
  --compile_cache="$OUTDIR/compiled" --writers=14 &
child=$!
trap 'kill -TERM "$child" || true; wait "$child" || true' TERM

status=0
wait "$child" || status=$?
if [[ $status == 143 ]]; then
  exec scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"
fi
exit "$status"
