#!/bin/bash
# One store, extracted by the tasks of a SLURM array, each with a GPU of its own, without Prefect:
#
#   sbatch --export=ALL,VIDEOS=/shared/videos,STORE=/shared/features deploy/slurm/extract-array.sh
#
# Tasks share the shards of the store: each takes those that no other has claimed, and ends when all are done. Tasks may
# start late, end early or be killed: others take over. Submit it again for what is left.
#
# VIDEOS, STORE: the videos (folder or list) and the store, on a file system that all nodes have.
# REELDEX: the command (reeldex); OPTIONS: further options, such as "--weights random --log-format json".
#SBATCH --job-name=reeldex
#SBATCH --array=0-7
#SBATCH --gpus=1
#SBATCH --cpus-per-task=16
#SBATCH --mem=64G
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=reeldex-%A_%a.log
set -euo pipefail
: "${VIDEOS:?set VIDEOS to the folder or list of videos}" "${STORE:?set STORE to the folder of the store}"

# SLURM gives each task a GPU, and every task calls its own cuda:0: what reeldex keeps per machine, such as the lock of a
# device, is kept per task.
task="${SLURM_ARRAY_JOB_ID:-0}_${SLURM_ARRAY_TASK_ID:-0}"
state="$(mktemp --directory "${TMPDIR:-/tmp}/reeldex-$task-XXXXXX")"
trap 'rm -r "$state"' EXIT
export XDG_STATE_HOME="$state"

read -r -a options <<< "${OPTIONS:-}"
"${REELDEX:-reeldex}" extract "$VIDEOS" --store "$STORE" --when-busy share --no-server ${options[@]+"${options[@]}"}
