"""The tuned model: frozen tower, what is tuned around it, and the adjustment of its logits.

Parameters have names: those below ``visual.`` are the frozen tower's, in OpenAI's names; those below ``adjustment.``
an adjustment's; all others have the names of ``tuned.safetensors`` (docs/run-format.md). Invariant: what is tuned
requires gradients, the tower does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from . import joint
from .adjustment import Adjustment
from .classifiers import Classifier, cosine
from .error import LiftError
from .pixels import preprocessed
from .tower import VisionTower
from .tuners import ImageEncoder


@dataclass(frozen=True)
class About:
    """What a run says of itself besides its tensors."""

    class_names: Sequence[str]
    class_counts: Sequence[int]
    template: str
    mean: tuple[float, ...]
    std: tuple[float, ...]


class TunedModel(nn.Module):
    """A tuned image classifier, as :func:`lift.load` gives it.

    - ``class_names``: names in label order, K of them; ``class_counts``: training images of each.
    - ``resolution``: the side r of its input in pixels; ``mean``, ``std``: what pixels in 0..1 are normalised with,
      by channel.
    - ``template``: the prompt of the classifier that training started from, ``{}`` standing for the name, or how else
      it was made.
    """

    class_texts: Tensor

    def __init__(
        self,
        visual: VisionTower,
        image_encoder: ImageEncoder,
        classifier: Classifier | None,
        text_scale: float,
        about: About,
    ) -> None:
        super().__init__()
        self.visual, self.image_encoder = visual, image_encoder
        #: None where class texts classify.
        self.classifier = classifier
        self.adjustment: Adjustment | None = None
        self.text_scale = text_scale
        self.class_names, self.class_counts = list(about.class_names), list(about.class_counts)
        self.template, self.mean, self.std = about.template, about.mean, about.std

    @property
    def resolution(self) -> int:
        """The side r of the square input in pixels."""
        return self.visual.sizes.resolution

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (b, 3, r, r) -> logits (b, K), fp32, adjusted where the run keeps an adjustment.

        Raises :class:`LiftError` when the images have another shape.
        """
        features = self.features(images)
        if self.classifier is not None:
            logits: Tensor = self.classifier(features)
        else:
            assert self.visual.proj is not None
            logits = cosine(joint.embed(self, features, self.visual.proj), self.class_texts, self.text_scale)
        if self.adjustment is None:
            return logits
        embeds = None
        if self.adjustment.texts is not None and self.visual.proj is not None:
            # The zero-shot logits are those of the model before tuning.
            frozen = self.visual(images) if self.image_encoder.hooks() else features
            embeds = frozen @ self.visual.proj.float()
        adjusted: Tensor = self.adjustment(logits, embeds)
        return adjusted

    def features(self, images: Tensor) -> Tensor:
        """Normalised images (b, 3, r, r) -> class-token features of the tuned tower (b, d), fp32.

        They are those after its last LayerNorm, before CLIP's image projection: what the classifier looks at.
        Raises :class:`LiftError` when the images have another shape.
        """
        r = self.resolution
        if images.dim() != 4 or list(images.shape[1:]) != [3, r, r]:
            hint = "preprocess gives one image (3, r, r), torch.stack makes a batch of several"
            raise LiftError.at("images", f"shape {list(images.shape)}, expected (b, 3, {r}, {r})", hint)
        features: Tensor = self.visual(images, self.image_encoder.hooks())
        return features

    @torch.no_grad()
    def predict_proba(self, images: Tensor) -> Tensor:
        """Normalised images (b, 3, r, r) -> probabilities (b, K), fp32, rows that sum to 1; without gradients.

        Raises :class:`LiftError` when the images have another shape.
        """
        probabilities: Tensor = self(images).softmax(-1)
        return probabilities

    def preprocess(self, image: Any) -> Tensor:
        """A Pillow image, or RGB bytes (h, w, 3) of NumPy or PyTorch -> a normalised image (3, r, r), fp32, CPU.

        It is the plain evaluation's view: the short side to r + r // 7 pixels, bicubic and antialiased, the square of
        r in the middle. Raises :class:`LiftError` for anything else.
        """
        return preprocessed(image, self.resolution, self.mean, self.std)
