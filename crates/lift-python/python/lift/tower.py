"""The image tower (ViT) as PyTorch modules whose parameters have OpenAI's names, and the places where tuners hang in.

CLIP's tower has a LayerNorm before the blocks and a projection into the joint space; timm's has neither, and a bias
in its patch convolution. The classifier of LIFT sits on :meth:`VisionTower.forward`, the class token after the last
LayerNorm and before CLIP's image projection (arXiv 2309.10019, section 4). Invariant: LayerNorms compute in fp32,
whatever the weights' precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .sizes import TowerSizes

#: The factor of QuickGELU, ``x * sigmoid(1.702 x)``.
_QUICK_GELU = 1.702


class Hooks:
    """What a tuner may change in a block; this one changes nothing.

    ``place`` is ``attn_in_proj`` (query, key and value stacked), ``attn_out_proj``, ``mlp_in_proj`` or
    ``mlp_out_proj``; a parameter's name is one of these or ``norm1``, ``norm2`` with ``_weight`` or ``_bias``.
    """

    def change_tokens(self, x: Tensor) -> Tensor:
        """The tokens (b, n, d) that enter the block."""
        return x

    def change_parameter(self, name: str, frozen: Tensor) -> Tensor:
        """What stands in the place of one of the block's own tensors, in its shape and kind."""
        return frozen

    def change_linear(self, place: str, x: Tensor, output: Tensor) -> Tensor:
        """The output (b, n, out) of a linear whose input (b, n, in) is ``x``."""
        return output

    def change_mlp(self, tokens: Tensor, output: Tensor) -> Tensor:
        """The output (b, n, d) of the MLP, ``tokens`` being what the LayerNorm before it saw."""
        return output


_NOTHING = Hooks()


