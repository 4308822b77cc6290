"""Which kept images make room for a new one, so that one key's images do not crowd out those of the others.

An image's name begins with its owner's tag: a keyed hash, with a secret that every process makes anew, so that no name
tells whose it is. Images from before a restart have owners of their own, which is fair enough for the hours they stay.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heappush
from typing import NamedTuple

TAG_LENGTH = 6
"""Characters of a name that are its owner's tag; the 37 behind them are 222 random bits."""

_FEWEST_FILES = 10_000
_USUAL_BYTES = 64 * 1024


class Kept(NamedTuple):
    """``size``: bytes; ``written_ns``: Unix nanoseconds."""

    name: str
    size: int
    written_ns: int


def owner_tag(secret: bytes, owner: str) -> str:
    """What the names of an owner's images begin with."""
    digest = hmac.new(secret, owner.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).decode("ascii")[:TAG_LENGTH]


def most_files(keep_max: int) -> int:
    """How many images may be kept in so many bytes: tiny ones must not be without number, since all are looked at."""
    return max(_FEWEST_FILES, keep_max // _USUAL_BYTES)


def to_remove(kept: Iterable[Kept], owner: str, room: int, keep_max: int, most: int) -> list[Kept]:
    """What must go so that ``room`` bytes more of ``owner`` fit: time and again the oldest image of the owner who then
    has the most bytes, the new ones counted; of those with too many files, the most files.

    ``owner``: its tag. ``room``: 0 if nothing is to be added.
    """
    oldest_first = sorted(kept, key=lambda each: each.written_ns)
    gone = _excess(oldest_first, lambda each: each.size, owner, room, keep_max)
    names = {each.name for each in gone}
    left = [each for each in oldest_first if each.name not in names]
    return gone + _excess(left, lambda _: 1, owner, 1 if room else 0, most)


def _excess(
    oldest_first: Iterable[Kept], measure: Callable[[Kept], int], owner: str, adding: int, most: int
) -> list[Kept]:
    """What must go so that all that is kept, and what is added for ``owner``, measures ``most`` together."""
    files: dict[str, deque[Kept]] = defaultdict(deque)
    share: dict[str, int] = defaultdict(int)
    for each in oldest_first:
        files[each.name[:TAG_LENGTH]].append(each)
        share[each.name[:TAG_LENGTH]] += measure(each)
    share[owner] += adding
    total = sum(share.values())
    largest = [(-size, tag) for tag, size in share.items()]
    heapify(largest)
    gone: list[Kept] = []
    while total > most and largest:
        _, tag = heappop(largest)
        if not files[tag]:
            continue
        each = files[tag].popleft()
        gone.append(each)
        share[tag] -= measure(each)
        total -= measure(each)
        heappush(largest, (-share[tag], tag))
    return gone
