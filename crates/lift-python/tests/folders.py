"""Folders that the tests read: golden values, and runs that are written with the standard library and PyTorch."""

from __future__ import annotations

import json
import sys
import unittest
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

try:
    import lift  # noqa: F401
except ModuleNotFoundError:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))

#: Results must not depend on how many threads sum, and the machine may be shared.
torch.set_num_threads(1)

REPOSITORY = Path(__file__).resolve().parents[3]
GOLDEN = REPOSITORY.parent / "shared" / "golden"

_KINDS = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64", torch.bool: "BOOL"}


def golden(name: str) -> Path:
    """A file or folder of golden values; the test is skipped where they are not."""
    path = GOLDEN / name
    if not path.exists():
        reason = f"no golden values at {path}"
        print(f"skipped: {reason}", file=sys.stderr)
        raise unittest.SkipTest(reason)
    return path


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata."""
    from lift.tensor_file import TensorFile

    file = TensorFile.read(path)
    return file.tensors, file.metadata


def write_safetensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> Path:
    """A safetensors file."""
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    parts, end = [], 0
    for name, tensor in tensors.items():
        data = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        header[name] = {
            "dtype": _KINDS[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [end, end + len(data)],
        }
        end += len(data)
        parts.append(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(parts))
    return path


def write_run(run: Path, model: str | Path, tensors: dict[str, Tensor], num_classes: int, **settings: Any) -> Path:
    """A run's folder; ``settings`` are further ones of ``config.toml``."""
    run.mkdir(parents=True, exist_ok=True)
    lines = {"model": str(model), **settings}
    (run / "config.toml").write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in lines.items()))
    metadata = {
        "format": "lift-tuned/1",
        "class_names": json.dumps([f"class {label}" for label in range(num_classes)]),
        "class_counts": json.dumps([label + 1 for label in range(num_classes)]),
        "class_hash": "0123456789abcdef",
        "template": "a photo of a {}.",
    }
    write_safetensors(run / "tuned.safetensors", tensors, metadata)
    return run


def tiny_clip(seed: int = 0, side: int = 3) -> dict[str, Tensor]:
    """A CLIP's image tower with random values in OpenAI's names: width 64, 2 blocks, patches of 4 pixels, a joint space
    of 16.
    """
    random = torch.Generator().manual_seed(seed)

    def values(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random) * 0.1

    tensors = {
        "visual.conv1.weight": values(64, 3, 4, 4),
        "visual.class_embedding": values(64),
        "visual.positional_embedding": values(1 + side * side, 64),
        "visual.proj": values(64, 16),
        # Of the text tower, which is not read.
        "logit_scale": torch.tensor(2.0),
        "transformer.resblocks.0.ln_1.weight": values(8),
        "token_embedding.weight": values(5, 8),
    }
    for norm in ("ln_pre", "ln_post"):
        tensors |= {f"visual.{norm}.weight": 1 + values(64), f"visual.{norm}.bias": values(64)}
    for layer in range(2):
        block = f"visual.transformer.resblocks.{layer}"
        for norm in ("ln_1", "ln_2"):
            tensors |= {f"{block}.{norm}.weight": 1 + values(64), f"{block}.{norm}.bias": values(64)}
        tensors |= {f"{block}.attn.in_proj_weight": values(192, 64), f"{block}.attn.in_proj_bias": values(192)}
        tensors |= {f"{block}.attn.out_proj.weight": values(64, 64), f"{block}.attn.out_proj.bias": values(64)}
        tensors |= {f"{block}.mlp.c_fc.weight": values(96, 64), f"{block}.mlp.c_fc.bias": values(96)}
        tensors |= {f"{block}.mlp.c_proj.weight": values(64, 96), f"{block}.mlp.c_proj.bias": values(64)}
    return tensors
