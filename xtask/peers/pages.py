"""pyarrow: a Parquet file with a column of pixels, page checksums on."""

import os
import random

import numpy
import pyarrow
import pyarrow.parquet
from PIL import Image

import peer

SCHEMA = pyarrow.schema(
    [
        ("image", pyarrow.binary()),
        ("width", pyarrow.int32()),
        ("height", pyarrow.int32()),
        ("label", pyarrow.int32()),
    ]
)
ROWS = 64


def build(source, out):
    found = peer.photos(source)
    path = os.path.join(out, "train.parquet")
    options = {"compression": "none", "use_dictionary": False, "write_page_checksum": True}
    with pyarrow.parquet.ParquetWriter(path, SCHEMA, **options) as writer:
        for start in range(0, len(found), ROWS):
            part = found[start : start + ROWS]
            images = [peer.short_side(Image.open(path)) for path, _ in part]
            columns = [
                [image.tobytes() for image in images],
                [image.width for image in images],
                [image.height for image in images],
                [label for _, label in part],
            ]
            arrays = [pyarrow.array(c, field.type) for c, field in zip(columns, SCHEMA)]
            writer.write_table(pyarrow.Table.from_arrays(arrays, schema=SCHEMA))
    return len(found)


def rows(out):
    """Row groups in random order, and the rows of each too."""
    path = os.path.join(out, "train.parquet")
    file = pyarrow.parquet.ParquetFile(path, memory_map=True, page_checksum_verification=True)
    groups = list(range(file.num_row_groups))
    random.shuffle(groups)
    for group in groups:
        table = file.read_row_group(group)
        order = list(range(len(table)))
        random.shuffle(order)
        images, widths, heights = (table[name] for name in ("image", "width", "height"))
        for i in order:
            pixels = numpy.frombuffer(images[i].as_buffer(), numpy.uint8)
            yield pixels.reshape(heights[i].as_py(), widths[i].as_py(), 3)


peer.main(
    {
        "build-raw": build,
        "load-raw": lambda source, out: peer.batches(
            peer.crop(Image.fromarray(pixels)) for pixels in rows(out)
        ),
    }
)
