"""The hash of a file's bytes: XXH3-64 in 16 hex digits, as ``lift-train`` writes it into ``adjust.toml``.

It finds mix-ups, it is no signature. Written after the algorithm's specification (Collet, xxHash, XXH3 with seed 0),
with NumPy, and for more than 240 bytes alone, which every file of tensors of a model has. Invariant: a file of any
such length is read once, a MiB at a time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .error import LiftError

_SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"
    "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
    "3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364"
    "eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e"
    "2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"
)
_PRIME32 = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D
_PRIME64 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
_MASK = (1 << 64) - 1

_STRIPE_BYTES = 64
_STRIPES_A_BLOCK = 16
_BLOCK_BYTES = _STRIPE_BYTES * _STRIPES_A_BLOCK
_BLOCKS_AT_ONCE = 1024
#: Shorter inputs are hashed in another way, which is not written here.
_SHORT_BYTES = 240

_Words = Any  # numpy.ndarray of uint64


def of_file(path: Path) -> str:
    """The hash of a file of more than 240 bytes. Raises :class:`LiftError` when it cannot be read or is shorter."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            if size <= _SHORT_BYTES:
                raise LiftError.at(
                    path, f"{size} bytes are no model's tensors", "bring the file back as it was written"
                )
            file.seek(0)
            state = _State()
            # All blocks but the last one, which may be whole too, end with a scramble.
            left = (size - 1) // _BLOCK_BYTES
            while left:
                blocks = min(left, _BLOCKS_AT_ONCE)
                state.blocks(file.read(blocks * _BLOCK_BYTES))
                left -= blocks
            rest = file.read()
            file.seek(size - _STRIPE_BYTES)
            return f"{state.finish(rest, file.read(), size):016x}"
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise LiftError.at(path, reason, "check the path and the permissions") from None


class _State:
    """The eight sums of 64 bits that stripes of 64 bytes are added to."""

    def __init__(self) -> None:
        primes = [_PRIME32[2], *_PRIME64[:4], _PRIME32[1], _PRIME64[4], _PRIME32[0]]
        self.sums: _Words = np.array(primes, dtype=np.uint64)
        # The key of each stripe of a block begins 8 bytes behind that of the one before.
        self.keys: _Words = np.stack([_key(8 * stripe) for stripe in range(_STRIPES_A_BLOCK)])

    def blocks(self, data: bytes) -> None:
        words = _words(data).reshape(-1, _STRIPES_A_BLOCK, 8)
        scramble, prime = _key(len(_SECRET) - _STRIPE_BYTES), np.uint64(_PRIME32[0])
        sums, shift = self.sums, np.uint64(47)
        # Within a block the order of the sums does not matter.
        for added in _added(words, self.keys).sum(axis=1, dtype=np.uint64):
            sums = sums + added
            sums = (sums ^ (sums >> shift) ^ scramble) * prime
        self.sums = sums

    def finish(self, rest: bytes, last: bytes, size: int) -> int:
        stripes = (len(rest) - 1) // _STRIPE_BYTES
        words = _words(rest[: stripes * _STRIPE_BYTES]).reshape(-1, 8)
        sums = self.sums + _added(words, self.keys[:stripes]).sum(axis=0, dtype=np.uint64)
        sums = sums + _added(_words(last), _key(len(_SECRET) - _STRIPE_BYTES - 7))
        mixed = [int(a) ^ int(b) for a, b in zip(sums, _key(11))]
        result = size * _PRIME64[0]
        for left, right in zip(mixed[::2], mixed[1::2]):
            product = left * right
            result += (product & _MASK) ^ (product >> 64)
        result &= _MASK
        result ^= result >> 37
        result = (result * 0x165667919E3779F9) & _MASK
        return result ^ (result >> 32)


def _added(words: _Words, keys: _Words) -> _Words:
    """What stripes (.., 8) add to the sums: halves of the keyed words multiplied, and their neighbours as they are."""
    keyed = words ^ keys
    halves = (keyed & np.uint64(0xFFFFFFFF)) * (keyed >> np.uint64(32))
    return halves + words[..., [1, 0, 3, 2, 5, 4, 7, 6]]


def _key(begin: int) -> _Words:
    return _words(_SECRET[begin : begin + _STRIPE_BYTES])


def _words(data: bytes) -> _Words:
    return np.frombuffer(data, dtype="<u8").astype(np.uint64, copy=False)
