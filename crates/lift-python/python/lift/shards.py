"""Shards as a sequence of images: what ``lift-data build`` wrote, read from mapped files and checked as it is read."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _native

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Shards:
    """One split of a dataset.

    ``shards[i]`` gives the pixels, a uint8 array (height, width, 3), and the label. The checksum of every image is
    compared whenever it is read; one that differs is a :class:`lift.LiftError` that names file and row. The object can
    be pickled, and forked: a process that gets it opens the files itself, or uses the map of its parent, which is
    read-only.

    ``path`` is a split's folder, or with ``split`` (``"train"``, ``"val"`` or ``"test"``) the folder around it.
    """

    def __init__(self, path: str | os.PathLike[str], split: str | None = None) -> None:
        self._reader = _native.Reader(os.fspath(path), split)

    def __len__(self) -> int:
        return len(self._reader)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], int]:
        """Pixels (height, width, 3) and label of an image; negative numbers count from the end."""
        place = self._place(index)
        pixels, height, width = self._reader.image(place)
        image = np.frombuffer(pixels, np.uint8).reshape(height, width, 3)
        return image, int(self.labels[place])

    def __iter__(self) -> Iterator[tuple[NDArray[np.uint8], int]]:
        return (self[index] for index in range(len(self)))

    def encoded(self, index: int) -> bytes:
        """The bytes of an image as they are stored: a JPEG or PNG file, or pixels."""
        return bytes(self._reader.bytes(self._place(index)))

    def source(self, index: int) -> str:
        """Where an image came from, relative to the source that was built."""
        return self._reader.path(self._place(index))

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """The label of every image (n), in the order of the shards."""
        labels: NDArray[np.int64] = np.from_dlpack(self._reader.labels()).copy()  # type: ignore[assignment]
        return labels

    @property
    def class_names(self) -> list[str]:
        """The names of the K classes, in the order of their labels."""
        return self._reader.class_names

    @cached_property
    def class_counts(self) -> NDArray[np.int64]:
        """How many images each class has (K)."""
        return np.bincount(self.labels, minlength=len(self.class_names))

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What the folder says of itself: dataset, split, encoding, files with their hashes, and how it was built."""
        manifest: dict[str, Any] = json.loads(self._reader.manifest())
        return manifest

    @property
    def columns(self) -> list[str]:
        """The columns of the user's tables that the build kept (``lift-data build .. --keep-columns``)."""
        return self._reader.column_names()

    def column(self, name: str) -> list[Any]:
        """The values of such a column, one an image: numbers, truth values, or text; ``None`` where it has none."""
        values = self._reader.column(name)
        if values is None:
            raise KeyError(f"{name!r} is none of the columns {self.columns}")
        return values

    def _place(self, index: int) -> int:
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(f"{self._reader.folder}: has no image {index}, it has {len(self)}")
        return place

    def __reduce__(self) -> tuple[Any, ...]:
        return Shards, (os.path.abspath(self._reader.folder),)

    def __repr__(self) -> str:
        return f"Shards({str(self._reader.folder)!r}): {len(self)} images of {len(self.class_names)} classes"
