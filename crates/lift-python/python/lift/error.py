"""The one error that this package raises for what it is given: files, settings, images.

Invariant: the message begins with the path (or the name) of what is wrong, says what is wrong with it, and ends with
a line ``hint: ..`` that says what can be done.
"""

from __future__ import annotations

import os


class LiftError(Exception):
    """Something that was given cannot be used; the message says what, why, and what to do."""

    @classmethod
    def at(cls, place: str | os.PathLike[str], reason: str, hint: str) -> LiftError:
        """The error for ``place``, a path or a name.

        ``reason`` and ``hint`` begin in lower case and end without a full stop.
        """
        return cls(f"{os.fspath(place)}: {reason}\nhint: {hint}")
