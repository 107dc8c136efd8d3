"""The classifier file (``lift-head/1``, docs/run-format.md): here the class texts that an adjustment adds.

Invariant: texts that are handed out are finite, one row a class, as wide as the model's joint space.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from .error import LiftError
from .tensor_file import TensorFile, not_finite

_FORMAT = "lift-head/1"
#: What CLIP's pre-training clips the factor at, and ends at (Radford et al. 2021).
_USUAL_LOGIT_SCALE = 100.0
_AGAIN = "make the file again with `lift-text classifier`"


@dataclass(frozen=True)
class HeadFile:
    """A classifier file."""

    path: Path
    text_embeds: Tensor | None
    logit_scale: float

    @classmethod
    def read(cls, path: Path) -> HeadFile:
        """Reads a file. Raises :class:`LiftError` when it is missing, damaged, or none."""
        file = TensorFile.read(path)
        if file.metadata.get("format") != _FORMAT:
            raise LiftError.at(path, "not a classifier file", _AGAIN)
        text = file.metadata.get("logit_scale", str(_USUAL_LOGIT_SCALE))
        try:
            scale = float(text)
        except ValueError:
            scale = math.nan
        if not math.isfinite(scale):
            raise LiftError.at(path, f"logit_scale is {text!r}, not a number", _AGAIN)
        return cls(path, file.tensors.get("text_embeds"), scale)

    def texts_for(self, num_classes: int, joint_width: int | None) -> Tensor:
        """The class texts (K, e), fp32. Raises :class:`LiftError` when there are none, or they do not fit."""
        texts = self.text_embeds
        if texts is None:
            raise LiftError.at(self.path, "has no text embeddings, which class texts are", _AGAIN)
        if joint_width is None:
            reason = "is for a CLIP, and the model is an image tower without a joint space"
            raise LiftError.at(self.path, reason, "give the CLIP that the run was trained with as model=")
        if list(texts.shape) != [num_classes, joint_width]:
            needed = [num_classes, joint_width]
            reason = f"text_embeds has shape {list(texts.shape)}, the model and its classes need {needed}"
            raise LiftError.at(self.path, reason, _AGAIN)
        if problem := not_finite("text_embeds", texts):
            raise LiftError.at(self.path, problem, _AGAIN)
        return texts.float()
