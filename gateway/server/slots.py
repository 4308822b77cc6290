"""The slots of a listener: which connections are open, and which of them makes room when there are too many.

Who opens connections and asks nothing, or asks without a key, must not keep out who has one. So a connection is a
*stranger's* until one of its requests was admitted. Where there are too many, room is made in this order:

1. a stranger's connection: the one that is open longest, of the address that has most of them. A client that has just
   come has therefore as many connections' time to send a request as there are slots, and a flood from one address never
   touches the connections from another.
2. an admitted connection that is idle, the one that was admitted first: its client will open another.
3. none: then the newcomer is refused.

An address is an IPv4 address or an IPv6 network of /64, as for failed keys. One thread only.
"""

from __future__ import annotations

from enum import Enum
from itertools import islice

from gateway.core.limits.auth_throttle import network_of
from gateway.server.connection import Address, Connection
from gateway.server.limits import ServerLimits

_LOOKED_AT = 32
"""Admitted connections that are asked whether they are idle, for each newcomer; those that are not go to the end."""


class Seat(Enum):
    """What a connection that has just come gets."""

    GIVEN = "given"
    REFUSAL = "refusal"  # its request is answered, that there is no room
    NONE = "none"  # not even that


class ConnectionSlots:
    """``connections``: all that are open. ``evicted``: how many strangers had to make room so far."""

    def __init__(self) -> None:
        self.connections: set[Connection] = set()
        self.evicted = 0
        self._home: dict[Connection, str] = {}  # strangers → their networks
        self._strangers: dict[str, dict[Connection, None]] = {}  # by network, each in order
        self._by_number: dict[int, dict[str, None]] = {}  # how many strangers a network has → such networks
        self._most = 0
        self._admitted: dict[Connection, None] = {}

    def enter(self, connection: Connection, client: Address, limits: ServerLimits) -> Seat:
        """A connection was opened. Others may be aborted for it, where ``limits`` say how many strangers there may
        be.
        """
        self.connections.add(connection)
        if limits.strangers is not None:
            self._add(connection, client)
            while len(self._home) > limits.strangers and self._evict_stranger(connection):
                pass
            if len(self.connections) > limits.connections and not self._evict_stranger(connection):
                self._evict_idle()
        excess = len(self.connections) - limits.connections
        if excess <= 0:
            return Seat.GIVEN
        return Seat.REFUSAL if excess <= limits.refusals else Seat.NONE

    def admit(self, connection: Connection) -> None:
        """A request of the connection was admitted: it is no stranger's any more."""
        if connection in self._home:
            self._remove(connection)
            self._admitted[connection] = None

    def renew(self, connection: Connection, client: Address = None) -> None:
        """A stranger is as if it had just come; ``client``: from there, as is known by now."""
        home = self._home.get(connection)
        if home is not None:
            self._remove(connection)
            self._add(connection, client, home)

    def leave(self, connection: Connection) -> None:
        """A connection was closed."""
        self.connections.discard(connection)
        self._admitted.pop(connection, None)
        if connection in self._home:
            self._remove(connection)

    # Inside

    def _evict_stranger(self, newcomer: Connection) -> bool:
        if not self._most:
            return False
        crowd = self._strangers[next(iter(self._by_number[self._most]))]
        oldest = next(iter(crowd))
        if oldest is newcomer:
            return False
        self._evict(oldest)
        return True

    def _evict_idle(self) -> None:
        for connection in list(islice(self._admitted, _LOOKED_AT)):
            if connection.idle:
                self._evict(connection)
                return
            self._admitted[connection] = self._admitted.pop(connection)

    def _evict(self, connection: Connection) -> None:
        self.evicted += 1
        self.leave(connection)  # it will say so itself only in the loop's next turn
        connection.abort()

    def _add(self, connection: Connection, client: Address, home: str = "") -> None:
        network = network_of(client[0]) if client else home
        self._home[connection] = network
        crowd = self._strangers.setdefault(network, {})
        self._move(network, len(crowd), len(crowd) + 1)
        crowd[connection] = None

    def _remove(self, connection: Connection) -> None:
        network = self._home.pop(connection)
        crowd = self._strangers[network]
        self._move(network, len(crowd), len(crowd) - 1)
        del crowd[connection]
        if not crowd:
            del self._strangers[network]

    def _move(self, network: str, old: int, new: int) -> None:
        """Keep ``_by_number`` and ``_most``; of networks with equally many, the one that changed last is the last."""
        if old:
            same = self._by_number[old]
            del same[network]
            if not same:
                del self._by_number[old]
        if new:
            self._by_number.setdefault(new, {})[network] = None
            self._most = max(self._most, new)
        if self._most not in self._by_number:
            self._most = max(0, self._most - 1)
