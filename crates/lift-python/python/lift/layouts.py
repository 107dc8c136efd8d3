"""Checkpoint layouts -> one set of names, OpenAI's (``transformer.resblocks.0.attn.in_proj_weight``).

Hugging Face's ``CLIPModel`` has query, key and value apart, which are stacked here, and its projection as (out, in),
which is transposed; timm's ``VisionTransformer`` has other names. What belongs to the text tower is dropped.
Invariant: a tensor that belongs to neither tower is kept, so that it is found to be left over.
"""

from __future__ import annotations

import re
from enum import Enum
from pathlib import Path

import torch
from torch import Tensor

from .error import LiftError


class Layout(Enum):
    """Which names a file uses."""

    HUGGING_FACE = "Hugging Face CLIPModel"
    OPENAI = "OpenAI and open_clip"
    TIMM = "timm VisionTransformer"


#: Buffers that published checkpoints carry and no tower uses.
_UNUSED = {
    "text_model.embeddings.position_ids",
    "vision_model.embeddings.position_ids",
    "input_resolution",
    "context_length",
    "vocab_size",
}

#: The text tower, which a tuned model does not need: its class texts are kept.
_TEXT_TOWER = (
    "text_model.",
    "text_projection",
    "logit_scale",
    "token_embedding.",
    "positional_embedding",
    "transformer.resblocks.",
    "ln_final.",
)

_HUGGING_FACE = (
    ("vision_model.embeddings.class_embedding", "class_embedding"),
    ("vision_model.embeddings.patch_embedding.weight", "conv1.weight"),
    ("vision_model.embeddings.position_embedding.weight", "positional_embedding"),
    ("visual_projection.weight", "proj"),
    ("vision_model.encoder.layers.", "transformer.resblocks."),
    # The misspelling is Hugging Face's.
    ("vision_model.pre_layrnorm.", "ln_pre."),
    ("vision_model.post_layernorm.", "ln_post."),
    (".self_attn.out_proj.", ".attn.out_proj."),
    (".layer_norm1.", ".ln_1."),
    (".layer_norm2.", ".ln_2."),
    (".mlp.fc1.", ".mlp.c_fc."),
    (".mlp.fc2.", ".mlp.c_proj."),
)

_ATTENTION_INPUT = re.compile(r"(?P<stem>.+)\.self_attn\.[qkv]_proj\.(?P<end>[^.]+)")

_TIMM = (
    ("cls_token", "class_embedding"),
    ("pos_embed", "positional_embedding"),
    ("patch_embed.proj.", "conv1."),
    (".norm1.", ".ln_1."),
    (".attn.qkv.", ".attn.in_proj_"),
    (".attn.proj.", ".attn.out_proj."),
    (".norm2.", ".ln_2."),
    (".mlp.fc1.", ".mlp.c_fc."),
    (".mlp.fc2.", ".mlp.c_proj."),
    ("blocks.", "transformer.resblocks."),
)


def layout_of(path: Path, tensors: dict[str, Tensor]) -> Layout:
    """The layout, by the class token's name. Raises :class:`LiftError` when it is none of the three."""
    if "vision_model.embeddings.class_embedding" in tensors:
        return Layout.HUGGING_FACE
    if "visual.class_embedding" in tensors:
        return Layout.OPENAI
    if "cls_token" in tensors:
        return Layout.TIMM
    first = next(iter(tensors), "no tensors")
    hint = (
        "expected Hugging Face CLIPModel names (vision_model.…), OpenAI / open_clip names (visual.…) "
        f"or timm ViT names (cls_token, blocks.…); the file has {first!r}"
    )
    raise LiftError.at(path, "unknown checkpoint layout", hint)


def image_tower(path: Path, layout: Layout, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The image tower's tensors in OpenAI's names, without their ``visual.``; what is left over keeps its own.

    Raises :class:`LiftError` when a query, key or value projection is missing or unlike the other two.
    """
    tensors = {name: tensor for name, tensor in tensors.items() if name not in _UNUSED}
    match layout:
        case Layout.OPENAI:
            return {n.removeprefix("visual."): t for n, t in tensors.items() if not n.startswith(_TEXT_TOWER)}
        case Layout.HUGGING_FACE:
            return _of_hugging_face(path, {n: t for n, t in tensors.items() if not n.startswith(_TEXT_TOWER)})
        case Layout.TIMM:
            return _of_timm(tensors)


def _of_hugging_face(path: Path, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    renamed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        split = _ATTENTION_INPUT.fullmatch(name)
        if split:
            stem, end = split["stem"], split["end"]
            key = f"{_replaced(stem, _HUGGING_FACE)}.attn.in_proj_{end}"
            # The first of the three that the file has stacks them.
            if key not in renamed:
                renamed[key] = _stacked(path, tensors, stem, end)
        elif name == "visual_projection.weight" and tensor.dim() == 2:
            renamed["proj"] = tensor.T.contiguous()
        else:
            renamed[_replaced(name, _HUGGING_FACE)] = tensor
    return renamed


def _stacked(path: Path, tensors: dict[str, Tensor], stem: str, end: str) -> Tensor:
    """Query, key and value of a block, one below the other."""
    names = [f"{stem}.self_attn.{part}_proj.{end}" for part in "qkv"]
    hint = "the tensors and the config.json must come from the same, whole model"
    parts: list[Tensor] = []
    for name in names:
        if name not in tensors:
            raise LiftError.at(path, f"{name}: missing", hint)
        parts.append(tensors[name])
        if parts[-1].dim() != (1 if end == "bias" else 2):
            raise LiftError.at(path, f"{name}: shape {list(parts[-1].shape)} has too few or too many dimensions", hint)
        if parts[-1].shape != parts[0].shape:
            shapes = f"shape {list(parts[-1].shape)}, but the block's other projections have {list(parts[0].shape)}"
            raise LiftError.at(path, f"{name}: {shapes}", hint)
    return torch.cat(parts)


def _of_timm(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    renamed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        # The classifier of the pre-training is not read.
        if name.startswith(("head.", "pre_logits.")):
            continue
        # timm keeps a leading dimension of one for the batch.
        if name == "cls_token" and tensor.dim() == 3 and tensor.shape[:2] == (1, 1):
            tensor = tensor[0, 0]
        elif name == "pos_embed" and tensor.dim() == 3 and tensor.shape[0] == 1:
            tensor = tensor[0]
        if name in ("norm.weight", "norm.bias"):
            name = name.replace("norm.", "ln_post.")
        elif name.startswith(("blocks.", "cls_token", "pos_embed", "patch_embed.proj.")):
            name = _replaced(name, _TIMM)
        renamed[name] = tensor.contiguous()
    return renamed


def _replaced(name: str, pairs: tuple[tuple[str, str], ...]) -> str:
    for ours, theirs in pairs:
        name = name.replace(ours, theirs)
    return name
