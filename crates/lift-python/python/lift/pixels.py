"""From an image to the tower's input, as the plain evaluation of ``lift-train`` looks at it.

The short side becomes r + r // 7 pixels, the square of r pixels in the middle is cut out, and channels are
normalised. Resizing is Pillow's: bicubic, antialiased, columns first, rounded to whole grey levels in between.
Transparency lies over white; colour profiles are ignored; a photo is turned as its EXIF data says. Pillow itself is
needed for its own images alone. Invariant: pixels outside the square never touch another image's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .error import LiftError


def preprocessed(image: Any, resolution: int, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """A Pillow image, or RGB bytes (h, w, 3) of NumPy or PyTorch -> normalised (3, r, r), fp32, on the CPU.

    Raises :class:`LiftError` for anything else.
    """
    pixels = _pixels(image).permute(2, 0, 1).float()
    height, width = pixels.shape[1:]
    short = resolution + resolution // 7
    # torchvision's rule: the long side is rounded down.
    size = [max(short * length // min(height, width), 1) for length in (height, width)]
    pixels = _resized(_resized(pixels, height, size[1]), *size)
    # Python rounds halves to even, and so does torchvision here.
    top, left = (round((length - resolution) / 2) for length in size)
    square = pixels[:, top : top + resolution, left : left + resolution]
    shift, scale = (torch.tensor(values, dtype=torch.float32).view(3, 1, 1) for values in (mean, std))
    return (square / 255 - shift) / scale


def _resized(pixels: Tensor, height: int, width: int) -> Tensor:
    """Grey levels (3, h, w) -> whole ones of another size."""
    resized = F.interpolate(pixels[None], (height, width), mode="bicubic", align_corners=False, antialias=True)[0]
    # Pillow adds a half and cuts, so that halves go up.
    return (resized + 0.5).floor().clamp(0, 255)


def _pixels(image: Any) -> Tensor:
    """RGB bytes (h, w, 3)."""
    if hasattr(image, "convert") and hasattr(image, "getbands"):
        image = _of_pillow(image)
    if not isinstance(image, Tensor):
        # A copy: Pillow's arrays cannot be written to, which PyTorch warns of.
        image = torch.from_numpy(np.array(image)) if isinstance(image, np.ndarray) else image
    if not isinstance(image, Tensor) or image.dtype is not torch.uint8 or image.dim() != 3 or image.shape[2] != 3:
        found = f"{image.dtype} of shape {list(image.shape)}" if isinstance(image, Tensor) else type(image).__name__
        raise LiftError.at("image", f"is {found}", "give a Pillow image, or RGB bytes (h, w, 3) from 0 to 255")
    if 0 in image.shape:
        raise LiftError.at("image", f"has no pixels (shape {list(image.shape)})", "give an image with width and height")
    return image.cpu()


def _of_pillow(image: Any) -> Any:
    """The bytes of a Pillow image (h, w, 3), of any mode."""
    from PIL import ImageOps

    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        # 16 bits a pixel, which Pillow's own conversion cuts off at 255.
        grey = (np.asarray(image).astype(np.int64).clip(0, 65535) + 128) // 257
        return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
    if "A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info:
        rgba = np.asarray(image.convert("RGBA")).astype(np.int64)
        colour, opacity = rgba[..., :3], rgba[..., 3:]
        return ((colour * opacity + 255 * (255 - opacity) + 127) // 255).astype(np.uint8)
    return np.asarray(image.convert("RGB"))
