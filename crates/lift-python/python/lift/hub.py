"""Models by their names on the Hugging Face hub, where they lie on this machine already.

The cache is that of Python's ``huggingface_hub``, which ``lift-train`` fills too: ``models--org--name/`` has
``refs/<revision>`` (a commit) and ``snapshots/<commit>/`` (the files). Invariant: nothing is asked of the network.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from .error import LiftError
from .parts import has_weights

_PART = r"[A-Za-z0-9_](?:[A-Za-z0-9_]|[-.](?=[A-Za-z0-9_]))*"
_WORD = r"[A-Za-z0-9_-][A-Za-z0-9_.-]*"
_NAME = re.compile(rf"(?P<org>{_PART})/(?P<name>{_PART})(?:@(?P<revision>{_WORD}(?:/{_WORD})*))?")
_LONGEST_PART = 96
_FILES = (".safetensors", ".bin", ".pt", ".pth", ".git")
_COMMIT = re.compile(r"[0-9a-fA-F]{40}")


def is_name(text: str) -> bool:
    """Whether a text is ``org/name`` or ``org/name@revision``, as the hub allows it."""
    return _parsed(text) is not None


def find(model: str) -> Path:
    """The file or folder of a model: a path that exists, or a name that was fetched before.

    Raises :class:`LiftError` when it is neither.
    """
    path = Path(model)
    if path.exists():
        return path
    name = _parsed(model)
    if name is None:
        hint = (
            "give a folder with config.json and model.safetensors (or pytorch_model.bin), a file of tensors, "
            "or a name on the Hugging Face hub such as openai/clip-vit-base-patch16"
        )
        raise LiftError.at(model, "no such file or folder", hint)
    repo, revision = name
    folder = cache() / ("models--" + repo.replace("/", "--"))
    commit = _commit(folder, revision)
    snapshot = folder / "snapshots" / (commit or "")
    if commit is None or not has_weights(snapshot):
        at = "" if revision == "main" else f" --revision {revision}"
        hint = (
            f"`hf download {repo}{at}` or `lift-train eval RUN` fetches it once; "
            "or put its files into a folder and give that with model="
        )
        raise LiftError.at(model, f"no such file or folder, nor in the cache ({folder})", hint)
    return snapshot


def cache() -> Path:
    """The folder of the cache, as the environment says: ``HF_HUB_CACHE``, ``HF_HOME``, ``XDG_CACHE_HOME``."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if folder := os.environ.get(variable):
            return Path(folder).expanduser()
    if home := os.environ.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    if home := os.environ.get("XDG_CACHE_HOME"):
        return Path(home).expanduser() / "huggingface" / "hub"
    return Path("~/.cache/huggingface/hub").expanduser()


def _parsed(text: str) -> tuple[str, str] | None:
    """The repository and the revision; none where the text is no name."""
    found = _NAME.fullmatch(text)
    if found is None or found["name"].endswith(_FILES):
        return None
    if max(len(found["org"]), len(found["name"])) > _LONGEST_PART or len(found["revision"] or "") > 200:
        return None
    return f"{found['org']}/{found['name']}", found["revision"] or "main"


def _commit(folder: Path, revision: str) -> str | None:
    if _COMMIT.fullmatch(revision):
        return revision
    try:
        text = (folder / "refs" / revision).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return text if _COMMIT.fullmatch(text) else None
