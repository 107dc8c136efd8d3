"""Lightweight modules in the tower's blocks: which tensors each has, and what it does to a block.

Which module it is follows from the tensors' names, what size from their shapes (docs/run-format.md has the tables; a
tuner's paper is named at its method). Invariant: a block has all tensors of a module or none, each in the shape that
its table asks for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .sizes import TowerSizes
from .tensor_tree import picked, plant
from .tower import Hooks

_BLOCKS = "image_encoder.blocks."
_IN_BLOCK = re.compile(re.escape(_BLOCKS) + r"(\d+)\.(.+)")

#: Of the modules' own LayerNorms.
_LAYER_NORM_EPS = 1e-5

#: The six tensors of a bottleneck, w being the width of what it works on.
BOTTLENECK = {
    "norm.weight": ("w",),
    "norm.bias": ("w",),
    "down.weight": ("r", "w"),
    "down.bias": ("r",),
    "up.weight": ("w", "r"),
    "up.bias": ("w",),
}

#: The linears of a block: module, linear, and the letters of its output and input.
_LINEARS = (
    ("attn", "in_proj", "q", "w"),
    ("attn", "out_proj", "w", "w"),
    ("mlp", "in_proj", "h", "w"),
    ("mlp", "out_proj", "w", "h"),
)


def _lora(name: str, into: str, out: str) -> dict[str, tuple[str, ...]]:
    return {f"{name}.down": (into, "r"), f"{name}.up": ("r", out)}


#: Tensors that belong together: w is the tower's width, h that of the MLP, q three times w, r the module's own size.
_TOGETHER: tuple[dict[str, tuple[str, ...]], ...] = (
    {"prompt": ("r", "w")},
    *(_lora(f"attn.lora.{part}", "w", "w") for part in ("q", "k", "v", "out_proj")),
    _lora("mlp.lora.in_proj", "w", "h"),
    _lora("mlp.lora.out_proj", "h", "w"),
    {f"{module}.ssf.{linear}.{end}": (out,) for module, linear, out, _ in _LINEARS for end in ("scale", "shift")},
    {f"mlp.adapter.{name}": shape for name, shape in BOTTLENECK.items()},
    {f"adaptformer.{name}": shape for name, shape in BOTTLENECK.items()} | {"adaptformer.scale": ()},
)

#: The block's own tensors, which ``full``, ``bitfit`` and ``layer-norm`` tune copies of: any of them may be there.
_OWN: dict[str, tuple[str, ...]] = {
    **{f"{module}_{linear}_weight": (out, into) for module, linear, out, into in _LINEARS},
    **{f"{module}_{linear}_bias": (out,) for module, linear, out, _ in _LINEARS},
    **{f"{norm}_{end}": ("w",) for norm in ("norm1", "norm2") for end in ("weight", "bias")},
}

#: The own tensor of which a mask of AFT says the tuned entries -> the stem of the names of mask and entries.
_AFT = {
    f"{module}_{linear}_{end}": f"{module}.aft.{linear}.masked_{end}"
    for module, linear, _, _ in _LINEARS
    for end in ("weight", "bias")
}


class BlockModules(nn.Module, Hooks):
    """What is tuned in one block."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self._names = frozenset(tensors)
        #: How many tokens earlier blocks have put between the class token and the patches.
        self.prompts_before = 0
        for name, tensor in tensors.items():
            plant(self, name, tensor, is_tuned=tensor.dtype is not torch.bool)

    def change_tokens(self, x: Tensor) -> Tensor:
        """VPT (Jia et al. 2022, arXiv 2203.12119).

        Tokens behind the class token, in the place of those that earlier blocks have put there.
        """
        if "prompt" not in self._names:
            return x
        prompt = picked(self, "prompt").to(x.dtype).expand(len(x), -1, -1)
        return torch.cat([x[:, :1], prompt, x[:, 1 + self.prompts_before :]], 1)

    def change_parameter(self, name: str, frozen: Tensor) -> Tensor:
        """Full tuning, BitFit (Ben Zaken et al. 2022, arXiv 2106.10199), LayerNorm tuning; AFT (LIFT, section 4.1).

        A tuned copy of the tensor, and tuned entries of it in row-major order where a mask says so.
        """
        if name in self._names:
            frozen = picked(self, name).to(frozen.dtype)
        stem = _AFT.get(name)
        if stem is not None and f"{stem}.mask" in self._names:
            entries = picked(self, f"{stem}.optimized_params")
            frozen = frozen.masked_scatter(picked(self, f"{stem}.mask"), entries.to(frozen.dtype))
        return frozen

    def change_linear(self, place: str, x: Tensor, output: Tensor) -> Tensor:
        """LoRA (Hu et al. 2022, arXiv 2106.09685), then SSF (Lian et al. 2022, arXiv 2210.08823).

        ``x down up / r`` is added to the output, and what comes out is ``y * scale + shift``.
        """
        module, linear = place.split("_", 1)
        if place == "attn_in_proj":
            updates = [self._lora(f"attn.lora.{part}", x) for part in "qkv"]
            if any(update is not None for update in updates):
                parts = zip(output.chunk(3, -1), updates)
                output = torch.cat([part if update is None else part + update for part, update in parts], -1)
        elif (update := self._lora(f"{module}.lora.{linear}", x)) is not None:
            output = output + update
        ssf = f"{module}.ssf.{linear}"
        if f"{ssf}.scale" in self._names:
            output = output * picked(self, f"{ssf}.scale").to(x.dtype) + picked(self, f"{ssf}.shift").to(x.dtype)
        return output

    def change_mlp(self, tokens: Tensor, output: Tensor) -> Tensor:
        """Adapter (Houlsby et al. 2019, arXiv 1902.00751), then AdaptFormer (Chen et al. 2022, arXiv 2205.13535).

        A bottleneck of the MLP's output is added to it, and one of the tokens, times a learned number.
        """
        if "mlp.adapter.down.weight" in self._names:
            output = output + bottleneck(output, lambda name: picked(self, f"mlp.adapter.{name}"))
        if "adaptformer.down.weight" in self._names:
            added = bottleneck(tokens, lambda name: picked(self, f"adaptformer.{name}"))
            output = output + picked(self, "adaptformer.scale").to(added.dtype) * added
        return output

    def _lora(self, name: str, x: Tensor) -> Tensor | None:
        if f"{name}.down" not in self._names:
            return None
        down, up = picked(self, f"{name}.down"), picked(self, f"{name}.up")
        return x @ down.to(x.dtype) @ up.to(x.dtype) / down.shape[1]


