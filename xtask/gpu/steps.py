"""The steps of a check. Each is a function that adds rows to the record, or says why it is skipped or failed."""

import concurrent.futures
import glob
import importlib.util
import json
import os
import shutil
import time

from work import HERE, Failed, Skipped

# What matrix products in bf16 reach on an H200.
MATRIX_TERAFLOP_PER_SECOND = 790
EPOCHS = 5
LOWEST_ACCURACY = 0.15


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
        except Failed as error:
            return name, str(error), error.output  # above tolerance it has printed how far
        except ValueError as error:
            return name, str(error), None

    for precision in ("fp32", "bf16"):
        with concurrent.futures.ThreadPoolExecutor(check.size.goldens_at_once) as pool:
            results = list(pool.map(lambda run: replay(precision, run), runs))
        bad = [(name, error) for name, error, _ in results if error]
        verdict = f"failed: {bad[0][0]}: {bad[0][1]}" if bad else "ok"
        detail = {name: {"error": error, "document": document} for name, error, document in results}
        figure = f"{len(results) - len(bad)} of {len(results)} runs within tolerance"
        check.record.add("goldens", f"golden runs, {precision}", verdict, figure, None, detail)


def device(check):
    """Copies to the device: what arrives is what was sent."""
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
    name = f"training step, {check.precision}"
    check.record.figure("step", name, document["images_per_second"], "images/s", at_least=5500, detail=document)
    if not check.args.cpu:
        mfu = 100 * document["teraflop_per_second"] / MATRIX_TERAFLOP_PER_SECOND
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
        # The lists repeat the photos.
        words = ["--source", check.path("photos", "lists"), "--root", check.path("photos", "photos")]
        words += ["--allow-repeats", "--out", check.path(out), *more, "--json"]
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
        rates = [check.record.value(f"training step, {check.precision}"), check.record.value("loader, JPEG shards")]
        rate = min((rate for rate in rates if rate), default=5500)
        epochs = min(max(int(check.args.train_seconds * rate / check.size.train), 1), EPOCHS)
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
    """The five-crop evaluation of the run that the step `train` has left, and the evaluation stage alone."""
    run = check.path("runs", "train")
    what = f"five-crop, {check.size.test:,} images"
    if os.path.exists(f"{run}/report.json"):
        start = time.monotonic()
        words = ["--run", run, "--tte", "five-crop", "--batch-size", check.size.batch_size, "--device", check.device]
        check.lift_train("eval", *words, "--json")
        check.record.figure("evaluation", what, time.monotonic() - start, "s", at_most=60)
    else:
        check.record.add("evaluation", what, "skipped: needs the step train")
    document = check.stage("evaluation", check.precision)
    check.record.figure("evaluation", "evaluation", document["images_per_second"], "images/s", detail=document)


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
    # A process hands whole batches over there, 77 MB each, two ahead.
    needed, there = 2 * os.cpu_count() * check.size.batch_size * 602112, shutil.disk_usage("/dev/shm").free
    if needed > there:
        raise Skipped(f"JPEG files: /dev/shm has {there >> 20} MiB, its workers want {needed >> 20}")
    # They come in bursts, so that a short while says little.
    lists = ["--list", f"{files}/lists/train.txt", "--images", f"{files}/photos", "--seconds", 4 * check.seconds]
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
    log = check.path("logs", "memcheck.txt")
    words += ["--log-file", log, check.program("lift-train"), "check-device", "--device", check.device]
    try:
        check.run([found[0], *words])
    except Failed as error:
        found_there = ""
        if os.path.exists(log):
            with open(log, errors="replace") as file:
                found_there = file.read()
        if "Device not supported" in found_there:
            raise Skipped("compute-sanitizer does not support this device") from None
        verdict = f"failed: {error}"
        check.record.add("sanitizer", "transfer checks, memcheck", verdict, detail={"log": found_there[:8000]})
        return
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
