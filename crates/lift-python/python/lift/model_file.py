"""From what names a model to its image tower, frozen, and the constants that pixels are normalised with.

Nothing is guessed: a tensor that is missing, left over, of another shape or not finite is an error that names it.
Invariant: the tower is fp32, and none of its parameters requires a gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from . import hub
from .error import LiftError
from .layouts import image_tower, layout_of
from .parts import read_tensors, weights_file
from .sizes import TowerSizes, sizes_of
from .tensor_file import not_finite
from .text_file import Entries, read_json
from .tower import VisionTower, resampled_positions

_MOST_PROBLEMS = 20


def open_tower(model: str, resolution: int | None = None) -> VisionTower:
    """The image tower of a model (a folder, a file of tensors, a name on the hub), at this resolution or its own.

    Raises :class:`LiftError` when a file is missing or damaged, a tensor does not fit, or the resolution does not.
    """
    file = weights_file(hub.find(model))
    found = read_tensors(file)
    layout = layout_of(file, found)
    tensors = image_tower(file, layout, found)
    del found
    sizes = sizes_of(file, layout, tensors)
    _check(file, sizes, tensors)
    if resolution is not None and resolution != sizes.resolution:
        sizes = sizes.at_resolution(file, resolution)
        side = resolution // sizes.patch_size
        tensors["positional_embedding"] = resampled_positions(tensors["positional_embedding"], side)
    tower = _empty(sizes)
    tower.load_state_dict({name: tensor.float().contiguous() for name, tensor in tensors.items()}, assign=True)
    return tower


def _empty(sizes: TowerSizes) -> VisionTower:
    """A frozen tower without values."""
    with torch.device("meta"):
        return VisionTower(sizes).requires_grad_(False).eval()


def _check(file: Path, sizes: TowerSizes, tensors: dict[str, Tensor]) -> None:
    shapes = {name: list(tensor.shape) for name, tensor in _empty(sizes).state_dict().items()}
    problems = [f"{name}: missing, expected shape {shape}" for name, shape in shapes.items() if name not in tensors]
    for name, tensor in tensors.items():
        shape = list(tensor.shape)
        if name not in shapes:
            problems.append(f"{name}: not part of this model (shape {shape})")
        elif shape != shapes[name]:
            problems.append(f"{name}: shape {shape}, expected {shapes[name]}")
        elif problem := not_finite(name, tensor):
            problems.append(problem)
    if problems:
        more = [f"and {len(problems) - _MOST_PROBLEMS} more"] if len(problems) > _MOST_PROBLEMS else []
        lines = "".join(f"\n  {line}" for line in (*problems[:_MOST_PROBLEMS], *more))
        hint = "the tensors and the config.json must come from the same, whole model"
        raise LiftError.at(file, f"the checkpoint does not fit its configuration:{lines}", hint)


@dataclass(frozen=True)
class Normalisation:
    """``(x / 255 - mean) / std``, by channel (red, green, blue)."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


#: CLIP's constants (OpenAI's ``clip.py``).
CLIP = Normalisation((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
#: Those of the ViTs of timm's ``augreg`` family that were trained on ImageNet-21k.
HALF = Normalisation((0.5,) * 3, (0.5,) * 3)


def normalisation_of(model: str, tower: VisionTower) -> Normalisation:
    """What a model's ``preprocessor_config.json`` says, or timm's ``config.json``, or what its layout is trained with.

    Raises :class:`LiftError` when the file is there and cannot be read, or holds a deviation that is not above zero.
    """
    usual = HALF if tower.ln_pre is None else CLIP
    found = hub.find(model)
    folder = found.parent if found.is_file() else found
    hint = "bring the file back as it was published"
    path = folder / "preprocessor_config.json"
    if path.is_file():
        keys, entries = ("image_mean", "image_std"), Entries(path, read_json(path), hint)
    else:
        path = folder / "config.json"
        if not path.is_file():
            return usual
        whole = Entries(path, read_json(path), hint)
        if not whole.has("pretrained_cfg"):
            return usual
        keys, entries = ("mean", "std"), whole.table("pretrained_cfg")
    mean, std = (
        tuple(entries.numbers(key, 3)) if entries.has(key) else default
        for key, default in zip(keys, (usual.mean, usual.std))
    )
    if min(std) <= 0:
        raise LiftError.at(path, f"{keys[1]} {list(std)} must be above zero", hint)
    return Normalisation(mean, std)
