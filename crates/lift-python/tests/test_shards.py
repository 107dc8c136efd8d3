"""``lift.Shards`` on what ``lift-data build`` wrote: ``LIFT_TEST_SHARDS`` names a folder with train/ and test/."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any

# It finds the package where that is not installed.
import folders  # noqa: F401

# isort: split
import lift
import numpy as np
import torch
from torch.utils.data import DataLoader, Subset

SHARDS = os.environ.get("LIFT_TEST_SHARDS", "")
#: How far another JPEG decoder may be off, in grey levels.
TOLERANCE = {"jpeg": 3, "png": 0}


def setUpModule() -> None:
    if not SHARDS:
        reason = "LIFT_TEST_SHARDS names no folder of shards"
        print(f"skipped: {reason}", file=sys.stderr)
        raise unittest.SkipTest(reason)


def cropped(images: list[tuple[Any, int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Images of any size as a batch (b, 8, 8, 3) of their upper left corners, and labels (b)."""
    pixels = torch.stack([torch.from_numpy(image[:8, :8]) for image, _ in images])
    return pixels, torch.tensor([label for _, label in images])


class Sequences(unittest.TestCase):
    def setUp(self) -> None:
        self.shards = lift.Shards(SHARDS, "test")

    def test_it_says_what_the_manifest_says(self) -> None:
        for split in ("train", "test"):
            with self.subTest(split):
                shards = lift.Shards(SHARDS, split)
                manifest = shards.manifest
                self.assertEqual(manifest["split"], split)
                self.assertEqual(len(shards), manifest["rows"])
                self.assertEqual(shards.class_names, manifest["class_names"])
                self.assertEqual(shards.labels.dtype, np.int64)
                self.assertEqual(shards.labels.shape, (len(shards),))
                self.assertEqual(shards.class_counts.tolist(), manifest["class_counts"])
                self.assertIn(f"{len(shards)} images of {len(shards.class_names)} classes", repr(shards))

    def test_a_splits_own_folder_is_the_same(self) -> None:
        same = lift.Shards(Path(SHARDS) / "test")
        self.assertEqual(same.encoded(0), self.shards.encoded(0))
        self.assertEqual(same.manifest, self.shards.manifest)

    def test_images(self) -> None:
        for index in (0, 1, len(self.shards) // 2, len(self.shards) - 1):
            pixels, label = self.shards[index]
            self.assertEqual((pixels.dtype, pixels.ndim, pixels.shape[2]), (np.uint8, 3, 3))
            self.assertIs(type(label), int)
            self.assertEqual(label, self.shards.labels[index])
            # PyTorch warns of arrays that cannot be written to, and augmentations write.
            self.assertTrue(pixels.flags.writeable)
            self.assertFalse(os.path.isabs(self.shards.source(index)))

    def test_pixels_are_those_of_another_decoder(self) -> None:
        encoding = self.shards.manifest["encoding"]
        if encoding == "rgb8":
            for index in range(20):
                pixels, _ = self.shards[index]
                self.assertEqual(pixels.tobytes(), self.shards.encoded(index))
            return
        if encoding not in TOLERANCE:
            self.skipTest(f"files as they were ({encoding}) may be turned, or of any format")
        try:
            from PIL import Image
        except ModuleNotFoundError:
            self.skipTest("Pillow is not installed")
        for index in range(0, len(self.shards), max(len(self.shards) // 50, 1)):
            with self.subTest(index):
                pixels, _ = self.shards[index]
                other = np.asarray(Image.open(io.BytesIO(self.shards.encoded(index))).convert("RGB"))
                self.assertEqual(pixels.shape, other.shape)
                apart = np.abs(pixels.astype(int) - other.astype(int)).max()
                self.assertLessEqual(apart, TOLERANCE[encoding])

    def test_indices(self) -> None:
        count = len(self.shards)
        for index, place in ((-1, count - 1), (-count, 0), (-count + 3, 3)):
            pixels, label = self.shards[index]
            expected, expected_label = self.shards[place]
            self.assertTrue(np.array_equal(pixels, expected))
            self.assertEqual(label, expected_label)
        for index in (count, -count - 1):
            for read in (self.shards.__getitem__, self.shards.encoded, self.shards.source):
                with self.assertRaises(IndexError) as raised:
                    read(index)
                self.assertEqual(
                    str(raised.exception), f"{Path(SHARDS) / 'test'}: has no image {index}, it has {count}"
                )

    def test_a_loop_sees_every_image(self) -> None:
        self.assertEqual([label for _, label in self.shards], self.shards.labels.tolist())

    def test_columns(self) -> None:
        kept = {column["name"]: column["type"] for column in self.shards.manifest.get("columns", [])}
        self.assertEqual(self.shards.columns, list(kept))
        kinds = {"int64": int, "float64": float, "bool": bool, "string": str}
        for name, kind in kept.items():
            values = self.shards.column(name)
            self.assertEqual(len(values), len(self.shards))
            self.assertLessEqual({type(value) for value in values}, {kinds[kind], type(None)})
        with self.assertRaises(KeyError) as raised:
            self.shards.column("no such column")
        self.assertEqual(raised.exception.args[0], f"'no such column' is none of the columns {list(kept)}")

    def test_folders_that_hold_no_split(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for path, split, part in (
                (Path(folder) / "none", None, "No such file"),
                (Path(folder), None, "there is no manifest.json"),
                (Path(folder), "test", "nor in train, val or test below it"),
                (Path(SHARDS), "dev", "`dev` is no split; the splits are train, val and test"),
            ):
                with self.subTest(part), self.assertRaises(lift.LiftError) as raised:
                    lift.Shards(path, split)
                self.assertIn(part, str(raised.exception))


class Processes(unittest.TestCase):
    """The object in other processes."""

    def test_pickling(self) -> None:
        shards = lift.Shards(SHARDS, "test")
        again = pickle.loads(pickle.dumps(shards))
        self.assertEqual(len(again), len(shards))
        self.assertTrue(np.array_equal(again[5][0], shards[5][0]))

    def test_a_relative_path_is_pickled_as_an_absolute_one(self) -> None:
        before = os.getcwd()
        self.addCleanup(os.chdir, before)
        os.chdir(SHARDS)
        data = pickle.dumps(lift.Shards("test"))
        os.chdir(before)
        self.assertGreater(len(pickle.loads(data)), 0)

    def test_workers_of_a_data_loader(self) -> None:
        shards = lift.Shards(SHARDS, "test")
        # A sequence is what PyTorch calls a map-style dataset, whatever class it is of.
        dataset: Any = shards
        some = Subset(dataset, range(0, len(shards), max(len(shards) // 60, 1)))
        expected = [(pixels[:8, :8], label) for pixels, label in (some[place] for place in range(len(some)))]
        for how in ("fork", "spawn"):
            with self.subTest(how):
                loader = DataLoader(some, 16, num_workers=2, collate_fn=cropped, multiprocessing_context=how)
                batches = list(loader)
                pixels = torch.cat([batch for batch, _ in batches])
                labels = torch.cat([batch for _, batch in batches])
                self.assertEqual(labels.tolist(), [label for _, label in expected])
                self.assertTrue(np.array_equal(pixels.numpy(), np.stack([image for image, _ in expected])))


class Damage(unittest.TestCase):
    """A byte of an image that was changed."""

    def test_the_row_is_named_and_the_others_are_read(self) -> None:
        row = 7
        with tempfile.TemporaryDirectory() as folder:
            # A split's folder must have its name.
            copy = Path(folder) / "test"
            shutil.copytree(Path(SHARDS) / "test", copy)
            image = lift.Shards(copy).encoded(row)
            file = self.flip(copy, image)
            shards = lift.Shards(copy)
            for read in (shards.__getitem__, shards.encoded):
                with self.assertRaises(lift.LiftError) as raised:
                    read(row)
                message = str(raised.exception)
                self.assertTrue(message.startswith(f"{file}: row {row}"), message)
                self.assertIn("checksum", message)
            self.assertEqual(shards[row - 1][1], shards.labels[row - 1])
            # Whoever prepares batches ahead says the same.
            with self.assertRaises(lift.LiftError) as raised:
                list(lift.Loader(shards, 4, view="center", resolution=8, threads=2))
            self.assertEqual(str(raised.exception), message)

    def flip(self, folder: Path, image: bytes) -> Path:
        """Changes a byte in the middle of the image; returns the shard that it lies in."""
        for file in sorted(folder.glob("*.parquet")):
            data = file.read_bytes()
            place = data.find(image)
            if place >= 0:
                with file.open("r+b") as shard:
                    shard.seek(place + len(image) // 2)
                    shard.write(bytes([image[len(image) // 2] ^ 1]))
                return file
        self.fail("the image lies in no shard")


if __name__ == "__main__":
    unittest.main()
