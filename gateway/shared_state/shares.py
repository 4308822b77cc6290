"""What one gateway may let in by itself of a limit that a fleet shares, while the fleet cannot be asked."""

from __future__ import annotations

import zlib
from collections.abc import Sequence


def share_of(limit: int, gateways: int, rank: int) -> int:
    """This gateway's part of ``limit``. ``rank``: its place among the ``gateways``, from 0.

    Each gets the same, rounded up, as long as all of them together stay within twice the limit even if one of them has
    used up the whole limit just before. Where that would be too much, as for a limit smaller than the number of
    gateways, the parts add up to the limit, and some gateways get none.
    """
    if gateways <= 1:
        return limit
    equal = -(-limit // gateways)
    if (gateways - 1) * equal <= limit:
        return equal
    return limit // gateways + (rank < limit % gateways)


def rank_of(key: str, own: str, gateways: Sequence[str]) -> int:
    """The place of the gateway ``own`` for this key: another one for each key, and the same wherever it is asked."""
    mine = (_hash(key, own), own)
    return sum((_hash(key, one), one) < mine for one in gateways if one != own)


def _hash(key: str, gateway: str) -> int:
    return zlib.crc32(f"{key} {gateway}".encode())
