"""What the peers' scripts share: arguments, photos, Pillow's resize, the random square, and the JSON line."""

import glob
import json
import math
import os
import random
import resource
import shutil
import sys
import time

SIDE = 224
SHORT = 256
BATCH = 64


def photos(folder):
    """Paths and labels, in order."""
    paths = sorted(glob.glob(os.path.join(folder, "*", "*.*")))
    classes = sorted({os.path.dirname(path) for path in paths})
    return [(path, classes.index(os.path.dirname(path))) for path in paths]


class Photos:
    """A dataset of what `sample` makes of each photo, and its label, as PyTorch and FFCV ask for it."""

    def __init__(self, source, sample):
        self.found, self.sample = photos(source), sample

    def __len__(self):
        return len(self.found)

    def __getitem__(self, index):
        path, label = self.found[index]
        return self.sample(path), label


def short_side(image):
    """A Pillow image at short side 256, bicubic."""
    from PIL import Image

    width, height = image.size
    small = min(width, height)
    size = (SHORT * width // small, SHORT * height // small)
    return image.convert("RGB").resize(size, Image.Resampling.BICUBIC)


def square(width, height):
    """The random square that ours cuts too: its area is uniform from 8 % to the largest. (left, top, side)"""
    short = min(width, height)
    area = width * height
    low, high = min(0.08, short * short / area), short * short / area
    side = max(1, min(short, round(math.sqrt(area * random.uniform(low, high)))))
    return random.randint(0, width - side), random.randint(0, height - side), side


def crop(image):
    """A Pillow image's random square at 224, bicubic with antialias, as an array."""
    import numpy
    from PIL import Image

    left, top, side = square(*image.size)
    box = (left, top, left + side, top + side)
    return numpy.asarray(image.resize((SIDE, SIDE), Image.Resampling.BICUBIC, box=box))


def batches(images):
    """Arrays of 64 images; returns how many images there were."""
    import numpy

    count, batch = 0, []
    for image in images:
        batch.append(image)
        count += 1
        if len(batch) == BATCH:
            numpy.stack(batch)
            batch.clear()
    if batch:
        numpy.stack(batch)
    return count


def main(stages, prepare=None):
    """`stages` maps names to functions of (photos' folder, out) that do one pass and return how many images it had.

    `prepare` of (out) does what a long job does once before it loads; it is no part of a pass.
    """
    stage, source, out, passes = sys.argv[1:]
    if prepare and stage.startswith("load"):
        prepare(out)
    images, start = 0, time.time()
    for _ in range(int(passes)):
        if stage.startswith("build"):
            shutil.rmtree(out, ignore_errors=True)
            os.makedirs(out)
        images += stages[stage](source, out)
    seconds = time.time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"images": images, "seconds": seconds, "peak_memory_bytes": peak}))
