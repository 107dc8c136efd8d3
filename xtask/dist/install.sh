#!/bin/sh
# Installs LIFT's programs: install.sh [--prefix DIR] [--torch DIR]
#
# --prefix DIR   where bin/ and share/ go [default: ~/.local]
# --torch DIR    the libtorch 2.11 that lift-text and lift-train run on: its folder, or that of the Python package torch
#                [default: what python3 imports as torch 2.11]
set -eu

here=$(cd "$(dirname "$0")" && pwd)
prefix=${HOME:-}/.local
torch=
usage() { sed -n '2,6s/^#[ ]\{0,1\}//p' "$0"; }
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help) usage; exit 0 ;;
    --prefix | --torch)
        [ $# -gt 1 ] || { echo "error: $1 needs a folder" >&2; exit 2; }
        if [ "$1" = --prefix ]; then prefix=$2; else torch=$2; fi
        shift 2 ;;
    *) usage >&2; exit 2 ;;
    esac
done

# Before anything is put in place: which libtorch.
if [ -z "$torch" ]; then
    torch=$(python3 -c 'import os, torch
if torch.__version__.split("+")[0].startswith("2.11."):
    print(os.path.dirname(torch.__file__))' 2>/dev/null || true)
elif [ ! -e "$torch/lib/libtorch.so" ]; then
    echo "error: $torch: has no lib/libtorch.so" >&2
    exit 1
else
    for file in version.py build-version; do
        if [ -e "$torch/$file" ] && ! grep -q '2\.11\.' "$torch/$file"; then
            echo "error: $torch: is another libtorch than 2.11" >&2
            exit 1
        fi
    done
fi

mkdir -p "$prefix/bin" "$prefix/lib/lift" "$prefix/share"
prefix=$(cd "$prefix" && pwd)
for program in "$here"/bin/*; do
    # Beside the old one and in its place at once: it may be running.
    cp "$program" "$prefix/bin/.${program##*/}.new"
    mv -f "$prefix/bin/.${program##*/}.new" "$prefix/bin/${program##*/}"
done
cp -R "$here/share/." "$prefix/share/"
if [ -n "$torch" ]; then
    torch=$(cd "$torch" && pwd)
    ln -sfn "$torch" "$prefix/lib/lift/torch"
fi

echo "installed: $prefix/bin/lift, lift-data, lift-text, lift-train"
if [ -e "$prefix/lib/lift/torch/lib/libtorch.so" ]; then
    "$prefix/bin/lift-train" --version
else
    echo "note: lift-text and lift-train need libtorch 2.11, and python3 imports no torch 2.11" >&2
    echo "hint: pip install 'torch==2.11.*', or unpack libtorch 2.11, and call this again with --torch DIR" >&2
fi
case ":$PATH:" in
*":$prefix/bin:"*) ;;
*) echo "hint: export PATH=\"$prefix/bin:\$PATH\"" >&2 ;;
esac
