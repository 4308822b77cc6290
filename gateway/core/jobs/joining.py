"""Which job a request joins, if any: the rules by which paid work is bought once.

A request joins only if it says that it is a re-send: by an SDK's count of its tries, or by an ``Idempotency-Key``. Two
equal requests without either are two purchases.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from gateway.core.errors import ClientError, invalid_request
from gateway.core.jobs.job_state import JobState, is_over

MOST_OF_A_KEY = 255
"""Characters of an ``Idempotency-Key``: what Stripe takes."""

_KEY = re.compile(rb"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?")


@dataclass(frozen=True, slots=True)
class Marks:
    """What says that a request may be a re-send.

    ``again``: the client's SDK says so. ``idempotency``: the digest of its ``Idempotency-Key``; None without one.
    """

    again: bool = False
    idempotency: bytes | None = None

    def __bool__(self) -> bool:
        return self.again or self.idempotency is not None


class Joinable(Protocol):
    """What is looked at of a job.

    ``ended_ns``: Unix nanoseconds; None while it runs. ``purchased``: it came to a purchase, also where it failed.
    ``told``: that its outcome is unknown was told to its client. ``left``: no client waits for it that began it, or had
    its answer. ``taken``: another re-send waits for it, or had its answer.
    """

    @property
    def fingerprint(self) -> bytes: ...
    @property
    def idempotency(self) -> bytes | None: ...
    @property
    def state(self) -> JobState: ...
    @property
    def created_ns(self) -> int: ...
    @property
    def ended_ns(self) -> int | None: ...
    @property
    def purchased(self) -> bool: ...
    @property
    def told(self) -> bool: ...
    @property
    def left(self) -> bool: ...
    @property
    def taken(self) -> bool: ...


J = TypeVar("J", bound=Joinable)


def checked_key(values: Iterable[bytes]) -> bytes | None:
    """The one ``Idempotency-Key`` of a request; None if it has none. Raises ClientError 400 for one that is too long,
    has other than printable characters, or stands there twice.
    """
    found = list(values)
    if not found:
        return None
    if len(found) > 1 or _KEY.fullmatch(found[0]) is None:
        raise invalid_request(
            f"Invalid 'Idempotency-Key': expected one header of 1 to {MOST_OF_A_KEY} printable ASCII characters.",
            param="Idempotency-Key",
            code="invalid_value",
        )
    return found[0]


def job_to_join(
    jobs: Iterable[J], fingerprint: bytes, marks: Marks, now_ns: int, *, join_ns: int, keep_ns: int
) -> J | None:
    """The job that a request joins; None if it is to be bought. One of unknown outcome is what tells so to its client.

    ``jobs``: of the same virtual key, those that are equal and those of the same Idempotency-Key at least.
    ``fingerprint``: the request's, its route in it. ``join_ns``: how long after its end a job is joined, ``keep_ns``:
    with an Idempotency-Key.
    Raises ``idempotency_key_reused``.
    """
    if not marks:
        return None
    equal: list[J] = []
    for job in jobs:
        keyed = marks.idempotency is not None and job.idempotency == marks.idempotency
        if not (keyed or (marks.idempotency is None and job.fingerprint == fingerprint)):
            continue
        if not _can_be_joined(job, now_ns, keep_ns if keyed else join_ns):
            continue
        if job.fingerprint != fingerprint:
            raise idempotency_key_reused()
        equal.append(job)
    equal.sort(key=lambda job: job.created_ns)
    free = (job for job in equal if job.left and not job.taken)
    return next(free, equal[-1] if equal else None)


def _can_be_joined(job: Joinable, now_ns: int, within_ns: int) -> bool:
    if not is_over(job.state):
        return True
    if job.ended_ns is None or now_ns - job.ended_ns >= within_ns:
        return False
    return not job.told if job.state == "unknown" else job.purchased


def idempotency_key_reused() -> ClientError:
    """422: the Idempotency-Key was used for another request."""
    return ClientError(
        422,
        "invalid_request_error",
        "idempotency_key_reused",
        "This Idempotency-Key was used for another request. Nothing was bought; send each request with a key of its "
        "own.",
        param="Idempotency-Key",
    )
