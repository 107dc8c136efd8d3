"""Checks LIFT on a GPU and measures it, step by step; `gpu-check.sh` starts it with the libraries' paths set.

Each step runs programs of the bundle with a time limit of its own. One that fails is a row of the table, and the next
one runs. Exit codes: 0 no step failed, 1 one did, 2 wrong usage. A missed target is no failure.
"""

import argparse
import concurrent.futures
import contextlib
import datetime
import glob
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import traceback
from dataclasses import dataclass

from record import Record

HERE = os.path.dirname(os.path.abspath(__file__))
# The forward pass of an image through a ViT-B/16 at 224 pixels and, through frozen weights, the backward pass.
GIGAFLOP_PER_IMAGE = 70
# What matrix products in bf16 reach on an H200.
MATRIX_TERAFLOP_PER_SECOND = 790
EPOCHS = 5
LOWEST_ACCURACY = 0.15


@dataclass
class Size:
    """How much work the steps are given."""

    model: str
    resolution: int
    batch_size: int
    classes: int
    photos: int
    train: int
    largest: int
    test: int
    goldens_at_once: int
    free_bytes: int


FULL = Size("b16", 224, 128, 1000, 256, 115846, 1280, 50000, 4, 12 << 30)
TINY = Size("tiny", 64, 16, 10, 16, 240, 90, 40, 2, 1 << 28)


class Skipped(Exception):
    """Why a step, or a part of it, cannot be done here."""


class Failed(Exception):
    """Why a step failed, in a line."""