class ImageEncoder(nn.Module):
    """What is tuned in the tower's blocks; ``blocks`` has the number of a block -> its modules."""

    def __init__(self, blocks: Mapping[int, BlockModules], layers: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleDict({str(layer): blocks[layer] for layer in sorted(blocks)})
        self._layers = layers

    def hooks(self) -> Sequence[Hooks | None]:
        """What changes each block of the tower; empty where nothing does."""
        blocks = cast("dict[str, BlockModules]", self.blocks)
        if not blocks:
            return ()
        names = (str(layer) for layer in range(self._layers))
        return [blocks[name] if name in blocks else None for name in names]  # noqa: SIM401


def bottleneck(x: Tensor, tensor: Callable[[str], Tensor]) -> Tensor:
    """``up(relu(down(LN(x))))``: (…, w) -> (…, w), in the kind that comes in.

    ``tensor`` gives the tensors of :data:`BOTTLENECK` by name.
    """
    kind, width = x.dtype, x.shape[-1:]
    weight, bias = tensor("norm.weight").float(), tensor("norm.bias").float()
    x = F.layer_norm(x.float(), width, weight, bias, _LAYER_NORM_EPS).to(kind)
    hidden = F.relu(F.linear(x, tensor("down.weight").to(kind), tensor("down.bias").to(kind)))
    return F.linear(hidden, tensor("up.weight").to(kind), tensor("up.bias").to(kind))


def take(tensors: dict[str, Tensor], sizes: TowerSizes) -> ImageEncoder:
    """Takes the tensors of blocks out of a run's, for a tower of these sizes.

    Raises :class:`ValueError`, whose text says what, when one is missing, left over, of another shape, or for a block
    that is not there.
    """
    found: dict[int, dict[str, Tensor]] = {}
    for name in [name for name in tensors if name.startswith(_BLOCKS)]:
        split = _IN_BLOCK.fullmatch(name)
        if split is None:
            raise ValueError(f"{name} belongs to no known tuner")
        layer = int(split[1])
        if layer >= sizes.layers:
            raise ValueError(f"{name} is for block {layer}, the model has {sizes.layers}")
        found.setdefault(layer, {})[split[2]] = tensors.pop(name)
    blocks = {layer: BlockModules(_checked(f"{_BLOCKS}{layer}.", block, sizes)) for layer, block in found.items()}
    prompts = 0
    for layer in sorted(blocks):
        blocks[layer].prompts_before = prompts
        if "prompt" in found[layer]:
            prompts = len(found[layer]["prompt"])
    return ImageEncoder(blocks, sizes.layers)


def fitting(
    prefix: str, tensors: Mapping[str, Tensor], table: Mapping[str, tuple[str, ...]], lengths: Mapping[str, int]
) -> dict[str, Tensor]:
    """The tensors that a table asks for, in fp32; none where none of them is there.

    Letters that ``lengths`` does not have take the length that they first have in a tensor. Raises
    :class:`ValueError` when one is missing or of another shape; ``prefix`` stands before its name in the message.
    """
    if not any(name in tensors for name in table):
        return {}
    known, taken = dict(lengths), {}
    for name, letters in table.items():
        if name not in tensors:
            raise ValueError(f"{prefix}{name} is missing")
        shape = list(tensors[name].shape)
        for letter, length in zip(letters, shape):
            known.setdefault(letter, length)
        wanted = [known.get(letter) for letter in letters]
        if shape != wanted:
            raise ValueError(f"{prefix}{name} has shape {shape}, the model needs {wanted}")
        taken[name] = tensors[name].float()
    return taken


def _checked(prefix: str, block: dict[str, Tensor], sizes: TowerSizes) -> dict[str, Tensor]:
    """The tensors of a block as the tables ask for them."""
    lengths = {"w": sizes.width, "h": sizes.mlp_width, "q": 3 * sizes.width}
    taken: dict[str, Tensor] = {}
    for table in (*_TOGETHER, *({name: letters} for name, letters in _OWN.items())):
        taken |= fitting(prefix, block, table, lengths)
    for own, stem in _AFT.items():
        mask, entries = f"{stem}.mask", f"{stem}.optimized_params"
        together = {mask: _OWN[own], entries: ("m",)}
        if mask in block and block[mask].dtype is not torch.bool:
            raise ValueError(f"{prefix}{mask} is no mask, its kind is not bool")
        known = {"m": int(block[mask].sum())} if mask in block else {}
        pair = fitting(prefix, block, together, lengths | known)
        if pair:
            taken |= {mask: block[mask], entries: pair[entries]}
    left = [name for name in block if name not in taken]
    if left:
        raise ValueError(f"{prefix}{left[0]} belongs to no known tuner")
    return taken
