"""unpack.py WHEELS INTO: takes from the wheels only what building and running needs."""

import os
import pathlib
import shutil
import sys
import zipfile

FOLDERS = ("torch/include/",)
FILES = {
    "torch/lib/libc10.so",
    "torch/lib/libgomp.so.1",
    "torch/lib/libtorch.so",
    "torch/lib/libtorch_cpu.so",
    "nvidia/cu13/lib/libcudart.so.13",
    "nvidia/cu13/lib/libcupti.so.13",
}

wheels, into = map(pathlib.Path, sys.argv[1:])
missing = set(FILES)
for wheel in sorted(wheels.glob("*.whl")):
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            name = member.filename
            if member.is_dir() or not (name in FILES or name.startswith(FOLDERS)):
                continue
            path = into / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, open(path, "wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
            missing.discard(name)
if missing:
    sys.exit("the wheels lack " + ", ".join(sorted(missing)))
os.sync()
