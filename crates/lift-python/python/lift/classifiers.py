"""The classifier: cosine, linear, L2-normed weights, LayerNormed features; or class texts in the joint space.

``normalize(v)`` is ``v / max(|v|, 1e-12)`` (docs/run-format.md; LIFT+, section on the cosine classifier). Invariant:
logits are fp32.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

KINDS = ("cosine", "linear", "l2norm", "layernorm", "text")

_LAYER_NORM_EPS = 1e-12


def usual_scale(kind: str) -> float:
    """The factor on cosines: 25 in the paper, 100 where CLIP's pre-training ends."""
    return 100.0 if kind == "text" else 25.0


def cosine(x: Tensor, rows: Tensor, scale: float) -> Tensor:
    """Features (b, d) and rows (K, d) -> ``scale`` times their cosines (b, K), fp32."""
    return F.normalize(x.float(), dim=-1, eps=1e-12) @ F.normalize(rows.float(), dim=-1, eps=1e-12).T * scale


class Classifier(nn.Module):
    """A classifier with rows of its own: every kind but ``text``."""

    def __init__(self, kind: str, weight: Tensor, bias: Tensor | None, scale: float) -> None:
        super().__init__()
        self.kind, self.scale = kind, scale
        self.weight = nn.Parameter(weight)
        self.bias = None if bias is None else nn.Parameter(bias)

    def forward(self, x: Tensor) -> Tensor:
        """Features (b, d) -> logits (b, K), fp32."""
        x, weight = x.float(), self.weight.float()
        if self.kind == "linear":
            return F.linear(x, weight, None if self.bias is None else self.bias.float())
        if self.kind == "cosine":
            return cosine(x, weight, self.scale)
        if self.kind == "layernorm":
            x = F.layer_norm(x, x.shape[-1:], eps=_LAYER_NORM_EPS)
        return x @ F.normalize(weight, dim=-1, eps=1e-12).T

    def extra_repr(self) -> str:
        return f"{self.kind}, {self.weight.shape[0]} classes, scale={self.scale}"


def take(kind: str, tensors: dict[str, Tensor], width: int, num_classes: int, scale: float) -> Classifier:
    """Takes the classifier of features of this width out of a run's tensors.

    Raises :class:`ValueError`, whose text says what, when a tensor is missing or does not fit.
    """

    def taken(name: str, shape: list[int]) -> Tensor:
        if name not in tensors:
            raise ValueError(f"{name} is missing")
        tensor = tensors.pop(name)
        if list(tensor.shape) != shape:
            raise ValueError(f"{name} has shape {list(tensor.shape)}, the model and its classes need {shape}")
        return tensor.float()

    weight = taken("classifier.weight", [num_classes, width])
    bias = taken("classifier.bias", [num_classes]) if kind == "linear" else None
    return Classifier(kind, weight, bias, scale)
