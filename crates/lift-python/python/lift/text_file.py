"""Settings in files: JSON and TOML, read whole and checked entry by entry.

Invariant: what is handed out has the type that was asked for; anything else is an error that names the file and the
key.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .error import LiftError

#: No file of settings is larger; a larger one is something else.
_MOST_BYTES = 64 << 20


def read_text(path: Path, hint: str = "check the path") -> str:
    """The text of a file.

    Raises :class:`LiftError`, with ``hint``, when it is missing, cannot be read, is no UTF-8, or is larger than 64 MiB.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        raise LiftError.at(path, "no such file", hint) from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise LiftError.at(path, reason, "check the path and the permissions") from None
    if len(data) > _MOST_BYTES:
        raise LiftError.at(path, "too large for a file of settings", hint)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise LiftError.at(path, f"no UTF-8 text: {error.reason} at byte {error.start}", hint) from None


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises :class:`LiftError` when the file holds anything else."""
    text = read_text(path)
    hint = "bring the file back as it was published"
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise LiftError.at(path, f"no JSON: {error}", hint) from None
    if not isinstance(found, dict):
        raise LiftError.at(path, "no JSON object", hint)
    return found


def read_toml(path: Path, hint: str) -> dict[str, Any]:
    """The table in a TOML file. Raises :class:`LiftError`, with ``hint``, when it is missing or no TOML."""
    text = read_text(path, hint)
    try:
        import tomllib
    except ModuleNotFoundError:
        try:
            import tomli as tomllib  # type: ignore[import-not-found,no-redef]
        except ModuleNotFoundError:
            reason = "Python before 3.11 cannot read TOML by itself"
            raise LiftError.at(path, reason, "install the package tomli, or use Python 3.11") from None
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise LiftError.at(path, f"no TOML: {error}", hint) from None


class Entries:
    """The entries of a table, asked for by key and type."""

    def __init__(self, path: Path, table: dict[str, Any], hint: str) -> None:
        self._path, self._table, self._hint = path, table, hint

    def bad(self, reason: str) -> LiftError:
        """An error of this file."""
        return LiftError.at(self._path, reason, self._hint)

    def has(self, key: str) -> bool:
        """Whether there is such an entry, and it is not null."""
        return self._table.get(key) is not None

    def integer(self, key: str, default: int | None = None) -> int:
        """A whole number."""
        return int(self._of(key, default, int, "a whole number"))

    def number(self, key: str, default: float | None = None) -> float:
        """A finite number."""
        found = float(self._of(key, default, (int, float), "a number"))
        if found != found or abs(found) == float("inf"):
            raise self.bad(f"{key} is {found}, which is no finite number")
        return found

    def text(self, key: str, default: str | None = None) -> str:
        """A text."""
        return str(self._of(key, default, str, "a text"))

    def truth(self, key: str, default: bool) -> bool:
        """True or false."""
        return bool(self._of(key, default, bool, "true or false"))

    def table(self, key: str, default: dict[str, Any] | None = None) -> Entries:
        """A table in the table."""
        return Entries(self._path, self._of(key, default, dict, "a table"), self._hint)

    def numbers(self, key: str, length: int | None = None) -> list[float]:
        """A list of numbers, of this length where one is given."""
        found = self._of(key, None, list, "a list of numbers")
        if not all(isinstance(n, (int, float)) and not isinstance(n, bool) for n in found):
            raise self.bad(f"{key} is no list of numbers")
        if length is not None and len(found) != length:
            raise self.bad(f"{key} has {len(found)} numbers, expected {length}")
        return [float(n) for n in found]

    def _of(self, key: str, default: Any, kind: Any, called: str) -> Any:
        found = self._table.get(key)
        if found is None:
            found = default
        if found is None:
            raise self.bad(f"{key} is missing")
        # True is an int to Python, and no number to anyone else.
        if not isinstance(found, kind) or (isinstance(found, bool) and kind is not bool):
            raise self.bad(f"{key} is {found!r}, expected {called}")
        return found
