"""The programs of the wheel, started with the libraries of the installed torch.

The wheel holds no libtorch: ``lift-text`` and ``lift-train`` are compiled against that of one version of torch, and find it,
and what it has of CUDA, where pip put it. Torch is not imported for that.
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

#: Of torch, whose libraries the programs are linked with.
WANTED = "2.11"


def lift() -> NoReturn:
    _start("lift")


def lift_text() -> NoReturn:
    _start("lift-text")


def lift_train() -> NoReturn:
    _start("lift-train")


def _start(name: str) -> NoReturn:
    program = Path(__file__).with_name("bin") / name
    if not program.is_file():
        _fail(f"{program}: is missing", "pip install --force-reinstall lift-longtail")
    libraries = _torch_libraries(name)
    environment = dict(os.environ)
    others = environment.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    environment["LD_LIBRARY_PATH"] = os.pathsep.join([str(libraries), *filter(None, others)])
    environment.setdefault("LIFT_TORCH_LIB", str(libraries))
    os.execve(program, [name, *sys.argv[1:]], environment)


def _torch_libraries(name: str) -> Path:
    """The folder of libtorch in the installed torch, if that is of the version that is needed."""
    install = f"pip install 'torch=={WANTED}.*'"
    try:
        found = version("torch")
    except PackageNotFoundError:
        _fail(f"{name} needs torch {WANTED}, and no torch is installed", install)
    if found.split("+")[0].split(".")[:2] != WANTED.split("."):
        _fail(f"{name} needs torch {WANTED}, and torch {found} is installed", install)
    spec = find_spec("torch")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        libraries = Path(folder) / "lib"
        if (libraries / "libtorch_cpu.so").is_file():
            return libraries
    _fail(f"torch {found} is installed without its libraries", f"{install} --force-reinstall")


def _fail(reason: str, hint: str) -> NoReturn:
    print(f"error: {reason}\nhint: {hint}", file=sys.stderr)
    raise SystemExit(1)
