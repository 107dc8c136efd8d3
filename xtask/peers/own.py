"""The package `lift` from Python: shards that `lift-data` has built, in batches of torch tensors; every image is checked."""

import lift

import peer

#: Passes in one: it is done with one in a few tenths of a second.
TIMES = 10


def load(_, out):
    loader = lift.Loader(
        out, peer.BATCH, split="train", resolution=peer.SIDE, area_schedule="min", epochs=TIMES
    )
    return sum(len(labels) for _ in range(TIMES) for _, labels in loader)


def prepare(out):
    """The first batch starts its threads."""
    next(iter(lift.Loader(out, peer.BATCH, split="train", resolution=peer.SIDE)))


peer.main({"load-raw": load, "load-jpeg": load, "load-photos": load}, prepare=prepare)
