"""FFCV: .beton files, read back from the system's cache of files by its compiled pipelines. It has no checksums."""

import os

import numpy
from ffcv.fields import IntField, RGBImageField
from ffcv.fields.decoders import IntDecoder, RandomResizedCropRGBImageDecoder
from ffcv.loader import Loader, OrderOption
from ffcv.transforms import ToTensor
from ffcv.writer import DatasetWriter
from PIL import Image

import peer

NAME = "photos.beton"
#: Passes of loading in one: it is done with one in a tenth of a second.
TIMES = 10


def small(path):
    return numpy.asarray(peer.short_side(Image.open(path)))


def build(source, out, write_mode):
    photos = peer.Photos(source, small)
    fields = {"image": RGBImageField(write_mode=write_mode, jpeg_quality=90), "label": IntField()}
    writer = DatasetWriter(os.path.join(out, NAME), fields, num_workers=os.cpu_count())
    writer.from_indexed_dataset(photos)
    return len(photos)


def loader(out):
    size = (peer.SIDE, peer.SIDE)
    crop = RandomResizedCropRGBImageDecoder(size, scale=(0.08, 0.75), ratio=(1, 1))
    return Loader(
        os.path.join(out, NAME),
        batch_size=peer.BATCH,
        num_workers=os.cpu_count(),
        order=OrderOption.RANDOM,
        os_cache=True,
        pipelines={"image": [crop, ToTensor()], "label": [IntDecoder(), ToTensor()]},
    )


prepared = {}


def prepare(out):
    """Its pipelines are compiled when the first batch is asked for, once a process."""
    prepared[out] = loader(out)
    next(iter(prepared[out]))


def load(_, out):
    return sum(len(labels) for _ in range(TIMES) for _, labels in prepared[out])


peer.main(
    {
        "build-raw": lambda source, out: build(source, out, "raw"),
        "build-jpeg": lambda source, out: build(source, out, "jpg"),
        "load-raw": load,
        "load-jpeg": load,
    },
    prepare=prepare,
)
