"""Named streams of randomness: an integer from (seed, purpose, epoch) for any generator."""

from __future__ import annotations

import hashlib


def derive(seed: int, purpose: str, epoch: int = 0) -> int:
    """A 63-bit integer that names one stream; unrelated for unequal arguments.

    Streams replace both a global generator and `seed + k` (where two streams collide), so there
    is no random state to save: any stream can be drawn again from its name.

    >>> derive(0, "order", 3) == derive(0, "order", 3) != derive(0, "order", 4)
    True
    """
    name = f"resdeg/1\0{purpose}\0{seed}\0{epoch}".encode()
    # 63 bits: the widest that torch.Generator.manual_seed and numpy both take unsigned.
    return int.from_bytes(hashlib.sha256(name).digest()[:8], "little") >> 1
