"""LitData: chunks written by `optimize`, read by StreamingDataset. It has no checksums."""

import io

import litdata
from PIL import Image

import peer


def sample(item):
    path, label = item
    out = io.BytesIO()
    peer.short_side(Image.open(path)).save(out, "JPEG", quality=90)
    return {"image": out.getvalue(), "label": label}


def build(source, out):
    found = peer.photos(source)
    litdata.optimize(
        fn=sample, inputs=found, output_dir=out, chunk_bytes="64MB", num_workers=1, verbose=False
    )
    return len(found)


def load(out):
    dataset = litdata.StreamingDataset(out, shuffle=True)
    return peer.batches(peer.crop(Image.open(io.BytesIO(s["image"]))) for s in dataset)


if __name__ == "__main__":
    peer.main({"build-jpeg": build, "load-jpeg": lambda source, out: load(out)})
