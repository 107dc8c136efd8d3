"""Sizes of an image tower: from ``config.json`` of Hugging Face's ``CLIPModel``, or from the tensors' shapes.

Shapes do not tell the number of heads and the activation. ``config.json`` says both, and so does
``open_clip_config.json``. A bare file in OpenAI's names is taken for one of OpenAI's (heads of 64, QuickGELU), one of
timm's for a ``vit_*`` (heads of 64, GELU, epsilon 1e-6). Invariant: widths are multiples of the number of heads.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from .error import LiftError
from .layouts import Layout
from .text_file import Entries, read_json

_WHOLE = "the tensors and the config.json must come from the same, whole model"
_MOST_SIZE = 1 << 20
_MOST_LAYERS = 1000
#: The highest resolution that a tower is resampled to; attention is quadratic in the patches.
_MOST_RESOLUTION = 4096


@dataclass(frozen=True)
class TowerSizes:
    """Sizes of the image tower; ``resolution`` and ``patch_size`` are in pixels, the side of a square."""

    resolution: int
    patch_size: int
    width: int
    layers: int
    heads: int
    mlp_width: int
    layer_norm_eps: float
    is_quick_gelu: bool
    #: Width of the space that a CLIP shares with its texts; none for a tower of timm's.
    joint_width: int | None

    @property
    def tokens(self) -> int:
        """Patches and the class token."""
        return (self.resolution // self.patch_size) ** 2 + 1

    def at_resolution(self, model: Path, resolution: int) -> TowerSizes:
        """The same tower for images of another resolution.

        Raises :class:`LiftError` when that is no multiple of the patch size, or above 4096.
        """
        patch = self.patch_size
        if resolution < patch or resolution % patch or resolution > _MOST_RESOLUTION:
            nearest = min(max(resolution // patch, 1) * patch, _MOST_RESOLUTION // patch * patch)
            reason = f"resolution {resolution} does not fit patches of {patch} pixels"
            raise LiftError.at(model, reason, f"use a multiple of {patch} up to {_MOST_RESOLUTION}, such as {nearest}")
        return replace(self, resolution=resolution)


def sizes_of(file: Path, layout: Layout, tensors: dict[str, Tensor]) -> TowerSizes:
    """The sizes of the tower whose tensors these are, in the names of :func:`lift.layouts.image_tower`.

    Raises :class:`LiftError` when a file beside ``file`` that tells them is missing or damaged, or the sizes cannot be.
    """
    config, open_clip = file.with_name("config.json"), file.with_name("open_clip_config.json")
    if layout is Layout.TIMM:
        sizes = _by_shapes(file, tensors, False, 64, False, 1e-6)
    elif layout is Layout.OPENAI and open_clip.is_file():
        # open_clip's folders may hold a config.json that is no CLIPModel's, so that their own comes first.
        head_width, is_quick_gelu = _of_open_clip(open_clip)
        sizes = _by_shapes(file, tensors, True, head_width, is_quick_gelu, 1e-5)
    elif config.is_file():
        sizes = _of_hugging_face(config)
    elif layout is Layout.OPENAI:
        sizes = _by_shapes(file, tensors, True, 64, True, 1e-5)
    else:
        hint = "a checkpoint in Hugging Face's layout needs the config.json that it was published with"
        raise LiftError.at(config, "no such file", hint)
    _check(file, sizes)
    return sizes


def _of_hugging_face(path: Path) -> TowerSizes:
    # Hugging Face leaves values out that equal the defaults of its classes; these are those defaults.
    config = Entries(path, read_json(path), "config.json must be that of a CLIPModel")
    vision = config.table("vision_config")
    activation = vision.text("hidden_act", "quick_gelu")
    if activation not in ("quick_gelu", "gelu"):
        raise LiftError.at(path, f"hidden_act {activation!r} is not supported", "quick_gelu and gelu are")
    sizes = TowerSizes(
        resolution=vision.integer("image_size", 224),
        patch_size=vision.integer("patch_size", 32),
        width=vision.integer("hidden_size", 768),
        layers=vision.integer("num_hidden_layers", 12),
        heads=vision.integer("num_attention_heads", 12),
        mlp_width=vision.integer("intermediate_size", 3072),
        layer_norm_eps=vision.number("layer_norm_eps", 1e-5),
        is_quick_gelu=activation == "quick_gelu",
        joint_width=config.integer("projection_dim", 512),
    )
    for field, whole, part in (
        ("hidden_size", sizes.width, sizes.heads),
        ("image_size", sizes.resolution, sizes.patch_size),
    ):
        if whole < 1 or part < 1 or whole % part:
            raise LiftError.at(path, f"vision_config.{field} {whole} is not a multiple of {part}", _WHOLE)
    return sizes


def _of_open_clip(path: Path) -> tuple[int, bool]:
    """Width of a head, and whether the activation is QuickGELU."""
    hint = "only models with the class token and the end-of-text token as features can be read"
    model = Entries(path, read_json(path), hint).table("model_cfg")
    vision, text = model.table("vision_cfg", {}), model.table("text_cfg", {})
    pools = vision.text("pool_type", "tok"), text.text("pool_type", "argmax")
    if pools != ("tok", "argmax") or text.truth("no_causal_mask", False):
        raise LiftError.at(path, "not a tower like CLIP's: other pooling, or no causal mask", hint)
    return vision.integer("head_width", 64), model.truth("quick_gelu", False)


def _by_shapes(
    file: Path,
    tensors: dict[str, Tensor],
    is_clip: bool,
    head_width: int,
    is_quick_gelu: bool,
    layer_norm_eps: float,
) -> TowerSizes:
    def size(name: str, axis: int) -> int:
        tensor = tensors.get(name)
        if tensor is None or tensor.dim() <= axis or tensor.shape[axis] < 1:
            raise LiftError.at(file, f"{name}: missing, or without dimension {axis}", _WHOLE)
        return tensor.shape[axis]

    width, patch = size("conv1.weight", 0), size("conv1.weight", 2)
    if head_width < 1 or width % head_width:
        reason = f"conv1.weight has width {width}, no multiple of the head width {head_width}"
        raise LiftError.at(file, reason, "put the model's config.json or open_clip_config.json beside the file")
    blocks = [name.split(".")[2] for name in tensors if name.startswith("transformer.resblocks.")]
    return TowerSizes(
        resolution=round((size("positional_embedding", 0) - 1) ** 0.5) * patch,
        patch_size=patch,
        width=width,
        layers=max((int(block) for block in blocks if block.isdecimal()), default=-1) + 1,
        heads=width // head_width,
        mlp_width=size("transformer.resblocks.0.mlp.c_fc.weight", 0),
        layer_norm_eps=layer_norm_eps,
        is_quick_gelu=is_quick_gelu,
        joint_width=size("proj", 1) if is_clip else None,
    )


def _check(file: Path, sizes: TowerSizes) -> None:
    found = {
        "image size": sizes.resolution,
        "patch size": sizes.patch_size,
        "image tower's width": sizes.width,
        "image tower's number of heads": sizes.heads,
        "image tower's MLP width": sizes.mlp_width,
        "joint space's width": sizes.joint_width if sizes.joint_width is not None else 1,
    }
    for what, size in found.items():
        if not 1 <= size <= _MOST_SIZE:
            raise LiftError.at(file, f"the {what} is {size}, expected 1 to {_MOST_SIZE}", _WHOLE)
    if not 1 <= sizes.layers <= _MOST_LAYERS:
        raise LiftError.at(file, f"the image tower has {sizes.layers} layers, expected 1 to {_MOST_LAYERS}", _WHOLE)
    if sizes.layer_norm_eps <= 0:
        raise LiftError.at(file, f"layer_norm_eps is {sizes.layer_norm_eps}, expected a number above 0", _WHOLE)
