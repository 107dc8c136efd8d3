"""Batches for training and evaluation, in ``lift-train``'s order and with its crops, prepared ahead by its threads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.dlpack import from_dlpack

from . import _native
from .shards import Shards

#: Those that are drawn anew in each epoch, so that images are shuffled.
_TRAINING = ("mda", "classic")
_WORDS = {
    "view": (*_TRAINING, "center", "fitted", "five-crop", "ten-crop"),
    "sampler": ("instance", "class-balanced", "square-root", "progressive"),
    "area_schedule": ("convex", "linear", "concave", "min", "max"),
    "layout": ("nchw", "nhwc"),
}
#: The least and the most of each number. What is above is a slip of the hand, and would end the process for want of
#: memory or threads.
_RANGES = {
    "batch_size": (1, 2**31),
    "resolution": (1, 16384),
    "expand": (0, 16384),
    "epoch": (0, 2**63 - 1),
    "epochs": (1, 2**63 - 1),
    "seed": (0, 2**64 - 1),
    "world_size": (1, 2**31),
    "shuffle_window": (1, 2**63 - 1),
    "threads": (0, 1024),
    "prefetch": (1, 1024),
}
_STATE = 1


class Loader:
    """Batches ``(pixels, labels)`` of a split.

    ``pixels`` is a ``torch.uint8`` tensor (b, 3, r, r), whose memory is channels-last, or (b, r, r, 3) with
    ``layout="nhwc"``; views of several crops have them as the second dimension. ``labels`` is ``torch.int64`` (b).
    The pixels lie in the buffer that the loader's threads wrote, without a copy; when the tensor goes, the buffer makes
    room for a later batch. They are not normalised: ``pixels.to(device).float() / 255`` comes first, then mean and
    deviation.

    A loop over the loader is an epoch, or what is left of one that was begun; the next loop is the next epoch. A loader
    has one place, so that one loop at a time goes over it; after ``set_epoch`` the next one begins anew.

    =================== ============================================================================================
    ``path``, ``split`` as :class:`lift.Shards` has them, or such an object as ``path``
    ``batch_size``      images a step, of all ``world_size`` processes together, so that a step is the same images
                        however many share it; a process gets its part of each batch
    ``view``            ``"mda"``: one random square crop (LIFT+, section IV-C), the smallest growing over ``epochs`` by
                        ``area_schedule``; ``"classic"``: crops of any shape, half of them mirrored; ``"center"``: short
                        side to r + r // 7, centre crop; ``"fitted"``: short side to r; ``"five-crop"``, ``"ten-crop"``:
                        short side to r + ``expand``, corners and centre
    ``resolution``      r, the side of a crop in pixels
    ``epochs``          how many there will be, which ``area_schedule`` and the progressive sampler follow
    ``seed``            of order, crops and draws; the same as ``lift-train --seed``
    ``shuffle``         ``None``: for ``mda`` and ``classic``
    ``sampler``         ``"instance"``, or with shuffling ``"class-balanced"``, ``"square-root"`` or ``"progressive"``
    ``shuffle_window``  rows that are shuffled together, for shards larger than memory; ``None``: all
    ``threads``         that prepare batches; 0: one a core
    ``prefetch``        batches that are prepared ahead of the one in use; ``None``: by threads and batch size
    ``drop_last``       whether a last batch that is not full is left out; otherwise a process's part of it may be empty
    ``pin``             whether batches are copied into pinned memory, for ``.to(device, non_blocking=True)``
    ``exact``           whether large JPEGs are decoded at their full size before they are shrunk (slower)
    =================== ============================================================================================
    """

    def __init__(
        self,
        path: Shards | str | os.PathLike[str],
        batch_size: int,
        *,
        view: str = "mda",
        resolution: int = 224,
        split: str | None = None,
        epochs: int = 1,
        epoch: int = 0,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        shuffle: bool | None = None,
        sampler: str = "instance",
        shuffle_window: int | None = None,
        area_schedule: str = "convex",
        expand: int = 24,
        threads: int = 0,
        prefetch: int | None = None,
        layout: str = "nchw",
        drop_last: bool = False,
        pin: bool = False,
        exact: bool = False,
    ) -> None:
        _require_words(view=view, sampler=sampler, area_schedule=area_schedule, layout=layout)
        _require_numbers(
            batch_size=batch_size,
            resolution=resolution,
            expand=expand,
            epoch=epoch,
            epochs=epochs,
            seed=seed,
            world_size=world_size,
            shuffle_window=shuffle_window,
            threads=threads,
            prefetch=prefetch,
        )
        if not 0 <= rank < world_size:
            raise ValueError(f"rank {rank} of {world_size}: ranks count from 0")
        if batch_size < world_size:
            together = f"is of all {world_size} processes together, and gives each at least one image"
            raise ValueError(f"batch_size {batch_size} {together}")
        shuffle = view in _TRAINING if shuffle is None else shuffle
        if sampler != "instance" and not shuffle:
            raise ValueError(f"sampler {sampler!r} draws images anew in each epoch, and needs shuffle=True")
        if shuffle_window is not None and not shuffle:
            raise ValueError(f"shuffle_window {shuffle_window} needs shuffle=True")
        if sampler != "instance" and shuffle_window is not None:
            raise ValueError(f"sampler {sampler!r} draws from all images, and cannot have a shuffle_window")
        self.shards = path if isinstance(path, Shards) else Shards(path, split)
        if drop_last and batch_size > len(self.shards):
            raise ValueError(f"batch_size {batch_size} with drop_last leaves no batch of {len(self.shards)} images")
        self.batch_size, self.resolution, self.layout, self.pin = batch_size, resolution, layout, pin
        self._threads, self._prefetch, self._exact = threads, prefetch, exact
        self._epoch = _Epoch(
            view=view,
            expand=expand,
            area_schedule=area_schedule,
            sampler=sampler,
            shuffle=shuffle,
            shuffle_window=shuffle_window,
            seed=seed,
            epoch=epoch,
            epochs=epochs,
            skip=0,
            drop_last=drop_last,
            rank=rank,
            world_size=world_size,
        )
        self._native: Any = None
        self._process: int | None = None

    @property
    def epoch(self) -> int:
        """The epoch that the next loop is of, or goes on with; from 0."""
        return self._epoch.epoch

    @property
    def step(self) -> int:
        """The batches of this epoch that are over."""
        return -(-self._epoch.skip // self.batch_size)

    def set_epoch(self, epoch: int) -> None:
        """Begins at the start of an epoch."""
        _require_numbers(epoch=epoch)
        self._epoch.epoch, self._epoch.skip = epoch, 0

    def __len__(self) -> int:
        """The batches of a whole epoch."""
        rows = len(self.shards)
        return rows // self.batch_size if self._epoch.drop_last else -(-rows // self.batch_size)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for pixels, labels in self._started().batches(self._epoch):
            # Before it is given out: who leaves the loop with the last one is at the next epoch, not at an empty rest.
            self._go_to(self._epoch.epoch, self._epoch.skip + self.batch_size)
            batch = from_dlpack(pixels), from_dlpack(labels)
            yield self._laid_out(batch[0]), batch[1].pin_memory() if self.pin else batch[1]

    def _go_to(self, epoch: int, images: int) -> None:
        end = len(self) * self.batch_size if self._epoch.drop_last else len(self.shards)
        self._epoch.epoch, self._epoch.skip = (epoch, images) if images < end else (epoch + 1, 0)

    def _laid_out(self, pixels: torch.Tensor) -> torch.Tensor:
        pixels = pixels.movedim(-1, -3) if self.layout == "nchw" else pixels
        return pixels.pin_memory() if self.pin else pixels

    def _started(self) -> Any:
        # The threads of a process that was forked are its parent's, and not there.
        if self._native is None or self._process != os.getpid():
            self._native = _native.Loader(
                self.shards._reader, self.resolution, self.batch_size, self._threads, self._prefetch, self._exact
            )
            self._process = os.getpid()
        return self._native

    def state_dict(self) -> dict[str, Any]:
        """Where the loader is, to be kept beside a checkpoint: after the batches that were given out."""
        this = self._epoch
        order = {"seed": this.seed, "shuffle": this.shuffle, "shuffle_window": this.shuffle_window}
        place = {"epoch": this.epoch, "images": this.skip}
        return {"format": _STATE, **place, **order, "sampler": this.sampler, "rows": len(self.shards)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from there, with any ``world_size``.

        Raises ``ValueError`` when the state is of other shards, or of another order: seed, shuffling or sampler.
        """
        ours = self.state_dict()
        for key in ("format", "rows", "seed", "shuffle", "shuffle_window", "sampler"):
            if state.get(key) != ours[key]:
                raise ValueError(f"the state has {key} {state.get(key)}, this loader {ours[key]}")
        for key, most in (("epoch", _RANGES["epoch"][1]), ("images", len(self.shards))):
            if not isinstance(state.get(key), int) or not 0 <= state[key] <= most:
                raise ValueError(f"the state has {key} {state.get(key)}, expected a number from 0 to {most}")
        self._go_to(state["epoch"], state["images"])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_native": None, "_process": None}

    def __repr__(self) -> str:
        this = self._epoch
        place = f"epoch {this.epoch}, step {self.step} of {len(self)}"
        return f"Loader({self.shards!r}, {this.view} of {self.resolution} pixels, {place})"


class _Epoch:
    """What the native loader reads of an epoch."""

    view: str
    expand: int
    area_schedule: str
    sampler: str
    shuffle: bool
    shuffle_window: int | None
    seed: int
    epoch: int
    epochs: int
    skip: int
    drop_last: bool
    rank: int
    world_size: int

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)


def _require_words(**words: str) -> None:
    for name, word in words.items():
        if word not in _WORDS[name]:
            raise ValueError(f"{name} {word!r} is none of {', '.join(_WORDS[name])}")


def _require_numbers(**numbers: int | None) -> None:
    for name, number in numbers.items():
        least, most = _RANGES[name]
        if number is not None and not least <= number <= most:
            raise ValueError(f"{name} {number} is out of range, it is from {least} to {most}")
