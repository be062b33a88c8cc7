"""Named streams of randomness: (seed, purpose, epoch) gives an integer that seeds any generator."""

from __future__ import annotations

import hashlib


def derive(seed: int, purpose: str, epoch: int = 0) -> int:
    """Derives a 63-bit integer that names one stream; unequal arguments give unrelated integers.

    Streams replace a global generator and `seed + k` (by which two streams can collide). So no random state
    has to be saved: any stream can be drawn again from its name.

    >>> derive(0, "order", 3) == derive(0, "order", 3) != derive(0, "order", 4)
    True
    """
    name = f"resdeg/1\0{purpose}\0{seed}\0{epoch}".encode()
    # 63 bits are the most that torch.Generator.manual_seed and numpy both accept unsigned.
    return int.from_bytes(hashlib.sha256(name).digest()[:8], "little") >> 1
