#!/usr/bin/env bash
# Slurm, several nodes in one job: for clusters that give out whole nodes, or allow few jobs.
#
#   OUTDIR=/shared/runs/many sbatch cluster/slurm_hosts.sh      # --nodes=8 for more of them
#   scontrol update JobId=ID Requeue=0 && scancel ID            # ends it for good
#
# One task for each GPU, not for each node: under Slurm, JAX gives a process that meets others the one
# GPU of its number on the node (SLURM_LOCALID), and would leave the rest of a node idle. For the same
# reason every task must see all GPUs of its node: --gres, and no --gpus-per-task, which hides the
# others. Tasks meet once, then go their own ways. SIGTERM goes to them directly; the job is put back
# into the queue when they have finished their batches.
#
# Change: nodes and GPUs, the resources, 120 to more than a batch takes; OUTDIR, a folder that all
# nodes share; what mm_batch does.
#SBATCH --job-name=mm_batch
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --gres=gpu:8
#SBATCH --cpus-per-task=12
#SBATCH --mem=0
#SBATCH --time=04:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=mm_batch_%j.log
set -euo pipefail

OUTDIR=${OUTDIR:-/shared/runs/many}

# A task that fails or has done its share leaves the others alone: no --kill-on-bad-exit, no --wait.
status=0
srun --gpu-bind=none --cpus-per-task="$SLURM_CPUS_PER_TASK" --kill-on-bad-exit=0 --wait=0 \
  mm_batch --kind=sample --seeds=0-999999 --outdir="$OUTDIR" --distributed \
  --compile_cache="$OUTDIR/compiled" --writers=10 || status=$?
if [[ $status == 143 ]]; then
  exec scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
