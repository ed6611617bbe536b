#!/usr/bin/env bash
# Tests and measures maskanim on a GPU, in less than ten minutes: benchmarks/gpu.sh DIR [--dry] [--budget S]
#
# DIR gets one JSON file for each step and summary.json. S: seconds for all of it. Nothing has to be installed but Python
# with PyTorch, NumPy, OpenCV, pydantic, platformdirs, typer and pytest; what is missing there may lie as wheels in the
# folder wheels/ of the checkout.
# --dry runs every step with tiny networks on the processor. PYTHON names the interpreter.
set -euo pipefail

[[ $# -ge 1 && $1 != -* ]] || { sed -n '2,7s/^# \?//p' "$0" >&2; exit 2; }
root=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$1"
results=$(cd "$1" && pwd)
shift
python=$(command -v "${PYTHON:-python3}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The tree as it is installed, whether it is installed or not.
mkdir -p "$work/tree/maskanim" "$work/site"
ln -sfn "$root"/maskanim/* "$root"/{benchmarks,export,runtime,train} "$work/tree/maskanim/"
if compgen -G "$root/wheels/*.whl" > /dev/null; then
  "$python" -m pip install -q --no-index --no-deps --no-compile --target "$work/site" "$root"/wheels/*.whl ||
    echo "gpu.sh: the wheels do not go with $("$python" --version), going on without them" >&2
fi
export PYTHONPATH="$work/tree:$work/site${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
export MASKANIM_HOME="$work/home"
cd "$work" # not the checkout, whose folders would be imported under other names
"$python" -m maskanim.benchmarks.gpu "$results" --tests "$root/tests/gpu" "$@"
