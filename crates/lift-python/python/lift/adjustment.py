"""``adjust.toml`` of a run: what is added to its logits, and what they are divided by, chosen after training.

The adjusted logits are ``(z + b) / T``, b one number a class (Menon et al. 2021, arXiv 2007.07314, section 3) and T
the temperature (Guo et al. 2017). Where class texts are kept beside it, z has the zero-shot logits of the model
before tuning in it (Generalised Logit Adjustment, Zhu et al. 2023, arXiv 2310.08106). Invariant: what is read belongs
to the run's tuned tensors, byte for byte, and has a finite number for each class.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from . import file_hash
from .classifiers import cosine
from .head_file import HeadFile
from .text_file import Entries, read_toml

FILE = "adjust.toml"
TEXTS = "adjust-texts.safetensors"

_FORMAT = "lift-adjust/1"
_KEYS = {"format", "tool_version", "class_hash", "tuned", "temperature", "bias", "texts", "chosen"}


class Adjustment(nn.Module):
    """What is done to the logits."""

    bias: Tensor
    texts: Tensor | None

    def __init__(self, bias: Tensor, temperature: float, texts: Tensor | None, text_scale: float) -> None:
        super().__init__()
        self.temperature, self.text_scale = temperature, text_scale
        self.register_buffer("bias", bias)
        self.register_buffer("texts", texts)

    def forward(self, logits: Tensor, embeds: Tensor | None) -> Tensor:
        """Logits (b, K) -> adjusted logits (b, K), fp32.

        ``embeds`` are the frozen model's embeddings of the images (b, e), where class texts are kept.
        """
        if self.texts is not None and embeds is not None:
            logits = logits + cosine(embeds, self.texts, self.text_scale)
        return (logits.float() + self.bias.float()) / self.temperature


def of_run(
    run: Path, tuned: Path, class_names: list[str], class_hash: str, joint_width: int | None
) -> Adjustment | None:
    """The adjustment that a run keeps; none where it keeps none. ``tuned`` is its file of tuned tensors.

    Raises :class:`LiftError` when it cannot be read, or is not of the run's tuned tensors.
    """
    path = run / FILE
    if not path.exists():
        return None
    hint = f"`lift-train adjust {run}` chooses it anew, with --reset it removes it; adjust=False leaves it out"
    table = read_toml(path, hint)
    entries = Entries(path, table, hint)
    if unknown := sorted(set(table) - _KEYS):
        raise entries.bad(f"unknown field {unknown[0]}")
    if (found := entries.text("format")) != _FORMAT:
        raise entries.bad(f"format {found}, expected {_FORMAT}")
    if entries.text("tuned") != file_hash.of_file(tuned):
        raise entries.bad(f"it was chosen for another {tuned.name} than the run has")
    bias, temperature = entries.numbers("bias"), entries.number("temperature")
    if len(bias) != len(class_names) or entries.text("class_hash") != class_hash:
        raise entries.bad(f"it is for {len(bias)} other classes, the run has {len(class_names)}")
    if not all(abs(value) < 1e6 for value in bias) or not 1e-6 <= temperature <= 1e6:
        raise entries.bad("a bias or the temperature is no usable number")
    texts, scale = None, 1.0
    if entries.has("texts"):
        kept = run / TEXTS
        if not kept.is_file() or file_hash.of_file(kept) != entries.text("texts"):
            raise entries.bad(f"{TEXTS} is not what it was chosen with")
        head = HeadFile.read(kept)
        texts, scale = head.texts_for(len(class_names), joint_width), head.logit_scale
    return Adjustment(torch.tensor(bias, dtype=torch.float32), temperature, texts, scale)
