#!/usr/bin/env bash
#SBATCH --job-name=evs-batch
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --gpus-per-node=8
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@300
#SBATCH --requeue
#SBATCH --no-kill
#SBATCH --open-mode=append
# A run on the nodes of a Slurm job. From an environment that every node sees (`source .venv/bin/activate`):
#
#   sbatch [options] cluster/slurm.sh MANIFEST --recipe enhance --output URI [options of `evs-batch run`]
#
# 300 s before its time is over the run commits what is finished, the job goes back into the queue, and resumes.
# `scancel --signal=TERM --batch JOB` does the same at any time. Options of sbatch given by hand win over those above.
set -euo pipefail
head=$(hostname)
port=$((20000 + SLURM_JOB_ID % 10000))
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN EVS_HEAD="$head" EVS_PORT="$port"
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')

requeue() { scontrol requeue "$SLURM_JOB_ID"; exit 143; }
trap requeue TERM # until the run has begun
listens() { (exec 3<> "/dev/tcp/$EVS_HEAD/$EVS_PORT") 2> /dev/null; }
export -f listens
# shellcheck disable=SC2016  # each node fills it in
srun --no-kill --kill-on-bad-exit=0 --cpu-bind=none bash -c '
  if ((SLURM_NODEID == 0)); then
    exec ray start --head --port="$EVS_PORT" --include-dashboard=false --disable-usage-stats --block
  fi
  until listens; do sleep 1; done
  exec ray start --address="$EVS_HEAD:$EVS_PORT" --disable-usage-stats --block' &
cluster=$!
until listens; do kill -0 "$cluster"; sleep 1; done

evs-batch run "$@" --plain --address "$head:$port" &
run=$!
trap 'kill -TERM "$run" || true' TERM
status=0
wait "$run" || status=$?
if ((status == 143)); then # the trap ended that wait: the run is still committing
  status=0
  wait "$run" || status=$?
fi
kill "$cluster" || true # it is gone if its last node failed
if ((status == 143)); then requeue; fi
exit "$status"
