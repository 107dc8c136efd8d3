"""Pillow in draft mode: a large JPEG is decoded at a half, a quarter or an eighth of its size."""

import os

from PIL import Image

import peer


def build(source, out):
    found = peer.photos(source)
    for number, (path, _) in enumerate(found):
        image = Image.open(path)
        image.draft("RGB", (peer.SHORT, peer.SHORT))
        peer.short_side(image).save(os.path.join(out, f"{number}.jpg"), "JPEG", quality=90)
    return len(found)


peer.main({"build-large": build})
