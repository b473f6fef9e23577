#!/usr/bin/env bash
# Slurm, several nodes in one job: for clusters that allocate whole nodes, or allow few jobs.
#
#   OUTDIR=/shared/runs/many sbatch cluster/slurm_hosts.sh      # --nodes=8 for more nodes
#   scontrol update JobId=ID Requeue=0 && scancel ID            # stops it for good
#
# One task for each GPU, not for each node: under Slurm, jax.distributed gives each process the one GPU
# with its number on the node (SLURM_LOCALID), and would leave the node's other GPUs idle. For the same
# reason every task must see all GPUs of its node: --gres, and no --gpus-per-task, which hides the
# others. Tasks meet once, then go their own ways. SIGTERM reaches them directly; when they have
# finished their batches, the job goes back into the queue.
#
# Change: nodes and GPUs; the resources; 120, to more seconds than a batch takes; OUTDIR, a folder that
# all nodes share; what mm_batch does.
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

# A task that fails or is done does not affect the others: no --kill-on-bad-exit, no --wait.
status=0
srun --gpu-bind=none --cpus-per-task="$SLURM_CPUS_PER_TASK" --kill-on-bad-exit=0 --wait=0 \
  mm_batch --task=sample --seeds=0-999999 --outdir="$OUTDIR" --distributed \
  --compile_cache="$OUTDIR/compiled" --writers=10 || status=$?
if [[ $status == 143 ]]; then
  exec scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
