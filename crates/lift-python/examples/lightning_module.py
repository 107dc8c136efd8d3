"""Lightning with LIFT's loader: a LightningModule, a LightningDataModule, and a run that goes on from its checkpoint.

Lightning keeps the loader's place in its checkpoints and gives it back, because the loader has ``state_dict`` and
``load_state_dict``. A run that was stopped within an epoch goes on with the next batch, and ends with the same weights
as one that was not. Half of the steps are trained here, then the rest by objects that know of the checkpoint alone.

The file is not called lightning.py, for Python would take it for the package.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import warnings
from pathlib import Path
from typing import Any

import lift
import lightning
import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIDE = 32


class Shards(lightning.LightningDataModule):
    """Loaders of the splits. ``batch_size`` is that of all processes together, each of which gets its part."""

    def __init__(self, shards: str, batch_size: int) -> None:
        super().__init__()
        self.shards, self.batch_size = shards, batch_size
        self.train = lift.Shards(shards, "train")

    def train_dataloader(self) -> lift.Loader:
        # Without a last part, which may be empty for some processes.
        return self.loader("train", view="mda", drop_last=True)

    def val_dataloader(self) -> lift.Loader:
        # The example judges on the split that every folder has; for a choice between models, build one called val.
        return self.loader("test", view="center")

    def loader(self, split: str, **options: Any) -> lift.Loader:
        rank, world_size = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        of = {"rank": rank, "world_size": world_size, "resolution": SIDE, **options}
        return lift.Loader(self.shards, self.batch_size, split=split, **of)


class Classifier(lightning.LightningModule):
    """Three convolutions, trained with logit adjustment."""

    prior: Tensor

    def __init__(self, class_counts: list[int]) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.register_buffer("prior", torch.tensor(class_counts).float().log())
        layers: list[nn.Module] = []
        for ins, outs in ((3, 32), (32, 64), (64, 128)):
            layers += [nn.Conv2d(ins, outs, 3, 2, 1), nn.GroupNorm(8, outs), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, len(class_counts)))

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels (b, 3, r, r), uint8 -> logits (b, K)."""
        logits: Tensor = self.layers(pixels.float() / 127.5 - 1)
        return logits

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        pixels, labels = batch
        return F.cross_entropy(self(pixels) + self.prior, labels)

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        pixels, labels = batch
        logits = self(pixels)
        accuracy = (logits.argmax(-1) == labels).float().mean()
        judged = {"loss": F.cross_entropy(logits, labels), "accuracy": accuracy}
        self.log_dict(judged, batch_size=len(labels), sync_dist=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), 3e-3)


def trainer(steps: int, folder: Path) -> lightning.Trainer:
    # Validation is called below, at the two moments whose figures are printed.
    return lightning.Trainer(
        max_steps=steps,
        devices=1,
        limit_val_batches=1.0,
        check_val_every_n_epoch=10**9,
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=False,
        default_root_dir=folder,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", required=True, help="the folder that `lift-data build --out` made")
    parser.add_argument("--steps", type=int, default=100)
    options = parser.parse_args()
    if options.steps < 2:
        parser.error("--steps must be at least 2, for two halves")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    # It recommends worker processes, of which this loader has no need, and warns of its own use of PyTorch.
    warnings.filterwarnings("ignore", module="lightning")

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkpoint = folder / "half.ckpt"

        lightning.seed_everything(0, verbose=False)
        data = Shards(options.shards, batch_size=64)
        model = Classifier(data.train.class_counts.tolist())
        first = trainer(options.steps // 2, folder)
        (before,) = first.validate(model, data, verbose=False)
        first.fit(model, data)
        first.save_checkpoint(checkpoint)

        # As after a stop: nothing of the above is used but the checkpoint.
        data = Shards(options.shards, batch_size=64)
        model = Classifier(data.train.class_counts.tolist())
        second = trainer(options.steps, folder)
        second.fit(model, data, ckpt_path=checkpoint)
        (after,) = second.validate(model, data, verbose=False)

    losses = f"loss {before['loss']:.3f} -> {after['loss']:.3f}"
    steps = f"{second.global_step} steps, {options.steps // 2} of them before the stop"
    print(f"{losses}, accuracy {after['accuracy']:.1%}, after {steps}")


if __name__ == "__main__":
    main()
