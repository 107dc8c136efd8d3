"""State dicts that ``torch.save`` wrote (``pytorch_model.bin``).

Such a file is a pickle, and a pickle is a program. It is read with ``weights_only=True``, so that nothing in it is
run. Invariant: what comes out are dense tensors on the CPU by name, or an error.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .error import LiftError

#: Where programs that save more than a state dict put it.
_WRAPPERS = ("state_dict", "model")

_HINT = "LIFT reads state dicts: torch.save(model.state_dict(), 'pytorch_model.bin')"


def is_one(path: Path) -> bool:
    """Whether the file's name is one that ``torch.save`` is usually given."""
    return path.suffix in (".bin", ".pt", ".pth")


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a state dict by name.

    Raises :class:`LiftError` when the file is missing, damaged, or holds anything but a state dict.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise LiftError.at(path, "no such file", "check the path") from None
    except pickle.UnpicklingError as error:
        # The rest of PyTorch's message tells how to run the file all the same.
        reason = str(error).splitlines()[0] if str(error) else "no pickle"
        hint = f"nothing in the file was run; {_HINT}"
        raise LiftError.at(path, f"it is no state dict: {reason}", hint) from None
    except Exception as error:  # Damaged archives and pickles raise whatever their reader stumbles over.
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise LiftError.at(path, f"it cannot be read: {reason}", f"fetch the file again; {_HINT}") from None
    return _tensors(path, _unwrapped(path, found))


def _unwrapped(path: Path, found: Any) -> dict[Any, Any]:
    if not isinstance(found, dict):
        raise LiftError.at(path, "it holds something else than a dictionary", _HINT)
    if not any(isinstance(value, Tensor) for value in found.values()):
        for name in _WRAPPERS:
            inner = found.get(name)
            if isinstance(inner, dict):
                return inner
    return found


def _tensors(path: Path, found: dict[Any, Any]) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for name, tensor in found.items():
        if not isinstance(name, str):
            raise LiftError.at(path, f"a dictionary with names that are no text ({name!r})", _HINT)
        if not isinstance(tensor, Tensor):
            raise LiftError.at(path, f"{name!r} in it is no tensor", _HINT)
        if tensor.layout != torch.strided or tensor.is_quantized:
            raise LiftError.at(path, f"{name!r} in it is sparse or quantised", _HINT)
        # A copy: tensors of one storage do not share memory here.
        tensors[name] = tensor.detach().clone(memory_format=torch.contiguous_format)
    return dict(sorted(tensors.items()))
