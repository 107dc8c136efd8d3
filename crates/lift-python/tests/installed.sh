#!/usr/bin/env bash
# Uses the wheels as installed: installed.sh ENVIRONMENT DEMO. ENVIRONMENT is a virtual environment that has them, torch and the rest
# of xtask/requirements-torch.txt; DEMO is what `cargo xtask demo` made. Nothing of the checkout's own package is seen.
set -euo pipefail
[ $# = 2 ] || { sed -n '2p' "$0" | cut -c3- >&2; exit 2; }
here=$(cd "$(dirname "$0")/.." && pwd)
environment=$(cd "$1" && pwd) demo=$(cd "$2" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export PATH="$environment/bin:$PATH" PYTHONDONTWRITEBYTECODE=1 OMP_NUM_THREADS=2

for program in lift lift-data lift-text lift-train; do
    "$program" --version
    [ -f "$environment/share/man/man1/$program.1" ]
    [ -f "$environment/share/bash-completion/completions/$program" ]
done

# A whole job with the installed programs.
images=$demo/images
[ -d "$images" ] || { lift-data draw shapes-lt --out images && images=images; }
lift-data build folder --source "$images" --max-per-class 8 --short-side 64 --out shards
model=$here/../../models/shapes-clip
lift-text classifier --shards shards --model "$model" --out head.safetensors
lift-train --shards shards --model "$model" --head head.safetensors --epochs 1 --tte none --device cpu --out run
lift-train eval run --device cpu --predictions predictions.csv

# The package: its tests, and its examples.
export LIFT_TEST_SHARDS=$work/shards LIFT_TEST_RUN=$work/run LIFT_TRAIN=$environment/bin/lift-train
python -m unittest discover -s "$here/tests"
for example in "$here"/examples/*.py; do
    python "$example" --shards shards
done

# Another torch than that of the programs is one line, and a hint.
mkdir other
cp -r "$environment"/lib/python3*/site-packages/torch-*.dist-info other/torch-2.10.0.dist-info
sed -i 's/^Version: .*/Version: 2.10.0/' other/torch-2.10.0.dist-info/METADATA
if PYTHONPATH=other lift-train --version 2>said; then
    echo "error: a torch of another version is taken" >&2
    exit 1
fi
grep -x "error: lift-train needs torch 2.11, and torch 2.10.0 is installed" said
