"""The native module: shards and batches, whose memory is handed over by DLPack. ``lift`` wraps it; nothing of it is
promised to stay as it is.
"""

import builtins
import os
from pathlib import Path
from typing import Any, Protocol, final

from typing_extensions import CapsuleType

__version__: str

class _Epoch(Protocol):
    """What is read of an epoch."""

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

@final
class Block:
    """An array in memory that can be handed over once; a second time is a ``BufferError``."""

    def __dlpack__(self, **_asked: Any) -> CapsuleType: ...
    def __dlpack_device__(self) -> tuple[int, int]: ...

@final
class Batches:
    """The batches of an epoch, in order: pixels (b, r, r, 3) or (b, crops, r, r, 3), uint8, and labels (b), int64."""

    def __iter__(self) -> Batches: ...
    def __next__(self) -> tuple[Block, Block]: ...

@final
class Loader:
    """Threads that prepare batches of one split."""

    def __new__(
        cls,
        reader: Reader,
        resolution: int,
        batch_size: int,
        threads: int,
        prefetch: int | None = None,
        exact: bool = False,
    ) -> Loader: ...
    def batches(self, epoch: _Epoch) -> Batches: ...

@final
class Reader:
    """An opened split."""

    def __new__(cls, path: str | os.PathLike[str], split: str | None = None) -> Reader: ...
    def __len__(self) -> int: ...
    @property
    def folder(self) -> Path: ...
    @property
    def class_names(self) -> list[str]: ...
    def labels(self) -> Block:
        """The label of every image (n), int64."""
    def manifest(self) -> str:
        """The manifest as JSON."""
    def path(self, index: int) -> str:
        """Where an image came from, relative to its source."""
    def column_names(self) -> list[str]:
        """The columns of the user's tables that were kept."""
    def column(self, name: str) -> list[Any] | None:
        """The values of one, an entry an image; ``None`` where there is no such column."""
    def image(self, index: int) -> tuple[bytearray, int, int]:
        """Pixels (height, width, 3), height and width."""
    def bytes(self, index: int) -> builtins.bytes:
        """The bytes as they are stored."""
