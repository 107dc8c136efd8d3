#!/usr/bin/env bash
# Uses a release as its users would: try.sh DIST TORCH. DIST is what `cargo xtask dist` made, TORCH the Python package torch 2.11.
set -euo pipefail
[ $# = 2 ] || { sed -n '2p' "$0" | cut -c3- >&2; exit 2; }
dist=$(cd "$1" && pwd) torch=$(cd "$2" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd "$dist" && sha256sum --check --quiet SHA256SUMS)
tar -xzf "$dist"/lift-*.tar.gz -C "$work"
cd "$work"
unpacked=$(echo lift-*)

# Without libtorch what needs none works, and the rest is said; then with it; then over what is there.
PATH=/usr/bin:/bin "$unpacked/install.sh" --prefix one 2>said
grep -q '^note: lift-text and lift-train need libtorch 2.11' said || [ -e one/lib/lift/torch ]
one/bin/lift --version
one/bin/lift-data --version
"$unpacked/install.sh" --prefix two --torch "$torch"
"$unpacked/install.sh" --prefix two --torch "$torch" >/dev/null
if "$unpacked/install.sh" --prefix three --torch "$work" 2>said; then
    echo "error: a folder without libtorch is taken for one" >&2
    exit 1
fi
grep -q "has no lib/libtorch.so" said
mkdir -p other/lib
touch other/lib/libtorch.so
echo "__version__ = '2.10.0'" >other/version.py
if "$unpacked/install.sh" --prefix three --torch other 2>said; then
    echo "error: another libtorch is taken for 2.11" >&2
    exit 1
fi
grep -q "is another libtorch than 2.11" said
[ ! -e three ]

export PATH="$work/two/bin:/usr/bin:/bin"
for program in lift lift-data lift-text lift-train; do
    "$program" --version
    [ -f "two/share/man/man1/$program.1" ]
    readelf -d "two/bin/$program" >headers
    if grep -E 'R(UN)?PATH' headers | grep -v 'ORIGIN'; then
        echo "error: $program looks for libraries in a folder of the machine that built it" >&2
        exit 1
    fi
done
cmp <(lift schema) two/share/lift/schemas/recipe.json
lift-data draw shapes-lt --out images >/dev/null
lift-data build folder --source images --max-per-class 2 --short-side 64 --out shards >/dev/null
lift-data verify shards
