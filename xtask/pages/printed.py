"""What a page is on paper: printed.py CHROMIUM PAGE prints, as JSON, the size of each sheet in points and its lines of text from the
top, each with its left and right end. Needs pypdfium2.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pypdfium2


def lines(page):
    """Characters of one height, from left to right, are a line."""
    text = page.get_textpage()
    rows = {}
    for index in range(text.count_chars()):
        character = text.get_text_range(index, 1)
        left, bottom, right, top = text.get_charbox(index, loose=True)
        if character.strip():
            rows.setdefault(round((top + bottom) / 2), []).append((left, right, character))
    for height in sorted(rows, reverse=True):
        row = sorted(rows[height])
        words = row[0][2]
        for (_, before, _), (left, _, character) in zip(row, row[1:]):
            words += (" " if left - before > 1 else "") + character
        yield {"text": words, "left": row[0][0], "right": max(right for _, right, _ in row)}


def main():
    chromium, page = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        pdf = Path(folder) / "page.pdf"
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer"]
        command = [chromium, *options, f"--user-data-dir={folder}/profile", f"--print-to-pdf={pdf}"]
        subprocess.run([*command, Path(page).resolve().as_uri()], check=True, capture_output=True)
        document = pypdfium2.PdfDocument(pdf)
        sheets = [
            {"width": sheet.get_width(), "height": sheet.get_height(), "lines": list(lines(sheet))}
            for sheet in document
        ]
        document.close()
    print(json.dumps(sheets))


main()
