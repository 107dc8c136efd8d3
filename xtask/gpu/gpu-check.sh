#!/usr/bin/env bash
# Checks LIFT on this machine's GPU and measures it: `bash gpu-check.sh -h` says what can be asked for.
#
# Needs a python3 with PyTorch 2.11 and CUDA (its torch/lib is the programs' libtorch), numpy and Pillow.
# With --cpu it needs no PyTorch: --libtorch DIR, or LIBTORCH, names a folder with a libtorch 2.11.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
python="${PYTHON:-python3}"
if ! command -v "$python" >/dev/null; then
    echo "error: $python does not run" >&2
    echo "hint: PYTHON names the Python that has PyTorch" >&2
    exit 2
fi

libtorch=""
arguments=()
while [ $# -gt 0 ]; do
    case "$1" in
        -h | --help)
            exec "$python" "$here/check.py" --help
            ;;
        --libtorch)
            [ $# -gt 1 ] || { echo "error: --libtorch needs a folder" >&2; exit 2; }
            libtorch="$2"
            shift 2
            ;;
        *)
            arguments+=("$1")
            shift
            ;;
    esac
done
if [ -z "$libtorch" ]; then
    # Found, not imported: that would take seconds.
    libtorch="$("$python" -c '
import importlib.util
spec = importlib.util.find_spec("torch")
print(spec.submodule_search_locations[0] if spec else "")')"
fi
libtorch="${libtorch:-${LIBTORCH:-}}"
if [ ! -e "$libtorch/lib/libtorch_cpu.so" ]; then
    echo "error: no libtorch: $python has no torch, and '$libtorch' holds no lib/libtorch_cpu.so" >&2
    echo "hint: PYTHON names the Python that has PyTorch; --libtorch DIR a folder with a libtorch 2.11" >&2
    exit 2
fi

# The libraries of CUDA lie beside the torch package, in nvidia/cu13/lib and its siblings.
paths="$libtorch/lib"
for folder in "$libtorch"/../nvidia/*/lib; do
    if [ -d "$folder" ]; then
        paths="$paths:$(cd "$folder" && pwd)"
    fi
done
export LD_LIBRARY_PATH="$paths${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
if [ -e "$libtorch/lib/libtorch_cuda.so" ]; then
    export LIFT_TORCH_LIB="$libtorch/lib"
fi
exec "$python" "$here/check.py" ${arguments[@]+"${arguments[@]}"}
