"""``lift.Loader`` on what ``lift-data build`` wrote: ``LIFT_TEST_SHARDS`` names a folder with train/ and test/."""

from __future__ import annotations

import csv
import gc
import itertools
import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

# It finds the package where that is not installed.
import folders  # noqa: F401

# isort: split
import lift
import numpy as np
import torch

SHARDS = os.environ.get("LIFT_TEST_SHARDS", "")
SIDE = 16
Batch = tuple[torch.Tensor, torch.Tensor]


def setUpModule() -> None:
    if not SHARDS:
        reason = "LIFT_TEST_SHARDS names no folder of shards"
        print(f"skipped: {reason}", file=sys.stderr)
        raise unittest.SkipTest(reason)


def seventh() -> int:
    """A batch size that makes seven batches of the test split, the last one not full."""
    return len(lift.Shards(SHARDS, "test")) // 7 + 1


def loader(split: str = "test", batch_size: int | None = None, **options: Any) -> lift.Loader:
    """A loader of small crops."""
    size = seventh() if batch_size is None else batch_size
    return lift.Loader(SHARDS, size, **{"split": split, "resolution": SIDE, "threads": 1, **options})


def slow(batch_size: int = 2000) -> lift.Loader:
    """One whose batches take little memory and long: 10 to 50 ms an image, which is enlarged before it is cropped."""
    return loader(batch_size=batch_size, view="five-crop", expand=4000, prefetch=1)


def joined(parts: tuple[Batch, ...]) -> Batch:
    """The parts of all processes as one batch."""
    return torch.cat([pixels for pixels, _ in parts]), torch.cat([labels for _, labels in parts])


def images(batches: list[Batch]) -> Counter[tuple[int, bytes]]:
    """Labels and pixels of all images, in any order."""
    return Counter(
        (int(label), image.contiguous().numpy().tobytes())
        for pixels, labels in batches
        for image, label in zip(pixels, labels, strict=True)
    )


class Case(unittest.TestCase):
    def same(self, found: list[Batch], expected: list[Batch]) -> None:
        self.assertEqual(len(found), len(expected))
        for one, other in zip(found, expected, strict=True):
            self.assertTrue(torch.equal(one[1], other[1]))
            self.assertTrue(torch.equal(one[0], other[0]))

    def differ(self, found: list[Batch], expected: list[Batch]) -> None:
        self.assertFalse(torch.equal(joined(tuple(found))[0], joined(tuple(expected))[0]))


class Order(Case):
    """Which images come, and when."""

    def test_evaluation_goes_through_the_rows_in_order(self) -> None:
        test = loader(view="center")
        batches = list(test)
        self.assertEqual(len(batches), len(test))
        labels = torch.cat([labels for _, labels in batches])
        self.assertEqual(labels.tolist(), test.shards.labels.tolist())
        self.assertEqual((labels.dtype, batches[0][0].dtype), (torch.int64, torch.uint8))

    def test_every_row_comes_once_an_epoch(self) -> None:
        expected = images(list(loader(view="center")))
        in_order = [label for _, labels in loader(view="center") for label in labels.tolist()]
        for window in (None, 512):
            shuffled = loader(view="center", shuffle=True, shuffle_window=window)
            for _ in range(2):
                batches = list(shuffled)
                self.assertEqual(images(batches), expected)
                self.assertNotEqual([label for _, labels in batches for label in labels.tolist()], in_order)
        for view in ("mda", "classic"):
            drawn = torch.cat([labels for _, labels in loader(view=view)])
            self.assertEqual(sorted(drawn.tolist()), sorted(in_order))

    def test_bytes_follow_seed_and_epoch_and_not_the_threads(self) -> None:
        for options in ({}, {"view": "classic"}, {"sampler": "square-root"}, {"shuffle_window": 512}):
            with self.subTest(options):
                one = loader(seed=3, **options)
                first, second = list(one), list(one)
                self.same(list(loader(seed=3, threads=2, prefetch=5, **options)), first)
                self.same(list(loader(seed=3, epoch=1, threads=2, **options)), second)
                one.set_epoch(0)
                self.same(list(one), first)
                self.differ(second, first)
                self.differ(list(loader(seed=4, **options)), first)

    def test_the_last_batch(self) -> None:
        rows = len(lift.Shards(SHARDS, "test"))
        size = rows // 3 + 1
        for drop_last, sizes in ((False, [size, size, rows - 2 * size]), (True, [size, size])):
            some = loader(batch_size=size, drop_last=drop_last)
            for epoch in range(2):
                self.assertEqual((some.epoch, some.step), (epoch, 0))
                self.assertEqual([len(labels) for _, labels in some], sizes)
            self.assertEqual(len(some), len(sizes))

    def test_leaving_the_loop_at_the_last_batch_ends_the_epoch(self) -> None:
        for drop_last in (False, True):
            some = loader(drop_last=drop_last)
            for epoch in range(2):
                self.assertEqual(some.epoch, epoch)
                taken = list(itertools.islice(some, len(some)))
                self.assertEqual(len(taken), len(some))

    def test_balanced_classes(self) -> None:
        train = loader("train", sampler="class-balanced")
        labels = torch.cat([labels for _, labels in train]).numpy()
        rows, classes = len(train.shards), len(train.shards.class_names)
        self.assertEqual(len(labels), rows)
        share = np.bincount(labels, minlength=classes) / rows
        # Six standard deviations of a binomial share.
        bound = 6 * (1 / classes * (1 - 1 / classes) / rows) ** 0.5
        self.assertLess(np.abs(share - 1 / classes).max(), bound)

    def test_two_loaders_at_a_time(self) -> None:
        expected = [list(loader(seed=seed)) for seed in (0, 1)]
        pairs = list(zip(loader(seed=0), loader(seed=1), strict=True))
        for which in (0, 1):
            self.same([pair[which] for pair in pairs], expected[which])


