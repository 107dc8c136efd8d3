"""Tensors under dotted names, as parameters and buffers of nested modules.

What a run's file calls ``image_encoder.blocks.0.attn.lora.q.down`` has that name among a model's parameters too.

Invariant: what is tuned is a parameter that requires a gradient; what is not (masks, class texts) is a buffer.
"""

from __future__ import annotations

from torch import Tensor, nn


def plant(root: nn.Module, name: str, tensor: Tensor, is_tuned: bool) -> None:
    """Puts a tensor under a dotted name below ``root``; modules on the way are made."""
    *way, last = name.split(".")
    for part in way:
        if part not in root._modules:
            root.add_module(part, nn.Module())
        root = root.get_submodule(part)
    if is_tuned:
        root.register_parameter(last, nn.Parameter(tensor))
    else:
        root.register_buffer(last, tensor)


def picked(root: nn.Module, name: str) -> Tensor:
    """The tensor under a dotted name below ``root``, as it is now: moving a module replaces its buffers."""
    found: nn.Module | Tensor = root
    for part in name.split("."):
        found = getattr(found, part)
    assert isinstance(found, Tensor)
    return found
