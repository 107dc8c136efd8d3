"""Questions that the programs answer: SQL over shards and tables (``lift-data query``), and the report of a run (``lift-train report``).

The programs are those of the environment that Python runs in, else of ``PATH``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from .error import LiftError


def query(path: str | os.PathLike[str], sql: str, /, **tables: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The rows that answer ``sql``, each a dict of its columns; of ``lift-data query``, which the wheel ``lift-data`` brings.

    ``path`` is what it takes: shards, a table, a folder of tables or a source. The splits of shards are tables with every column
    but the image, and ``classes`` is one; ``tables`` are more of them by name. All rows are in memory: ask for what is needed.

    >>> lift.query("shards", "select class, count(*) as n from train group by class order by n desc limit 1")
    [{'class': 'pink ring', 'n': 500}]

    Raises :class:`lift.LiftError` with what the program says.
    """
    more = [word for name, file in tables.items() for word in ("--with", f"{name}={os.fspath(file)}")]
    rows: list[dict[str, Any]] = json.loads(_answer("lift-data", "query", "--json", *more, "--", path, sql))
    return rows


def report(run: str | os.PathLike[str]) -> dict[str, Any]:
    """What ``lift-train report RUN --recorded`` says of a run that has ended, as a dict: accuracy by band with intervals, classes,
    confusions, curves; from the run's own files, without a look at an image.

    The keys are those of its JSON (docs/run-reports.md). Raises :class:`lift.LiftError` with what the program says.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "report.json"
        _answer("lift-train", "report", "--recorded", "--json", file, "--", run)
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def _answer(name: str, *arguments: str | os.PathLike[str]) -> str:
    beside = Path(sys.executable).with_name(name)
    program = str(beside) if beside.is_file() else shutil.which(name)
    if program is None:
        wheel = "lift-data" if name == "lift-data" else "lift-longtail"
        raise LiftError.at(name, "the program is not there", f"pip install {wheel}")
    words = [program, *(os.fspath(argument) for argument in arguments)]
    done = subprocess.run(words, capture_output=True, text=True, encoding="utf-8", check=False)
    if done.returncode < 0:
        raise LiftError.at(name, f"ended by signal {-done.returncode}", "ask again, with more memory where that was short")
    if done.returncode != 0:
        # Notes may stand before it.
        notes, error, reason = done.stderr.strip().rpartition("error: ")
        raise LiftError(reason if error else notes)
    return done.stdout