class Resuming(Case):
    def test_at_every_step_with_any_number_of_processes(self) -> None:
        whole = loader()
        first, second = list(whole), list(whole)
        before = loader()
        places = [before.state_dict(), *(before.state_dict() for _ in before)]
        self.assertEqual(len(places), len(first) + 1)
        for step, state in enumerate(places):
            for world_size in (1, 2, 3):
                with self.subTest(step=step, world_size=world_size):
                    ranks = [loader(rank=rank, world_size=world_size) for rank in range(world_size)]
                    for rank in ranks:
                        rank.load_state_dict(json.loads(json.dumps(state)))
                    rest = [joined(parts) for parts in zip(*ranks, strict=True)]
                    # After the last step of an epoch comes the next one.
                    self.same(rest, first[step:] or second)

    def test_from_process_to_process(self) -> None:
        expected = list(loader())
        found: list[Batch] = []
        state = loader().state_dict()
        for world_size in (1, 2, 3):
            ranks = [loader(rank=rank, world_size=world_size) for rank in range(world_size)]
            for rank in ranks:
                rank.load_state_dict(state)
            found += [joined(parts) for parts in itertools.islice(zip(*ranks, strict=True), 2)]
            # The first one has not looked for a batch after the second; all are at the same place.
            (state,) = [ranks[0].state_dict()]
            self.assertEqual([rank.state_dict() for rank in ranks], [state] * world_size)
        self.same(found, expected[:6])

    def test_the_next_loop_goes_on(self) -> None:
        expected = list(loader())
        some = loader()
        found = list(itertools.islice(some, 2))
        self.assertEqual((some.epoch, some.step), (0, 2))
        again = pickle.loads(pickle.dumps(some))
        self.same([*found, *some], expected)
        self.same([*found, *again], expected)

    def test_states_of_others_are_refused(self) -> None:
        some = loader(seed=5)
        state = some.state_dict()
        rows = len(some.shards)
        for change, part in (
            ({"format": 9}, "the state has format 9, this loader 1"),
            ({"rows": rows + 1}, f"the state has rows {rows + 1}, this loader {rows}"),
            ({"seed": 6}, "the state has seed 6, this loader 5"),
            ({"sampler": "square-root"}, "the state has sampler square-root, this loader instance"),
            ({"shuffle_window": 512}, "the state has shuffle_window 512, this loader None"),
            ({"images": rows + 1}, f"the state has images {rows + 1}, expected a number from 0 to {rows}"),
            ({"images": None}, "the state has images None"),
            ({"epoch": -1}, "the state has epoch -1"),
        ):
            with self.subTest(part), self.assertRaises(ValueError) as raised:
                some.load_state_dict({**state, **change})
            self.assertIn(part, str(raised.exception))
        self.assertEqual(some.state_dict(), state)


