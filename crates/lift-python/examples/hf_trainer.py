"""Hugging Face's Trainer with LIFT's loader, which an IterableDataset is put around.

The dataset gives whole batches, so that the Trainer's own batch size is 1 and its collator takes the one that it gets.
Which batch comes at which step is a function of the step: after ``resume_from_checkpoint`` the loader is put there at
once, instead of reading and dropping all batches before it (``ignore_data_skip``). Its ``state_dict`` is not asked, for
the Trainer draws a batch ahead of the one in use.

One process was tried. With several, give ``rank`` and ``world_size`` to the loader and see to it that the Trainer does
not divide its batches once more.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from typing import Any

import lift
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import IterableDataset
from transformers import EvalPrediction, PrinterCallback, Trainer, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint
from transformers.utils import logging

SIDE = 32


class Batches(IterableDataset[dict[str, Tensor]]):
    """Batches of a loader, one epoch after the other where ``endless``, from ``step`` on."""

    def __init__(self, loader: lift.Loader, *, endless: bool, step: int = 0) -> None:
        self.loader, self.endless = loader, endless
        epoch, done = divmod(step, len(loader))
        loader.load_state_dict({**loader.state_dict(), "epoch": epoch, "images": done * loader.batch_size})

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        while True:
            for pixels, labels in self.loader:
                yield {"pixel_values": pixels, "labels": labels}
            if not self.endless:
                return


class Classifier(nn.Module):
    """Three convolutions, trained with logit adjustment."""

    prior: Tensor

    def __init__(self, class_counts: list[int]) -> None:
        super().__init__()
        self.register_buffer("prior", torch.tensor(class_counts).float().log())
        layers: list[nn.Module] = []
        for ins, outs in ((3, 32), (32, 64), (64, 128)):
            layers += [nn.Conv2d(ins, outs, 3, 2, 1), nn.GroupNorm(8, outs), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, len(class_counts)))

    def forward(self, pixel_values: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Pixels (b, 3, r, r), uint8, and labels (b) -> loss and logits (b, K)."""
        logits = self.layers(pixel_values.float() / 127.5 - 1)
        adjusted = logits + self.prior if self.training else logits
        return {"loss": F.cross_entropy(adjusted, labels), "logits": logits}


def judged(prediction: EvalPrediction) -> dict[str, float]:
    """What the Trainer's own ``eval_loss``, a mean over batches of different size, does not say rightly."""
    logits, labels = torch.as_tensor(prediction.predictions), torch.as_tensor(prediction.label_ids)
    return {
        "mean_loss": F.cross_entropy(logits, labels).item(),
        "accuracy": (logits.argmax(-1) == labels).float().mean().item(),
    }


def trainer(options: argparse.Namespace, folder: str, steps: int, begun: int = 0) -> Trainer:
    """One that trains until ``steps``, the first ``begun`` of which are done."""
    torch.manual_seed(0)
    train = lift.Loader(options.shards, 64, split="train", resolution=SIDE, drop_last=True)
    test = lift.Loader(options.shards, 256, split="test", view="center", resolution=SIDE)
    arguments = TrainingArguments(
        output_dir=folder,
        max_steps=steps,
        learning_rate=3e-3,
        lr_scheduler_type="constant",
        per_device_train_batch_size=1,
        per_device_eval_batch_size=1,
        ignore_data_skip=True,
        save_strategy="steps",
        save_steps=max(options.steps // 2, 1),
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
    )

    def only(batches: list[dict[str, Any]]) -> dict[str, Any]:
        (batch,) = batches
        return batch

    made = Trainer(
        Classifier(train.shards.class_counts.tolist()),
        arguments,
        data_collator=only,
        train_dataset=Batches(train, endless=True, step=begun),
        eval_dataset=Batches(test, endless=False),
        compute_metrics=judged,
    )
    made.remove_callback(PrinterCallback)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", required=True, help="the folder that `lift-data build --out` made")
    parser.add_argument("--steps", type=int, default=100)
    options = parser.parse_args()
    if options.steps < 2:
        parser.error("--steps must be at least 2, for two halves")
    logging.set_verbosity_error()
    half = options.steps // 2

    with tempfile.TemporaryDirectory() as folder:
        first = trainer(options, folder, half)
        before = first.evaluate()
        first.train()
        # As after a stop: the second one knows of the checkpoint alone.
        checkpoint = get_last_checkpoint(folder)
        second = trainer(options, folder, options.steps, begun=half)
        second.train(resume_from_checkpoint=checkpoint)
        after = second.evaluate()

    losses = f"loss {before['eval_mean_loss']:.3f} -> {after['eval_mean_loss']:.3f}"
    steps = f"{second.state.global_step} steps, {half} of them before the stop"
    print(f"{losses}, accuracy {after['eval_accuracy']:.1%}, after {steps}")


if __name__ == "__main__":
    main()
