"""LIFT in Python: shards as a sequence (:class:`Shards`), batches of them prepared by LIFT's loader (:class:`Loader`), and
what its trainer made as a ``torch.nn.Module`` (:func:`load`); the programs' answers on both (:func:`query`, :func:`report`).

Nothing heavy is imported before it is used: ``Shards`` needs NumPy, ``Loader`` and ``load`` need PyTorch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .error import LiftError

if TYPE_CHECKING:
    from .loader import Loader
    from .questions import query, report
    from .run import load
    from .shards import Shards

__all__ = ["LiftError", "Loader", "Shards", "load", "query", "report"]

#: Names that are imported when they are first asked for, and where they are.
_LAZY = {
    "load": ".run",
    "Shards": ".shards",
    "Loader": ".loader",
    "query": ".questions",
    "report": ".questions",
}


def __getattr__(name: str) -> Any:
    where = _LAZY.get(name)
    if where is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(where, __name__), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
