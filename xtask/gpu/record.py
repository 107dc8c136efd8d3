"""What a run of check.py has found out: rows with a verdict, written as JSON after each, and printed as a table."""

import json
import os
import sys


class Record:
    """The rows so far. The file on the disk has all of them at any time, so that a killed run keeps what it has."""

    def __init__(self, path, head, judge):
        """`judge` says whether figures are held against their targets, which are an H200's."""
        self.path, self.judge = path, judge
        self.document = {"format": "lift-gpu-check/1", **head, "steps": []}
        self.write()

    def figure(self, step, what, value, unit, at_least=None, at_most=None, detail=None):
        """A number, and what is wanted of it."""
        missed = (at_least is not None and value < at_least) or (at_most is not None and value > at_most)
        target = None
        if at_least is not None:
            target = f">= {number(at_least)}"
        elif at_most is not None:
            target = f"<= {number(at_most)}"
        verdict = "missed" if missed and self.judge else "ok"
        self.add(step, what, verdict, f"{number(value)} {unit}", target if self.judge else None, detail, value, unit)

    def add(self, step, what, verdict, figure="", target=None, detail=None, value=None, unit=None):
        """A row; `verdict` is ok, missed, or skipped or failed with a reason."""
        row = {"step": step, "what": what, "figure": figure, "value": value, "unit": unit, "target": target}
        self.document["steps"].append({**row, "verdict": verdict, "detail": detail})
        self.write()
        said = f"{figure} ({verdict})" if figure else verdict
        print(f"    {what}: {said}", file=sys.stderr, flush=True)

    def failed(self):
        """How many rows are failures; a missed target is none."""
        return sum(row["verdict"].startswith("failed") for row in self.document["steps"])

    def value(self, what):
        """The number of an earlier row."""
        return next((row["value"] for row in self.document["steps"] if row["what"] == what), None)

    def write(self):
        temporary = f"{self.path}.tmp"
        with open(temporary, "w") as file:
            json.dump(self.document, file, indent=2)
            file.write("\n")
        os.replace(temporary, self.path)

    def table(self):
        """Aligned columns: step, figure, target, verdict."""
        rows = [("step", "figure", "target", "verdict")]
        for row in self.document["steps"]:
            rows.append((row["what"], row["figure"] or "-", row["target"] or "-", row["verdict"]))
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        lines = ("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths)), row[3]]) for row in rows)
        return "\n".join(lines)


def number(value):
    """With about three digits that say something."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