class Check:
    """What the steps share: settings, folders, the rows, and running a program within the time that is left."""

    def __init__(self, args, record):
        self.args, self.record = args, record
        self.size = TINY if args.cpu else FULL
        self.device = "cpu" if args.cpu else "cuda:0"
        self.precision = "fp32" if args.cpu else "bf16"
        self.seconds = args.seconds
        self.step, self.deadline = "", 0.0
        os.makedirs(self.path("logs"), exist_ok=True)
        shutil.rmtree(self.path("bin"), ignore_errors=True)
        with tarfile.open(os.path.join(HERE, "programs.tar.gz")) as archive:
            archive.extractall(self.path("bin"), filter="data")

    def path(self, *names):
        """In the scratch folder."""
        return os.path.join(self.args.work, *names)

    def program(self, name):
        """A program of the bundle, unpacked."""
        return self.path("bin", name)

    def run(self, command, log=None):
        """What `command` prints; its other words go to a log. Over the deadline it is killed with all it started."""
        log = self.path("logs", f"{log or self.step}.txt")
        command = [str(word) for word in command]
        with open(log, "a") as errors:
            print("$", *command, file=errors, flush=True)
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True
            )
            try:
                output, _ = process.communicate(timeout=max(1.0, self.deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                raise Failed(f"{os.path.basename(command[0])} took too long") from None
            finally:
                if process.poll() is None:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
            print(output, file=errors)
        if process.returncode != 0:
            raise Failed(f"exit code {process.returncode}: {last_words(log, output)}")
        return output

    def json(self, command, log=None):
        """The JSON document that `command` prints."""
        return json.loads(self.run(command, log))

    def lift_train(self, *words, log=None):
        return self.json([self.program("lift-train"), *words], log)

    def python(self, script, *words):
        return self.run([sys.executable, os.path.join(HERE, script), *words])

    def log_tail(self):
        """The end of the step's log: the scratch folder may be removed, and the reason is one line."""
        with open(self.path("logs", f"{self.step}.txt"), errors="replace") as file:
            return file.read()[-4000:]

    def model(self):
        """The CLIP with random weights, made when it is first asked for."""
        path = self.path(f"{self.size.model}.safetensors")
        if not os.path.exists(path):
            self.python("make_model.py", "--size", self.size.model, "--out", path)
        return path

    def built(self, name):
        """A folder that the step `photos` has made; the shards' manifest is the last that it writes."""
        if not os.path.exists(self.path("shards", "test", "manifest.json")):
            raise Skipped("needs the step photos")
        return self.path(name)

    def stage(self, stage, precision, *words):
        """A stage of `lift-train bench`."""
        words = ["--precision", precision, "--device", self.device, "--seconds", self.seconds, "--json", *words]
        words = ["--batch-size", self.size.batch_size, "--num-classes", self.size.classes, *words]
        return self.lift_train("bench", "--stage", stage, "--model", self.model(), *words)


def last_words(log, output):
    """What a program said of its failure: the line of its error, else its last one."""
    with open(log, errors="replace") as file:
        lines = [line.strip() for line in file.read().split("\n$ ")[-1].splitlines()[1:] if line.strip()]
    lines = lines or output.strip().splitlines() or ["no output"]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines)[-1][:160]


# The steps, in the order they run.


def goldens(check):
    """Numbers that other implementations gave, replayed on the device."""
    folder = os.path.join(HERE, "goldens")
    runs = sorted(glob.glob(f"{folder}/tuners/*.safetensors"))
    if not runs:
        raise Skipped("the bundle has no golden values")

    def replay(precision, run):
        name = os.path.basename(run).removesuffix(".safetensors")
        model = "vit-timm-layout" if name.startswith("timm-") else "clip-openai-layout"
        words = ["--model", f"{folder}/{model}.safetensors", "--inputs", f"{folder}/train-inputs.safetensors"]
        words += ["--run", run, "--device", check.device, "--precision", precision, "--json"]
        try:
            return name, None, check.lift_train("parity", *words, log=f"goldens-{precision}-{name}")
        except (Failed, ValueError) as error:
            return name, str(error), None

    for precision in ("fp32", "bf16"):
        with concurrent.futures.ThreadPoolExecutor(check.size.goldens_at_once) as pool:
            results = list(pool.map(lambda run: replay(precision, run), runs))
        bad = [(name, error) for name, error, _ in results if error]
        verdict = f"failed: {bad[0][0]}: {bad[0][1]}" if bad else "ok"
        detail = {name: error or document for name, error, document in results}
        figure = f"{len(results) - len(bad)} of {len(results)} runs within tolerance"
        check.record.add("goldens", f"golden runs, {precision}", verdict, figure, None, detail)


def device(check):
    """Copies to the device: what arrives is what was sent."""
    if check.args.cpu:
        raise Skipped("no GPU")
    document = check.lift_train("check-device", "--device", check.device, "--json")
    check.record.add("device", "transfer checks", "ok", "all passed", None, document)


def shapes(check):
    """Trains the demo's model on drawn shapes: a whole job whose outcome is known."""
    run = check.path("runs", "shapes")
    shutil.rmtree(run, ignore_errors=True)
    words = ["--shards", f"{HERE}/shapes", "--model", f"{HERE}/shapes-clip", "--init", "class-mean", "--out", run]
    words += ["--device", check.device, "--precision", check.precision, "--tte", "none"]
    words += ["--epochs", 1 if check.args.cpu else 2]
    check.run([check.program("lift-train"), *words])
    with open(f"{run}/report.json") as file:
        report = json.load(file)
    accuracy = report["evaluations"][0]["metrics"]["overall"]
    if accuracy < LOWEST_ACCURACY:
        raise Failed(f"{accuracy:.1%} of the shapes are told apart, and {LOWEST_ACCURACY:.0%} should be at least")
    figure = f"{accuracy:.1%} right, 100 classes"
    check.record.add("shapes", f"tuning on shapes, {check.precision}", "ok", figure, None, report["training"])


def transfer(check):
    """Batches from the host to the device, without a model's work."""
    document = check.stage("transfer", check.precision)
    check.record.figure("transfer", "transfer", document["images_per_second"], "images/s", detail=document)
    if document.get("gigabytes_per_second") is not None:
        check.record.figure("transfer", "transfer, bytes", document["gigabytes_per_second"], "GB/s")


def step(check):
    """A training step of the default method on images that lie on the device."""
    document = check.stage("step", check.precision)
    rate = document["images_per_second"]
    name = f"training step, {check.precision}"
    check.record.figure("step", name, rate, "images/s", at_least=5500, detail=document)
    if not check.args.cpu:
        reached = document.get("teraflop_per_second") or rate * GIGAFLOP_PER_IMAGE / 1000
        mfu = 100 * reached / MATRIX_TERAFLOP_PER_SECOND
        check.record.figure("step", f"MFU, of {MATRIX_TERAFLOP_PER_SECOND} TFLOP/s", mfu, "%", at_least=50)
    if document.get("peak_device_bytes"):
        gigabytes = document["peak_device_bytes"] / 1e9
        check.record.figure("step", f"memory, batch {check.size.batch_size}", gigabytes, "GB", at_most=12)
    if not check.args.cpu:
        document = check.stage("step", "fp16")
        check.record.figure("step", "training step, fp16", document["images_per_second"], "images/s", detail=document)


def photos(check):
    """Synthetic photos and lists at ImageNet-LT's size, and shards of them."""
    size = check.size
    free = shutil.disk_usage(check.args.work).free
    if free < size.free_bytes:
        raise Failed(f"{free >> 30} GiB are free, {size.free_bytes >> 30} are needed; --work names another folder")
    for name in ("photos", "shards", "shards-rgb8"):
        shutil.rmtree(check.path(name), ignore_errors=True)
    words = ["--classes", size.classes, "--train", size.train, "--largest", size.largest, "--test", size.test]
    check.python("make_photos.py", "--out", check.path("photos"), "--photos", size.photos, *words)

    def build(out, *more):
        words = ["--source", check.path("photos", "lists"), "--root", check.path("photos", "photos")]
        words += ["--out", check.path(out), *more, "--json"]
        return check.json([check.program("lift-data"), "build", "list", *words])

    # Pixels of a few thousand: of all they would be 30 GB.
    build("shards-rgb8", "--encoding", "rgb8", "--split", "train", "--max-per-class", 8)
    document = build("shards", "--encoding", "jpeg")
    train = next(split for split in document["splits"] if split["split"] == "train")
    what = f"building shards, {train['images']:,} photos"
    check.record.figure("photos", what, train["images_per_second"], "images/s", detail=document)


def loader(check):
    """Batches as training gets them, dropped."""
    for name, what in (("shards", "JPEG"), ("shards-rgb8", "pixels")):
        words = ["--shards", check.built(name), "--batch-size", check.size.batch_size, "--rounds", 2]
        words += ["--resolution", check.size.resolution, "--seconds", check.seconds / 2, "--json"]
        document = check.lift_train("bench", *words)
        rate = document["loader"]["images_per_second"]
        check.record.figure("loader", f"loader, {what} shards", rate, "images/s", detail=document)


def train(check):
    """A minute of training from shards, end to end."""
    shards = check.built("shards")
    epochs = 1
    if not check.args.cpu:
        rate = check.record.value(f"training step, {check.precision}") or 5500
        epochs = min(max(round(check.args.train_seconds * rate / check.size.train), 1), EPOCHS)
    run = check.path("runs", "train")
    shutil.rmtree(run, ignore_errors=True)
    words = ["--shards", shards, "--model", check.model(), "--init", "random", "--out", run, "--epochs", epochs]
    words += ["--batch-size", check.size.batch_size, "--device", check.device, "--precision", check.precision]
    check.run([check.program("lift-train"), *words, "--tte", "none"])
    with open(f"{run}/report.json") as file:
        training = json.load(file)["training"]
    training["epochs"] = epochs
    rate = training["images_per_second"]
    check.record.figure("train", "training, end to end", rate, "images/s", detail=training)
    check.record.figure("train", "GPU waits for data", 100 * training["data_wait_share"], "% of the time", at_most=2)
    seconds = EPOCHS * check.size.train / rate
    check.record.figure("train", f"{EPOCHS} epochs at this rate", seconds, "s", at_most=180)
    if training.get("peak_device_bytes"):
        gigabytes = training["peak_device_bytes"] / 1e9
        check.record.figure("train", "memory in training", gigabytes, "GB", at_most=12)


def evaluation(check):
    """The forward pass alone, and the five-crop evaluation of the run that the step `train` has left."""
    document = check.stage("evaluation", check.precision, "--shards", check.built("shards"))
    check.record.figure("evaluation", "evaluation", document["images_per_second"], "images/s", detail=document)
    run = check.path("runs", "train")
    if not os.path.exists(f"{run}/report.json"):
        raise Skipped("five crops need the step train")
    start = time.monotonic()
    words = ["--run", run, "--tte", "five-crop", "--batch-size", check.size.batch_size, "--device", check.device]
    check.lift_train("eval", *words, "--json")
    seconds = time.monotonic() - start
    check.record.figure("evaluation", f"five-crop, {check.size.test:,} images", seconds, "s", at_most=60)


def baseline(check):
    """The same training in plain PyTorch, as its authors do it."""
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("torchvision") is None:
        raise Skipped("no torch, or no torchvision")
    words = ["--model", check.model(), "--num-classes", check.size.classes, "--device", check.device]
    words += ["--batch-size", check.size.batch_size, "--workers", os.cpu_count()]
    words += ["--warm-up", 1] if check.args.cpu else []

    def compare(data, what, ours, *more):
        document = json.loads(check.python("baseline.py", *words, "--data", data, *more))
        rate = document["images_per_second"]
        check.record.figure("baseline", f"PyTorch AMP, {what}", rate, "images/s", detail=document)
        if ours is not None:
            check.record.figure("baseline", f"LIFT over PyTorch, {what}", ours / rate, "x", at_least=2)

    seconds = ["--seconds", check.seconds]
    compare("ideal", "ideal data", check.record.value(f"training step, {check.precision}"), *seconds)
    files = check.built("photos")
    lists = ["--list", f"{files}/lists/train.txt", "--images", f"{files}/photos", "--seconds", 2 * check.seconds]
    compare("files", "JPEG files", check.record.value("training, end to end"), *lists)


def sanitizer(check):
    """The transfer checks once more, every access to the device's memory watched."""
    if check.args.cpu:
        raise Skipped("no GPU")
    places = ["/usr/local/cuda*/bin/compute-sanitizer", "/usr/local/cuda*/compute-sanitizer/compute-sanitizer"]
    found = [shutil.which("compute-sanitizer"), *(path for place in places for path in sorted(glob.glob(place)))]
    found = [path for path in found if path]
    if not found:
        raise Skipped("no compute-sanitizer")
    # PyTorch asks CUDA questions that fail in good order, so only memory errors count.
    words = ["--tool", "memcheck", "--report-api-errors", "no", "--error-exitcode", "99"]
    words += ["--log-file", check.path("logs", "memcheck.txt")]
    program = [check.program("lift-train"), "check-device", "--device", check.device]
    check.run([found[0], *words, *program])
    check.record.add("sanitizer", "transfer checks, memcheck", "ok", "no memory error")


# Each with its time limit in seconds. What matters least comes last, where the time may run out.
STEPS = [
    (goldens, 100),
    (device, 40),
    (shapes, 60),
    (transfer, 40),
    (step, 80),
    (photos, 120),
    (loader, 60),
    (train, 150),
    (evaluation, 110),
    (baseline, 120),
    (sanitizer, 120),
]
NAMES = [function.__name__ for function, _ in STEPS]


def run_steps(check, chosen, budget):
    """Runs the chosen steps; none can stop the others."""
    end = time.monotonic() + budget
    for function, limit in STEPS:
        name = function.__name__
        if name not in chosen:
            continue
        print(f"==> {name}: {function.__doc__}", file=sys.stderr, flush=True)
        start = time.monotonic()
        # The limits are a GPU machine's; two busy cores need longer even for the tiny sizes.
        check.step, check.deadline = name, min(start + limit * (3 if check.args.cpu else 1), end)
        try:
            if end - start < 5:
                raise Skipped("no time left")
            function(check)
        except Skipped as reason:
            check.record.add(name, name, f"skipped: {reason}")
        except Exception as error:  # whatever it is, the other steps run
            with open(check.path("logs", f"{name}.txt"), "a") as log:
                traceback.print_exc(file=log)
            reason = str(error) if isinstance(error, Failed) else f"{type(error).__name__}: {error}"
            check.record.add(name, name, f"failed: {reason}", detail={"log": check.log_tail()})
        print(f"    {time.monotonic() - start:.1f} s", file=sys.stderr, flush=True)


def ask_nvidia_smi():
    """Name, driver and memory of the first card, or three times nothing."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader", "--id=0"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=30, check=True).stdout
        return [part.strip() for part in answer.strip().splitlines()[0].split(",")]
    except (OSError, subprocess.SubprocessError, IndexError):
        return [None, None, None]


def torch_version():
    """PyTorch's version as its package says, without importing it."""
    spec = importlib.util.find_spec("torch")
    if spec is None:
        return None
    with open(os.path.join(spec.submodule_search_locations[0], "version.py")) as file:
        lines = [line for line in file if line.startswith("__version__")]
    return lines[0].split("=")[1].strip().strip("'\"") if lines else None


def parse_args():
    parser = argparse.ArgumentParser(
        prog="gpu-check.sh",
        description="Checks LIFT on a GPU, measures it, and prints one table.",
        epilog=f"Steps: {', '.join(NAMES)}. Also: --libtorch DIR, a libtorch 2.11 to use instead of PyTorch's.",
    )
    parser.add_argument("--cpu", action="store_true", help="the same steps with tiny sizes on the CPU, no target")
    parser.add_argument("--only", metavar="STEP,...", help="run these steps alone")
    parser.add_argument("--seconds", type=float, help="length of each timed part [default: 5; with --cpu 1]")
    parser.add_argument("--train-seconds", type=float, default=60, help="about how long the step train lasts [60]")
    parser.add_argument("--budget", type=float, default=540, help="seconds for all steps together [540]")
    parser.add_argument("--work", help="scratch folder, kept; 12 GB of it are used [a temporary one, removed]")
    parser.add_argument("--json", default="gpu-check.json", help="where the result goes [gpu-check.json]")
    args = parser.parse_args()
    args.chosen = args.only.split(",") if args.only else NAMES
    for name in args.chosen:
        if name not in NAMES:
            parser.error(f"there is no step {name!r}; the steps are {', '.join(NAMES)}")
    if args.seconds is None:
        args.seconds = 1 if args.cpu else 5
    return args


def main():
    args = parse_args()
    # So that a step's programs end when this one is told to.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    card, driver, memory = ask_nvidia_smi()
    head = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "card": card,
        "card_memory": memory,
        "driver": driver,
        "torch": torch_version(),
        "mode": "cpu" if args.cpu else "cuda",
        "cores": os.cpu_count(),
    }
    record = Record(args.json, head, judge=not args.cpu)
    with contextlib.ExitStack() as stack:
        if args.work is None:
            args.work = stack.enter_context(tempfile.TemporaryDirectory(prefix="lift-gpu-check-"))
        os.makedirs(args.work, exist_ok=True)
        run_steps(Check(args, record), args.chosen, args.budget)
    print(f"{card or 'no GPU'}, driver {driver or '-'}, torch {head['torch'] or '-'}, {head['cores']} cores, {head['date']}")
    print(record.table())
    print(f"result: {args.json}", file=sys.stderr)
    sys.exit(1 if record.failed() else 0)


if __name__ == "__main__":
    main()
