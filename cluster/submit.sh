#!/usr/bin/env bash
# Submit a run to a Ray cluster and follow its log.
#
#   cluster/submit.sh http://HEAD:8265 MANIFEST --recipe demo --output URI [options of `evs-batch run`]
#
# Manifest and output must be reachable from every node: a shared folder, or a bucket by its URI.
# The same command again resumes. `ray job stop` commits what is finished first.
set -euo pipefail
address=${1:?usage: cluster/submit.sh ADDRESS MANIFEST --recipe R --output URI [options]}
shift
cd "$(dirname "$0")/.."
exec ray job submit --address "$address" --working-dir . --runtime-env cluster/runtime_env.yaml \
  -- python -m evs_batch run "$@" --plain
