"""The settings in force. A reload puts others in their place, so a long-lived part asks for them when it needs them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

T_co = TypeVar("T_co", covariant=True)


class InForce(Protocol[T_co]):
    """What holds the settings of the moment. The gateway's ``Services`` do; each room names the settings it reads.

    ``snapshot``: they change all at once, and never in it. Read once, it stays as it is.
    """

    @property
    def snapshot(self) -> T_co: ...


@dataclass(frozen=True, slots=True)
class Held(Generic[T_co]):
    """Settings that no reload changes: those of a command, and of a default."""

    snapshot: T_co
