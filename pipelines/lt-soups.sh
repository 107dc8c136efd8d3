#!/usr/bin/env bash
# Models tuned on less and less imbalanced parts of a long tail, averaged step by step, and the classifier trained anew on all of it
# with logit adjustment, after LT-Soups (arXiv 2511.10683); docs/adjust.md says what each step gives on the drawn shapes.
#
#   pipelines/lt-soups.sh SHARDS MODEL HEAD OUT [MOST..]
#
# MOST is the most training images a class of a part, 100, 25 and 5 unless given. EPOCHS (5) and SEEDS (0,1) may be set. What is there
# from an earlier call stays.
set -euo pipefail
[ $# -ge 4 ] || { sed -n '5p' "$0" | cut -c3- >&2; exit 2; }
shards=$1 model=$2 head=$3 out=$4
shift 4
[ $# -gt 0 ] || set -- 100 25 5
epochs=${EPOCHS:-5} seeds=${SEEDS:-0,1}
mkdir -p "$out"

parts=""
for most in "$@"; do
    [ -d "$out/most-$most" ] || lift-data build shards --source "$shards" --max-per-class "$most" --short-side 0 --out "$out/most-$most"
    parts="$parts\"$out/most-$most\", "
done
cat >"$out/sweep.toml" <<END
[train]
shards = "$shards"
model = "$model"
head = "$head"
epochs = $epochs
tte = "none"
[sweep]
shards = [$parts]
END
lift-train sweep "$out/sweep.toml" --seeds "$seeds" --out "$out/sweep"

soup() { # RUN.. --out RUN
    [ -e "${*: -1}/report.json" ] || lift-train soup "$@"
}
merged=""
for most in "$@"; do
    point=$(printf 'shards=%s' "$out/most-$most" | tr -c 'a-zA-Z0-9=,._+-' '-')
    soup "$out/sweep/$point"/seed-*[0-9] --out "$out/soup-$most"
    if [ -z "$merged" ]; then
        merged=$out/soup-$most
    else
        soup "$merged" "$out/soup-$most" --out "$out/merged-$most"
        merged=$out/merged-$most
    fi
done
[ -e "$out/retrained/report.json" ] ||
    lift-train train --shards "$shards" --init "$merged" --freeze-modules --loss la --epochs "$epochs" --tte none --out "$out/retrained"
lift-train compare "$out"/soup-* "$out"/merged-* "$out/retrained"
