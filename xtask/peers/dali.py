"""NVIDIA DALI on the CPU: photos read, decoded (the crop's part only, as it likes) and resized by its pipeline."""

import os

from nvidia.dali import fn, pipeline_def, types

import peer


@pipeline_def(batch_size=peer.BATCH, num_threads=os.cpu_count(), device_id=None)
def crops(folder):
    encoded, label = fn.readers.file(file_root=folder, random_shuffle=True, name="photos")
    image = fn.decoders.image_random_crop(
        encoded, device="cpu", random_aspect_ratio=[1.0, 1.0], random_area=[0.08, 0.75]
    )
    image = fn.resize(
        image, size=[peer.SIDE, peer.SIDE], interp_type=types.INTERP_CUBIC, antialias=True
    )
    return image, label


def load(source, _):
    pipeline = crops(source)
    pipeline.build()
    count = pipeline.epoch_size("photos")
    for _ in range(-(-count // peer.BATCH)):
        pipeline.run()[0].as_array()
    return -(-count // peer.BATCH) * peer.BATCH


peer.main({"load-photos": load})
