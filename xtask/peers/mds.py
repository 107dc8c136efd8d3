"""MosaicML streaming: MDS shards, read back by StreamingDataset from the local folder."""

import io

import numpy
from PIL import Image
from streaming import MDSWriter, StreamingDataset

import peer


def build(source, out, encodings, sample):
    with MDSWriter(out=out, columns=encodings, hashes=["xxh64"]) as writer:
        found = peer.photos(source)
        for path, label in found:
            writer.write({"image": sample(path), "label": label})
    return len(found)


def jpeg(path):
    bytes_out = io.BytesIO()
    peer.short_side(Image.open(path)).save(bytes_out, "JPEG", quality=90)
    return bytes_out.getvalue()


def raw(path):
    return numpy.asarray(peer.short_side(Image.open(path)))


def whole(path):
    with open(path, "rb") as file:
        return file.read()


def load(out, image):
    # One process; workers would only add to the CPU time.
    dataset = StreamingDataset(local=out, shuffle=True, batch_size=peer.BATCH, validate_hash="xxh64")
    return peer.batches(peer.crop(image(sample["image"])) for sample in dataset)


def opened(encoded):
    return Image.open(io.BytesIO(encoded))


BYTES = {"image": "bytes", "label": "int"}
PIXELS = {"image": "ndarray:uint8", "label": "int"}

peer.main(
    {
        "build-jpeg": lambda source, out: build(source, out, BYTES, jpeg),
        "build-raw": lambda source, out: build(source, out, PIXELS, raw),
        "build-bytes": lambda source, out: build(source, out, BYTES, whole),
        "load-raw": lambda source, out: load(out, Image.fromarray),
        "load-jpeg": lambda source, out: load(out, opened),
    }
)
