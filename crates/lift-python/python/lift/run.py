"""A run's folder -> a :class:`lift.model.TunedModel`.

A run has ``config.toml`` (settings), ``tuned.safetensors`` (all that was tuned) and perhaps an adjustment; the frozen
model is where the settings say (docs/run-format.md). Invariant: a model is handed out only when every tensor of the
run has found its place in it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

from . import adjustment, classifiers, hub, joint, tuners
from .error import LiftError
from .model import About, TunedModel
from .model_file import Normalisation, normalisation_of, open_tower
from .tensor_file import TensorFile, not_finite
from .text_file import Entries, read_toml
from .tower import VisionTower

_CONFIG = "config.toml"
_TUNED = "tuned.safetensors"
_FORMAT = "lift-tuned/1"
_NAME_A_RUN = "name the folder that `lift-train --out` made, or one of `lift-train export --format folder`"


def load(
    run: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | None = None,
    device: str | torch.device = "cpu",
    adjust: bool = True,
) -> TunedModel:
    """Loads a run of ``lift-train``, or a folder of its ``export --format folder``, as a module in evaluation mode.

    - ``model``: where the frozen model lies now, if not where the run's settings say: a folder, a file of tensors, or
      a name on the Hugging Face hub that was fetched before. Nothing is downloaded.
    - ``device``: where it is put.
    - ``adjust``: whether the adjustment that the run keeps is obeyed, as ``lift-train eval`` does (``False`` is its
      ``--no-adjust``).

    Everything is fp32, whatever the precision of the run: compare with ``lift-train eval --precision fp32``.

    Raises :class:`LiftError` when a file is missing, damaged, or does not fit the others.
    """
    folder = Path(run)
    settings = _Settings(folder)
    tuned = _Tuned(folder)
    name = os.fspath(model) if model is not None else settings.model()
    tower = open_tower(name, settings.resolution)
    loaded = _assembled(settings, tuned, tower, normalisation_of(name, tower))
    if adjust:
        joint_width = tower.sizes.joint_width
        loaded.adjustment = adjustment.of_run(folder, tuned.path, tuned.class_names, tuned.class_hash, joint_width)
    return _moved(loaded.eval(), device)


class _Settings:
    """What of ``config.toml`` says how the tuned tensors are used."""

    def __init__(self, run: Path) -> None:
        self._run, path = run, run / _CONFIG
        entries = Entries(path, read_toml(path, _hint(run)), _NAME_A_RUN)
        self._entries = entries
        self.classifier = entries.text("classifier", "cosine")
        if self.classifier not in classifiers.KINDS:
            kinds = ", ".join(classifiers.KINDS)
            raise LiftError.at(path, f"classifier {self.classifier!r} is not known", f"this version knows {kinds}")
        self.scale = entries.number("scale", classifiers.usual_scale(self.classifier))
        self.resolution = entries.integer("resolution") if entries.has("resolution") else None

    def model(self) -> str:
        """Where the frozen model lies.

        A relative path is the run's own; what is none and looks like a name on the hub is one.
        """
        text = self._entries.text("model")
        own = self._run / text
        return text if hub.is_name(text) and not own.exists() else os.fspath(own)


class _Tuned:
    """``tuned.safetensors``."""

    def __init__(self, run: Path) -> None:
        self.path = run / _TUNED
        missing = f"`lift-train resume {run}` goes on with a run that is not finished; {_NAME_A_RUN}"
        file = TensorFile.read(self.path, missing)
        self.tensors, self._metadata = file.tensors, file.metadata
        if self._text("format") != _FORMAT:
            raise self.bad(f"format {self._text('format')}, expected {_FORMAT}")
        for name, tensor in self.tensors.items():
            if problem := not_finite(name, tensor):
                raise self.bad(problem)
        self.class_names: list[str] = self._list("class_names", str)
        self.class_counts: list[int] = self._list("class_counts", int)
        self.class_hash, self.template = self._text("class_hash"), self._text("template")

    def bad(self, reason: str, hint: str = "bring the file back as the run wrote it") -> LiftError:
        """An error of this file."""
        return LiftError.at(self.path, reason, hint)

    def _text(self, key: str) -> str:
        if key not in self._metadata:
            raise self.bad(f"no {key} in the metadata; not written by lift-train?")
        return self._metadata[key]

    def _list(self, key: str, kind: type) -> list[Any]:
        try:
            found = json.loads(self._text(key))
        except ValueError:
            found = None
        if not isinstance(found, list) or not all(type(entry) is kind for entry in found):
            raise self.bad(f"{key} in the metadata is no list of {'texts' if kind is str else 'numbers'}")
        return found


def _assembled(settings: _Settings, tuned: _Tuned, tower: VisionTower, pixels: Normalisation) -> TunedModel:
    tensors, kind, sizes = dict(tuned.tensors), settings.classifier, tower.sizes
    about = About(tuned.class_names, tuned.class_counts, tuned.template, pixels.mean, pixels.std)
    num_classes = len(tuned.class_names)
    try:
        if kind == "text":
            if sizes.joint_width is None:
                raise ValueError("class texts need a CLIP, and the model is an image tower without a joint space")
            texts = tuners.fitting("", tensors, {"class_texts": ("K", "e")}, {"K": num_classes, "e": sizes.joint_width})
            if not texts:
                raise ValueError("class_texts is missing")
            del tensors["class_texts"]
            classifier = None
        else:
            classifier, texts = classifiers.take(kind, tensors, sizes.width, num_classes, settings.scale), {}
        model = TunedModel(tower, tuners.take(tensors, sizes), classifier, settings.scale, about)
        joint.take(model, tensors, sizes.width, sizes.joint_width)
        if tensors:
            raise ValueError(f"{next(iter(tensors))} belongs to no known tuner")
    except ValueError as error:
        hint = "give the model that the run was trained with; a run of a newer version needs a newer lift"
        raise tuned.bad(str(error), hint) from None
    for name, tensor in texts.items():
        model.register_buffer(name, tensor)
    return model


def _moved(model: TunedModel, device: str | torch.device) -> TunedModel:
    try:
        nn.Module.to(model, device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = f"the model cannot be put there: {str(error).splitlines()[0]}"
        raise LiftError.at(f"device {device}", reason, "device='cpu' is always there") from None
    return model


def _hint(run: Path) -> str:
    """What to do where a folder has no settings."""
    if (run / "classifier.safetensors").is_file() or (run / "model.onnx").is_file():
        return "this is an export in another format; lift.load reads that of `lift-train export --format folder`"
    return _NAME_A_RUN
