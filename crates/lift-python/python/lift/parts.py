"""Which file of a model's folder has its tensors, or which index the files that have them.

Invariant: the first of the known files that is there, with all that it names, is read; no tensor is in two of them.
"""

from __future__ import annotations

import re
from pathlib import Path

from torch import Tensor

from . import torch_file
from .error import LiftError
from .tensor_file import TensorFile
from .text_file import read_json

#: Files with a model's tensors, or the index of several, in the order in which they are looked for.
WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "open_clip_model.safetensors",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "open_clip_pytorch_model.bin",
)

_AGAIN = "fetch the model again: the index and its files belong together"
#: A name that leads nowhere but into the index's own folder.
_PLAIN = re.compile(r"[^/\\:\x00-\x1f\x7f]+\.(?:safetensors|bin)")


def has_weights(folder: Path) -> bool:
    """Whether a folder has a model's tensors."""
    return any(_is_whole(folder / name) for name in WEIGHTS)


def weights_file(model: Path) -> Path:
    """The file of a model's folder that has its tensors, or their index; a file is taken as it is.

    Raises :class:`LiftError` when there is none.
    """
    if model.is_file():
        return model
    files = [model / name for name in WEIGHTS]
    # Of an index whose files are not there, what is missing is said only where there is nothing else.
    for file in (*filter(_is_whole, files), *(file for file in files if file.is_file())):
        return file
    hint = "give a folder with config.json and model.safetensors (or pytorch_model.bin), or a file of tensors"
    raise LiftError.at(model, f"a folder without a file of tensors (such as {WEIGHTS[0]})", hint)


def read_tensors(file: Path) -> dict[str, Tensor]:
    """The tensors of a file, or of those that an index names, in the file's own names.

    Raises :class:`LiftError` when a file is missing or damaged, or a tensor is in two of them.
    """
    if not _is_index(file):
        return _read(file)
    found: dict[str, Tensor] = {}
    for name in _files_of(file):
        part = file.with_name(name)
        if not part.exists():
            raise LiftError.at(part, "no such file", f"{file} names it; {_AGAIN}")
        for key, tensor in _read(part).items():
            if key in found:
                raise LiftError.at(file, f"{key} is in {name} and in a file before it", _AGAIN)
            found[key] = tensor
    return found


def _read(file: Path) -> dict[str, Tensor]:
    return torch_file.read(file) if torch_file.is_one(file) else TensorFile.read(file).tensors


def _is_index(file: Path) -> bool:
    return file.name.endswith(".index.json")


def _is_whole(file: Path) -> bool:
    if not file.is_file() or not _is_index(file):
        return file.is_file()
    try:
        return all(file.with_name(name).is_file() for name in _files_of(file))
    except LiftError:
        # What is wrong with an index is said when the model is read.
        return True


def _files_of(index: Path) -> list[str]:
    """The files that an index names, each once, in order."""
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise LiftError.at(index, "weight_map: it lists no tensor", _AGAIN)
    for tensor, file in places.items():
        if not isinstance(file, str) or not _PLAIN.fullmatch(file):
            reason = f"weight_map: {tensor} is in {file!r}, which is not the name of a file of tensors beside the index"
            raise LiftError.at(index, reason, _AGAIN)
    return sorted(set(places.values()))
