"""Checks LIFT on a GPU and measures it, step by step; `gpu-check.sh` starts it with the libraries' paths set.

Each step runs programs of the bundle with a time limit of its own. One that fails is a row of the table, and the next
one runs. Exit codes: 0 no step failed, 1 one did, 2 wrong usage. A missed target is no failure.
"""

import argparse
import contextlib
import datetime
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback

from record import Record
from steps import NAMES, STEPS
from work import Check, Failed, Skipped


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
    record = Record(args.json, head, judge="H200" in (card or ""))
    with contextlib.ExitStack() as stack:
        if args.work is None:
            args.work = stack.enter_context(tempfile.TemporaryDirectory(prefix="lift-gpu-check-"))
        os.makedirs(args.work, exist_ok=True)
        run_steps(Check(args, record), args.chosen, args.budget)
    machine = f"{card or 'no GPU'}, driver {driver or '-'}, torch {head['torch'] or '-'}, {head['cores']} cores"
    print(f"{machine}, {head['date']}")
    print(record.table())
    print(f"result: {args.json}", file=sys.stderr)
    sys.exit(1 if record.failed() else 0)


if __name__ == "__main__":
    main()
