#!/usr/bin/env bash
# Start a node of a Ray cluster in which nobody can do anything without its token.
#
#   cluster/start.sh --head [options of `ray start`]            makes ~/.ray/auth_token if there is none
#   cluster/start.sh --address=HEAD:6379 [options]              on the other nodes, which need a copy of that file
set -euo pipefail
cd "$(dirname "$0")/.."
ray=$(command -v ray || echo .venv/bin/ray)
export RAY_AUTH_MODE=token
if [[ " $* " == *" --head "* ]]; then "$ray" get-auth-token --generate > /dev/null; fi
exec "$ray" start --disable-usage-stats "$@"
