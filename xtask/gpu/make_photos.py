"""Draws some hundreds of photos and writes lists that repeat them, as long as ImageNet-LT's and with such a tail.

OUT/photos gets JPEG files of about 500x375, OUT/lists train.txt and test.txt with a line `NNNN.jpg label` an image:
what a decoder, a disk and a cache have to do is as much as with that many photos that differ. Needs numpy and Pillow.
"""

import argparse
import os

import numpy
from PIL import Image


def photo(random, width, height):
    """Slow colours, discs with sharp edges and grain: about as many bytes as a photo has."""
    coarse = random.integers(40, 216, (6, 8, 3), dtype=numpy.uint8)
    pixels = numpy.array(Image.fromarray(coarse).resize((width, height), Image.BICUBIC), numpy.float32)
    y, x = numpy.ogrid[:height, :width]
    for _ in range(12):
        centre_y, centre_x = random.integers(height), random.integers(width)
        radius = random.integers(10, height // 4)
        inside = (y - centre_y) ** 2 + (x - centre_x) ** 2 < radius**2
        pixels[inside] += random.uniform(-60, 60, 3).astype(numpy.float32)
    pixels += random.standard_normal((height, width, 1), numpy.float32) * 9
    return Image.fromarray(pixels.clip(0, 255).astype(numpy.uint8))


def write_photos(folder, count):
    """Every third photo is upright."""
    os.makedirs(folder, exist_ok=True)
    for number in range(count):
        random = numpy.random.default_rng(number)
        width, height = (375, 500) if number % 3 == 2 else (500, 375)
        photo(random, width, height).save(f"{folder}/{number:04}.jpg", quality=90)


def long_tail(classes, total, largest, smallest):
    """Images of each class, the largest first: quantiles of a Pareto distribution whose power gives the total."""

    def counts(power):
        share = (numpy.arange(classes) + 0.5) / classes
        quantiles = share ** (-1 / power) - 1
        scaled = quantiles / quantiles[0] * largest
        return numpy.maximum(scaled.round().astype(int), smallest)

    # The heavier the tail, the fewer images beside the largest class.
    low, high = 0.05, 1000.0
    for _ in range(100):
        power = (low + high) / 2
        low, high = (power, high) if counts(power).sum() < total else (low, power)
    found = counts(high)
    surplus = found.sum() - total
    # What rounding left over is taken from the classes after the largest, one image each.
    for label in range(1, 1 + abs(surplus)):
        found[label] -= numpy.sign(surplus)
    if found.sum() != total or found.min() != smallest or found.max() != largest:
        raise SystemExit(f"no tail of {classes} classes, {total} images from {largest} to {smallest}")
    return found


def write_list(path, counts, photos):
    """Lines in label order; neighbours are different photos."""
    labels = numpy.repeat(numpy.arange(len(counts)), counts)
    with open(path, "w") as file:
        for row, label in enumerate(labels):
            file.write(f"{row % photos:04}.jpg {label}\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, help="folder that gets photos/ and lists/")
    parser.add_argument("--photos", type=int, default=256, help="files that differ")
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--train", type=int, default=115846, help="training images")
    parser.add_argument("--largest", type=int, default=1280, help="images of the largest class")
    parser.add_argument("--smallest", type=int, default=5, help="images of the smallest class")
    parser.add_argument("--test", type=int, default=50000, help="test images, a multiple of the classes")
    args = parser.parse_args()
    write_photos(f"{args.out}/photos", args.photos)
    os.makedirs(f"{args.out}/lists", exist_ok=True)
    tail = long_tail(args.classes, args.train, args.largest, args.smallest)
    write_list(f"{args.out}/lists/train.txt", tail, args.photos)
    balanced = numpy.full(args.classes, args.test // args.classes)
    write_list(f"{args.out}/lists/test.txt", balanced, args.photos)


if __name__ == "__main__":
    main()
