#!/usr/bin/env bash
# Submit a run to a Ray cluster and follow its log.
#
#   cluster/submit.sh http://HEAD:8265 MANIFEST --recipe demo --output URI [options of `evs-batch run`]
#
# Manifest and output are URIs or absolute paths that every node can reach: a shared folder, or a bucket.
# The token of the cluster (cluster/start.sh) is read from ~/.ray/auth_token or RAY_AUTH_TOKEN; a cluster that asks for
# none needs RAY_AUTH_MODE=disabled. The same command again resumes. `ray job stop` commits what is finished first.
set -euo pipefail
export RAY_AUTH_MODE=${RAY_AUTH_MODE:-token}
address=${1:?usage: cluster/submit.sh ADDRESS MANIFEST --recipe R --output URI [options]}
shift
cd "$(dirname "$0")/.."
ray=$(command -v ray || echo .venv/bin/ray)
# Ray hands the command to a shell on the head node: quote it for that shell.
exec "$ray" job submit --address "$address" --working-dir . --runtime-env cluster/runtime_env.yaml \
  -- bash -c "$(printf '%q ' exec python -m evs_batch run "$@" --plain)"