class LayerNorm(nn.LayerNorm):
    """LayerNorm over the last dimension, computed in fp32; the kind that comes in goes out."""

    def forward(self, x: Tensor) -> Tensor:
        return self.with_parameters(x, self.weight, self.bias)

    def with_parameters(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """The same with another scale and shift (d)."""
        return F.layer_norm(x.float(), self.normalized_shape, weight.float(), bias.float(), self.eps).to(x.dtype)


class Attention(nn.Module):
    """Multi-head self-attention with query, key and value in one product."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * width))
        self.out_proj = nn.Linear(width, width)
        self.heads = heads

    def forward(self, x: Tensor, wanted: int, hooks: Hooks) -> Tensor:
        """Normalised tokens (b, n, d) -> the first ``wanted`` of them (b, m, d), which look at all."""
        b, n, d = x.shape
        qkv = _linear(hooks, "attn_in_proj", x, self.in_proj_weight, self.in_proj_bias)
        q, k, v = (part.reshape(b, n, self.heads, d // self.heads).transpose(1, 2) for part in qkv.chunk(3, -1))
        mixed = F.scaled_dot_product_attention(q[:, :, :wanted], k, v)
        mixed = mixed.transpose(1, 2).reshape(b, -1, d)
        return _linear(hooks, "attn_out_proj", mixed, self.out_proj.weight, self.out_proj.bias)


class Mlp(nn.Module):
    """Two linears with the activation between."""

    def __init__(self, width: int, hidden: int, is_quick_gelu: bool) -> None:
        super().__init__()
        self.c_fc = nn.Linear(width, hidden)
        self.c_proj = nn.Linear(hidden, width)
        self.is_quick_gelu = is_quick_gelu

    def forward(self, x: Tensor, hooks: Hooks) -> Tensor:
        """Normalised tokens (b, n, d) -> (b, n, d)."""
        hidden = _linear(hooks, "mlp_in_proj", x, self.c_fc.weight, self.c_fc.bias)
        hidden = hidden * torch.sigmoid(_QUICK_GELU * hidden) if self.is_quick_gelu else F.gelu(hidden)
        return _linear(hooks, "mlp_out_proj", hidden, self.c_proj.weight, self.c_proj.bias)


class Block(nn.Module):
    """``x + attention(ln_1(x))``, then ``x + mlp(ln_2(x))``."""

    def __init__(self, sizes: TowerSizes) -> None:
        super().__init__()
        d, eps = sizes.width, sizes.layer_norm_eps
        self.ln_1 = LayerNorm(d, eps)
        self.attn = Attention(d, sizes.heads)
        self.ln_2 = LayerNorm(d, eps)
        self.mlp = Mlp(d, sizes.mlp_width, sizes.is_quick_gelu)

    def forward(self, x: Tensor, hooks: Hooks, only_first: bool) -> Tensor:
        """Tokens (b, n, d) -> (b, n, d), or of the first alone (b, 1, d)."""
        x = hooks.change_tokens(x)
        wanted = 1 if only_first else x.shape[1]
        x = x[:, :wanted] + self.attn(_norm(hooks, "norm1", x, self.ln_1), wanted, hooks)
        output = self.mlp(_norm(hooks, "norm2", x, self.ln_2), hooks)
        return x + hooks.change_mlp(x, output)


class VisionTower(nn.Module):
    """The image tower; its tensors are made by :func:`lift.model_file.open_tower`."""

    def __init__(self, sizes: TowerSizes) -> None:
        super().__init__()
        d, e = sizes.width, sizes.joint_width
        self.sizes = sizes
        # It holds the tensors; the patches do not overlap, so that a product does.
        self.conv1 = nn.Conv2d(3, d, sizes.patch_size, sizes.patch_size, bias=e is None)
        self.class_embedding = nn.Parameter(torch.empty(d))
        self.positional_embedding = nn.Parameter(torch.empty(sizes.tokens, d))
        self.ln_pre = LayerNorm(d, sizes.layer_norm_eps) if e is not None else None
        self.transformer = nn.ModuleDict({"resblocks": nn.ModuleList(Block(sizes) for _ in range(sizes.layers))})
        self.ln_post = LayerNorm(d, sizes.layer_norm_eps)
        self.proj = nn.Parameter(torch.empty(d, e)) if e is not None else None

    def forward(self, images: Tensor, hooks: Sequence[Hooks | None] = ()) -> Tensor:
        """Normalised images (b, 3, r, r) -> class-token features (b, d) after the last LayerNorm, fp32.

        ``hooks`` has what changes each block, or none for the frozen tower.
        """
        x = self.tokens(images)
        blocks = cast("list[Block]", self.transformer["resblocks"])
        for layer, block in enumerate(blocks):
            hook = hooks[layer] if hooks else None
            # Behind the last block nothing but the class token is looked at.
            x = block(x, _NOTHING if hook is None else hook, layer + 1 == len(blocks))
        # Cast before the LayerNorm: its fp32 result would be rounded back to the kind that comes in.
        features: Tensor = self.ln_post(x[:, 0].float())
        return features

    def tokens(self, images: Tensor) -> Tensor:
        """Normalised images (b, 3, r, r) -> the tokens (b, n, d) that enter the first block."""
        b, p, weight = len(images), self.sizes.patch_size, self.conv1.weight
        side = self.sizes.resolution // p
        patches = images.to(weight.dtype).reshape(b, 3, side, p, side, p).permute(0, 2, 4, 1, 3, 5)
        # A product, as the Rust has it, since convolutions on GPUs may round to TF32 by default.
        x = F.linear(patches.reshape(b, side * side, 3 * p * p), weight.flatten(1), self.conv1.bias)
        x = torch.cat([self.class_embedding.expand(b, 1, -1), x], 1) + self.positional_embedding
        return x if self.ln_pre is None else self.ln_pre(x)


def resampled_positions(positions: Tensor, side: int) -> Tensor:
    """Positions (1 + g², d), the class token's first -> (1 + side², d).

    The grid is resampled as an image is: bicubic, antialiased, in fp32; the class token's position stays as it is
    (timm's ``resample_abs_pos_embed``; Dosovitskiy et al. 2021, section 3.2).
    """
    grid, width = round((len(positions) - 1) ** 0.5), positions.shape[1]
    positions = positions.float()
    image = positions[1:].reshape(1, grid, grid, width).permute(0, 3, 1, 2)
    image = F.interpolate(image, (side, side), mode="bicubic", align_corners=False, antialias=True)
    return torch.cat([positions[:1], image.permute(0, 2, 3, 1).reshape(side * side, width)])


def _linear(hooks: Hooks, place: str, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    weight, bias = hooks.change_parameter(f"{place}_weight", weight), hooks.change_parameter(f"{place}_bias", bias)
    return hooks.change_linear(place, x, F.linear(x, weight, bias))


def _norm(hooks: Hooks, name: str, x: Tensor, norm: LayerNorm) -> Tensor:
    weight, bias = (
        hooks.change_parameter(f"{name}_weight", norm.weight),
        hooks.change_parameter(f"{name}_bias", norm.bias),
    )
    return norm.with_parameters(x, weight, bias)