class Tensors(Case):
    """How batches lie in memory."""

    def test_crops(self) -> None:
        center = list(loader(view="center"))
        pixels = center[0][0]
        self.assertEqual(pixels.shape, (seventh(), 3, SIDE, SIDE))
        five = list(loader(view="five-crop", expand=SIDE // 7))
        ten = list(loader(view="ten-crop", expand=SIDE // 7))
        self.assertEqual(five[0][0].shape, (seventh(), 5, 3, SIDE, SIDE))
        for (one, _), (crops, _), (both, _) in zip(center, five, ten, strict=True):
            self.assertTrue(torch.equal(crops[:, 4], one))
            self.assertTrue(torch.equal(both[:, :5], crops))
            self.assertTrue(torch.equal(both[:, 5:], crops.flip(-1)))
        wider = next(iter(loader(view="five-crop", expand=SIDE)))[0]
        self.assertFalse(torch.equal(wider[:, 4], pixels))

    def test_layouts(self) -> None:
        for view in ("center", "five-crop"):
            nchw = next(iter(loader(view=view)))[0]
            nhwc = next(iter(loader(view=view, layout="nhwc")))[0]
            self.assertEqual(nhwc.shape[-3:], (SIDE, SIDE, 3))
            self.assertTrue(nhwc.is_contiguous())
            self.assertTrue(torch.equal(nchw, nhwc.movedim(-1, -3)))
            self.assertTrue(nchw.reshape(-1, 3, SIDE, SIDE).is_contiguous(memory_format=torch.channels_last))

    def test_a_batch_outlives_the_loader_and_its_other_batches(self) -> None:
        expected = [(pixels.clone(), labels.clone()) for pixels, labels in loader()]
        some = loader(prefetch=2)
        kept = list(some)
        # Another epoch, whose batches go at once and whose buffers are used again.
        for batch in some:
            del batch
        self.same(kept, expected)
        del some
        gc.collect()
        # Memory that was let go by mistake would be theirs.
        others = [torch.full((seventh(), SIDE, SIDE, 3), 7, dtype=torch.uint8) for _ in range(20)]
        self.same(kept, expected)
        self.assertEqual(len(others), 20)
        self.assertEqual(len({pixels.data_ptr() for pixels, _ in kept}), len(kept))

    def test_pinned_memory(self) -> None:
        if not torch.cuda.is_available():
            self.skipTest("CUDA is not available")
        plain = list(loader())
        pinned = list(loader(pin=True))
        self.assertTrue(all(part.is_pinned() for batch in pinned for part in batch))
        self.assertTrue(pinned[0][0].is_contiguous(memory_format=torch.channels_last))
        self.same(pinned, plain)


class Arguments(Case):
    def test_what_is_refused(self) -> None:
        for options, message in (
            ({"view": "top"}, "view 'top' is none of mda, classic, center, fitted, five-crop, ten-crop"),
            ({"sampler": "x"}, "sampler 'x' is none of instance, class-balanced, square-root, progressive"),
            ({"area_schedule": "x"}, "area_schedule 'x' is none of convex, linear, concave, min, max"),
            ({"layout": "x"}, "layout 'x' is none of nchw, nhwc"),
            ({"rank": 2, "world_size": 2}, "rank 2 of 2: ranks count from 0"),
            ({"rank": -1}, "rank -1 of 1: ranks count from 0"),
            ({"world_size": 0}, "world_size 0 is out of range, it is from 1 to "),
            ({"batch_size": 0}, "batch_size 0 is out of range"),
            ({"batch_size": 2, "world_size": 3}, "batch_size 2 is of all 3 processes together"),
            ({"batch_size": 10**9, "drop_last": True}, "batch_size 1000000000 with drop_last leaves no batch of "),
            ({"resolution": 0}, "resolution 0 is out of range, it is from 1 to 16384"),
            ({"resolution": 10**6}, "resolution 1000000 is out of range"),
            ({"threads": 10**5}, "threads 100000 is out of range, it is from 0 to 1024"),
            ({"prefetch": 0}, "prefetch 0 is out of range"),
            ({"seed": -1}, "seed -1 is out of range"),
            ({"seed": 2**64}, f"seed {2**64} is out of range"),
            ({"expand": -1}, "expand -1 is out of range"),
            ({"epochs": 0}, "epochs 0 is out of range"),
            ({"view": "center", "sampler": "square-root"}, "sampler 'square-root' draws images anew"),
            ({"view": "center", "shuffle_window": 512}, "shuffle_window 512 needs shuffle=True"),
            ({"sampler": "square-root", "shuffle_window": 512}, "and cannot have a shuffle_window"),
        ):
            with self.subTest(options), self.assertRaises(ValueError) as raised:
                loader(**options)
            self.assertIn(message, str(raised.exception))

    def test_words_are_those_of_the_native_module(self) -> None:
        some = loader()
        native = some._started()
        for name, words in lift.loader._WORDS.items():
            if name == "layout":
                continue
            for word in words:
                next(native.batches(SimpleNamespace(**{**vars(some._epoch), name: word})))
            with self.assertRaises(ValueError) as raised:
                native.batches(SimpleNamespace(**{**vars(some._epoch), name: "x"}))
            self.assertEqual(str(raised.exception), f'{name} "x" is none of {", ".join(words)}')


def labels_of(some: lift.Loader, queue: Any) -> None:
    """In another process."""
    queue.put([labels.tolist() for _, labels in some])


class Processes(Case):
    """Threads, signals, and other processes."""

    def test_a_fork_has_threads_of_its_own(self) -> None:
        some = loader()
        expected = [labels.tolist() for _, labels in some]
        some.set_epoch(0)
        for how in ("fork", "spawn"):
            context: Any = multiprocessing.get_context(how)
            queue = context.Queue()
            child = context.Process(target=labels_of, args=(some, queue))
            child.start()
            self.assertEqual(queue.get(timeout=60), expected)
            child.join(60)
            self.assertEqual(child.exitcode, 0)

    def test_other_threads_go_on_while_a_batch_is_waited_for(self) -> None:
        counted, done = 0, threading.Event()

        def count() -> None:
            nonlocal counted
            while not done.wait(0.001):
                counted += 1

        thread = threading.Thread(target=count)
        thread.start()
        begun = time.monotonic()
        next(iter(slow(batch_size=20)))
        seconds = time.monotonic() - begun
        done.set()
        thread.join()
        # It would be a few, were Python's lock held. A busy machine may take a tenth of the time for other things.
        self.assertGreater(counted, seconds * 50)

    def test_an_iterator_that_is_left_does_not_hang(self) -> None:
        begun = time.monotonic()
        batches = iter(slow(batch_size=10))
        next(batches)
        del batches
        self.assertLess(time.monotonic() - begun, 20)
        code = "batches = iter(loader)\nnext(batches)\nprint('left')\n"
        # The iterator is alive, and a batch in work, when the process ends.
        child = self.start("slow(10)", code)
        self.assertEqual(child.communicate(timeout=60)[0].strip(), "left")
        self.assertEqual(child.returncode, 0)

    def test_ctrl_c(self) -> None:
        code = (
            "print('waiting', flush=True)\ntry:\n    next(iter(loader))\n"
            "except KeyboardInterrupt:\n    print('interrupted', flush=True)\n"
        )
        child = self.start("slow()", code)
        assert child.stdout is not None
        self.assertEqual(child.stdout.readline().strip(), "waiting")
        time.sleep(0.7)
        begun = time.monotonic()
        child.send_signal(signal.SIGINT)
        self.assertEqual(child.communicate(timeout=60)[0].strip(), "interrupted")
        # A batch of the 2,000 images takes half a minute or more.
        self.assertLess(time.monotonic() - begun, 5)
        self.assertEqual(child.returncode, 0)

    def start(self, expression: str, code: str) -> subprocess.Popen[str]:
        setup = f"import sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\nfrom test_loader import slow\n"
        program = f"{setup}loader = {expression}\n{code}"
        child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        self.addCleanup(child.kill)
        return child


class Fidelity(Case):
    """Batches through ``lift.load`` against ``lift-train eval``: ``LIFT_TEST_RUN`` names a run whose shards are those
    of ``LIFT_TEST_SHARDS``, ``LIFT_TRAIN`` the program.
    """

    def test_predictions_are_those_of_the_trainer(self) -> None:
        run, program = os.environ.get("LIFT_TEST_RUN"), os.environ.get("LIFT_TRAIN")
        if not run or not program:
            self.skipTest("LIFT_TEST_RUN names no run, or LIFT_TRAIN no program")
        model = lift.load(run)
        mean, std = (torch.tensor(values).reshape(3, 1, 1) for values in (model.mean, model.std))
        for tte, view in (("none", "center"), ("five-crop", "five-crop")):
            with self.subTest(tte):
                expected = self.judged(program, run, tte)
                test = loader(view=view, resolution=model.resolution, expand=5)
                self.assertEqual(len(expected), len(test.shards))
                sources = map(test.shards.source, range(len(test.shards)))
                for pixels, labels in test:
                    crops = pixels.reshape(len(labels), -1, *pixels.shape[-3:])
                    with torch.no_grad():
                        logits = model(((crops / 255 - mean) / std).flatten(0, 1))
                    probabilities = logits.unflatten(0, crops.shape[:2]).mean(1).softmax(-1)
                    for row, label, source in zip(probabilities, labels.tolist(), sources, strict=False):
                        judged = expected[source]
                        self.assertEqual(int(judged["label"]), label)
                        said = int(judged["predicted"])
                        # Of two classes that are as likely, sums in another order may prefer the other one.
                        self.assertLess((row.max() - row[said]).item(), 1e-4)
                        self.assertLess(abs(row[said].item() - float(judged["confidence"])), 1e-3)

    def judged(self, program: str, run: str, tte: str) -> dict[str, dict[str, str]]:
        """What the program says of each image, by where that came from."""
        with tempfile.TemporaryDirectory() as folder:
            table = Path(folder) / "predictions.csv"
            command = [program, "eval", run, "--shards", SHARDS, "--precision", "fp32", "--tte", tte, "--expand", "5"]
            done = subprocess.run([*command, "--predictions", str(table)], capture_output=True, text=True, timeout=600)
            self.assertEqual(done.returncode, 0, done.stderr)
            with table.open(newline="") as lines:
                return {row["path"]: row for row in csv.DictReader(lines)}


if __name__ == "__main__":
    unittest.main()
