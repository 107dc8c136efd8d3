"""Safetensors files: named tensors and their metadata, read with PyTorch alone.

The format: 8 bytes give the length of a JSON header (little-endian), the header says type, shape and place of each
tensor, and the tensors' bytes follow (docs/run-format.md). Invariant: every byte behind the header belongs to exactly
one tensor, or the file is refused; tensors are on the CPU, contiguous, and share memory with nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .error import LiftError

_KINDS = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
}

#: The format's own limit on the header.
_MOST_HEADER_BYTES = 100_000_000

_CUT = "fetch or copy the file again; a size that differs from the original's means a cut copy"


@dataclass
class TensorFile:
    """The tensors of a file by name, in the kind that they are stored in, and its metadata."""

    tensors: dict[str, Tensor]
    metadata: dict[str, str]

    @classmethod
    def read(cls, path: Path, missing: str = "check the path") -> TensorFile:
        """Reads a whole file.

        Raises :class:`LiftError` when it is missing (with ``missing`` for a hint), cut short, or holds a type that is
        not known.
        """
        try:
            with open(path, "rb") as file:
                return _read(path, file)
        except FileNotFoundError:
            raise LiftError.at(path, "no such file", missing) from None
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise LiftError.at(path, reason, "check the path and the permissions") from None


def _read(path: Path, file: BufferedReader) -> TensorFile:
    def bad(reason: str) -> LiftError:
        return LiftError.at(path, f"not a whole safetensors file: {reason}", _CUT)

    size = file.seek(0, 2)
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or not 2 <= length <= min(size - 8, _MOST_HEADER_BYTES):
        raise bad("its header is not all there")
    try:
        header = json.loads(file.read(length))
    except (ValueError, RecursionError):
        raise bad("its header is no JSON") from None
    if not isinstance(header, dict):
        raise bad("its header is no JSON object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise bad("its metadata is no table of texts")
    places = sorted((_place(name, entry, bad) for name, entry in header.items()), key=lambda p: (p.begin, p.end))
    end = 0
    for place in places:
        if place.begin != end:
            raise bad(f"tensor {place.name} begins at byte {place.begin}, expected {end}")
        end = place.end
    if end != size - 8 - length:
        raise bad(f"it has {size - 8 - length} bytes of tensors, its header asks for {end}")
    # The bytes are in the order of their places, so that the file is read once from front to end.
    tensors = {place.name: _tensor(place, file, bad) for place in places}
    return TensorFile(dict(sorted(tensors.items())), metadata)


@dataclass
class _Place:
    name: str
    kind: torch.dtype
    shape: list[int]
    begin: int
    end: int


def _place(name: str, entry: Any, bad: Callable[[str], LiftError]) -> _Place:
    try:
        kind, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        numbers = [*shape, begin, end]
    except (TypeError, ValueError, KeyError):
        raise bad(f"the header's entry of tensor {name} is none") from None
    if any(type(n) is not int or n < 0 for n in numbers) or not isinstance(kind, str):
        raise bad(f"the header's entry of tensor {name} is none")
    if kind not in _KINDS:
        raise bad(f"tensor {name} has the unsupported type {kind}")
    count = 1
    for n in shape:
        count *= n
    if count * _KINDS[kind].itemsize != end - begin:
        raise bad(f"tensor {name} has {end - begin} bytes for shape {shape} of {kind}")
    return _Place(name, _KINDS[kind], shape, begin, end)


def _tensor(place: _Place, file: BufferedReader, bad: Callable[[str], LiftError]) -> Tensor:
    buffer = bytearray(place.end - place.begin)
    if file.readinto(buffer) != len(buffer):
        raise bad(f"the bytes of tensor {place.name} are not all there")
    if not buffer:
        return torch.empty(place.shape, dtype=place.kind)
    return torch.frombuffer(buffer, dtype=place.kind).reshape(place.shape)


def not_finite(name: str, tensor: Tensor) -> str | None:
    """What is wrong with a tensor that holds NaN or infinity, and where; none where all entries are finite."""
    finite = torch.isfinite(tensor)
    if bool(finite.all()):
        return None
    places = (~finite).nonzero()
    place = places[0].tolist()
    value = tensor[tuple(place)].item()
    count = f"{len(places)} of {tensor.numel()}"
    return f"{name} holds values that are not finite: {count}, the first at {place} is {value}"
