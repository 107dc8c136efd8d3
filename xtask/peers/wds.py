"""WebDataset: tar files. It has no checksums."""

import io
import os

from PIL import Image
from webdataset import ShardWriter, WebDataset

import peer


def jpeg(path):
    out = io.BytesIO()
    peer.short_side(Image.open(path)).save(out, "JPEG", quality=90)
    return out.getvalue()


def whole(path):
    with open(path, "rb") as file:
        return file.read()


def build(source, out, sample):
    found = peer.photos(source)
    with ShardWriter(os.path.join(out, "%04d.tar"), verbose=0) as writer:
        for number, (path, label) in enumerate(found):
            writer.write({"__key__": f"{number:08}", "jpg": sample(path), "cls": label})
    return len(found)


def load(out):
    tars = sorted(os.path.join(out, name) for name in os.listdir(out))
    dataset = WebDataset(tars, shardshuffle=False, empty_check=False).shuffle(1000)
    return peer.batches(peer.crop(Image.open(io.BytesIO(s["jpg"]))) for s in dataset)


peer.main(
    {
        "build-jpeg": lambda source, out: build(source, out, jpeg),
        "build-bytes": lambda source, out: build(source, out, whole),
        "load-jpeg": lambda source, out: load(out),
    }
)
