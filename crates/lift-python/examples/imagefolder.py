"""From torchvision's ImageFolder to LIFT: a plain PyTorch loop, in which only the lines that make batches are others.

Before::

    crops = transforms.Compose([transforms.RandomResizedCrop(32), transforms.PILToTensor()])
    dataset = datasets.ImageFolder("photos/train", crops)
    train = DataLoader(dataset, 64, shuffle=True, num_workers=8, pin_memory=True, persistent_workers=True)
    names = dataset.classes

After: ``lift-data build folder --source photos --out shards``, once, and::

    train = lift.Loader("shards", 64, split="train", resolution=32)
    names = train.shards.class_names

The loop is the same. There are no worker processes: threads decode and crop, and hand over whole batches.
"""

from __future__ import annotations

import argparse
from itertools import chain, islice, repeat

import lift
import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIDE = 32


class SmallNet(nn.Module):
    """Pixels (b, 3, r, r), uint8 -> logits (b, K): three convolutions, and the mean over all places."""

    def __init__(self, num_classes: int, width: int = 32) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *self.stage(3, width),
            *self.stage(width, 2 * width),
            *self.stage(2 * width, 4 * width),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4 * width, num_classes),
        )

    @staticmethod
    def stage(ins: int, outs: int) -> list[nn.Module]:
        return [nn.Conv2d(ins, outs, 3, 2, 1), nn.GroupNorm(8, outs), nn.ReLU()]

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.layers(pixels.float() / 127.5 - 1)
        return logits


@torch.no_grad()
def evaluate(model: nn.Module, shards: str) -> tuple[float, float]:
    """Mean loss and accuracy on the test split."""
    test = lift.Loader(shards, 256, split="test", view="center", resolution=SIDE)
    loss = correct = 0.0
    for pixels, labels in test:
        logits = model(pixels)
        loss += F.cross_entropy(logits, labels, reduction="sum").item()
        correct += (logits.argmax(-1) == labels).sum().item()
    return loss / len(test.shards), correct / len(test.shards)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", required=True, help="the folder that `lift-data build --out` made")
    parser.add_argument("--steps", type=int, default=100)
    options = parser.parse_args()

    torch.manual_seed(0)
    train = lift.Loader(options.shards, 64, split="train", resolution=SIDE)
    # Logit adjustment: the frequent classes are given to the loss for nothing, so that the rare ones are learned too.
    prior = torch.from_numpy(train.shards.class_counts).float().log()
    model = SmallNet(len(train.shards.class_names))
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)

    before, _ = evaluate(model, options.shards)
    # A loop over the loader is an epoch; these are as many as the steps take.
    for pixels, labels in islice(chain.from_iterable(repeat(train)), options.steps):
        loss = F.cross_entropy(model(pixels) + prior, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    after, accuracy = evaluate(model, options.shards)
    print(f"loss {before:.3f} -> {after:.3f}, accuracy {accuracy:.1%}, after {options.steps} steps")


if __name__ == "__main__":
    main()
