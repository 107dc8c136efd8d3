"""What is tuned between the two towers of a CLIP, where class texts classify.

Image embeddings are compared with class texts in the joint space. Tuned there are the image projection, an adapter
behind it (CLIP-Adapter, Gao et al. 2021, arXiv 2110.04544; or that of the LIFT+ authors' code), and what makes the
class texts: learned words (CoOp, Zhou et al. 2022, arXiv 2109.01134), or the text tower's projection with an adapter.
The file has the class texts that the latter came to, so that they are kept here and nothing encodes them again: to
tune them further needs the trainer. Invariant: what is registered here has the file's names.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .tensor_tree import picked, plant
from .tuners import BOTTLENECK, bottleneck, fitting

#: Share of the adapter's output in the embedding (CLIP-Adapter, section 3.2).
_ADAPTER_SHARE = 0.2

_PROJECTION = {"image_projection": ("w", "e")}
_ADAPTER = {"clip_adapter.down.weight": ("r", "e"), "clip_adapter.up.weight": ("e", "r")}
_RESIDUAL = {
    f"image_adapter.{name}": tuple("e" if n == "w" else n for n in shape) for name, shape in BOTTLENECK.items()
}
_TUNED = (_PROJECTION, _ADAPTER, _RESIDUAL)

#: What made the class texts, n learned words or the text tower's own width t.
_BEHIND_TEXTS = (
    {"prompt_learner.ctx": ("n", "t")},
    {"text_projection": ("t", "e")},
    {f"text_adapter.{name}": tuple("e" if n == "w" else n for n in shape) for name, shape in BOTTLENECK.items()},
)


def take(root: nn.Module, tensors: dict[str, Tensor], width: int, joint_width: int | None) -> None:
    """Takes the parts out of a run's tensors and registers them below ``root``.

    Raises :class:`ValueError`, whose text says what, when one is missing, does not fit, or the tower has no joint
    space.
    """
    lengths = {"w": width, "e": joint_width or 0}
    for tables, is_tuned in ((_TUNED, True), (_BEHIND_TEXTS, False)):
        for table in tables:
            for name, tensor in fitting("", tensors, table, lengths).items():
                del tensors[name]
                plant(root, name, tensor, is_tuned)


def embed(root: nn.Module, features: Tensor, proj: Tensor) -> Tensor:
    """Features (b, d) -> embeddings in the joint space (b, e), not normalised, fp32.

    ``proj`` is the tower's own projection (d, e), ``root`` what :func:`take` has put the parts into.
    """
    if hasattr(root, "image_projection"):
        proj = picked(root, "image_projection")
    embeds = features.float() @ proj.float()
    if hasattr(root, "image_adapter"):
        return embeds + bottleneck(embeds, lambda name: picked(root, f"image_adapter.{name}").float())
    if hasattr(root, "clip_adapter"):
        down, up = (picked(root, name).float() for name in _ADAPTER)
        adapted = F.relu(F.relu(embeds @ down.T) @ up.T)
        return _ADAPTER_SHARE * adapted + (1.0 - _ADAPTER_SHARE) * embeds
    return embeds
