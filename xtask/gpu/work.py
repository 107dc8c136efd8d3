"""What the steps share: sizes, the scratch folder, and running a program within the time that is left."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import dataclass

HERE = os.path.dirname(os.path.abspath(__file__))


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
    """Why a step failed, in a line, and what its program printed."""

    def __init__(self, reason, output=""):
        super().__init__(reason)
        self.output = output


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
            raise Failed(f"exit code {process.returncode}: {last_words(log, output)}", output)
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
