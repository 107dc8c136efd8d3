"""torchvision: photos decoded and resized as they lie, by its own JPEG reader; loaded by torch's DataLoader."""

import os

import torch
from torch.utils.data import DataLoader
from torchvision import io
from torchvision.transforms.v2 import functional

import peer

torch.set_num_threads(1)


def small(path):
    image = io.decode_jpeg(io.read_file(path), mode=io.ImageReadMode.RGB)
    return functional.resize(
        image, [peer.SHORT], interpolation=functional.InterpolationMode.BICUBIC, antialias=True
    )


def build(source, out):
    found = peer.photos(source)
    for number, (path, _) in enumerate(found):
        encoded = io.encode_jpeg(small(path), quality=90)
        io.write_file(os.path.join(out, f"{number}.jpg"), encoded)
    return len(found)


def crop(path):
    image = io.decode_jpeg(io.read_file(path), mode=io.ImageReadMode.RGB)
    left, top, side = peer.square(image.shape[2], image.shape[1])
    size = [peer.SIDE, peer.SIDE]
    mode = functional.InterpolationMode.BICUBIC
    return functional.resized_crop(image, top, left, side, side, size, mode, antialias=True)


def load(source, _):
    # In this process; workers would only add to the CPU time.
    crops = DataLoader(peer.Photos(source, crop), peer.BATCH, shuffle=True)
    return sum(len(labels) for _, labels in crops)


peer.main({"build-large": build, "load-photos": load})
