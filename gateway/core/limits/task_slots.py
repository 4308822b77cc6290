"""A fair queue for the tasks of each upstream account.

PiAPI lets an account run so many tasks at once (``max_concurrent_task_count``) and queues or refuses what is more. We
queue it ourselves, so that one virtual key's heap of work does not keep the others waiting: owners take turns, and
within an owner it is first come, first served. Every step is O(1), but for what ``learn`` lets in.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Account = tuple[str, str]
"""The names of an upstream and of one of its keys."""

TaskTicket = TypeVar("TaskTicket", bound=Hashable)


class _Line(Generic[TaskTicket]):
    """One account. Whoever waits does so because ``limit`` or more are running."""

    __slots__ = ("limit", "owners", "running", "turns")

    def __init__(self) -> None:
        self.limit: int | None = None
        self.running: set[TaskTicket] = set()
        self.owners: dict[TaskTicket, str] = {}  # of the tickets that wait
        self.turns: OrderedDict[str, OrderedDict[TaskTicket, None]] = OrderedDict()  # the owner whose turn it is first

    def full(self) -> bool:
        return self.limit is not None and len(self.running) >= self.limit

    def enqueue(self, owner: str, ticket: TaskTicket) -> None:
        self.owners[ticket] = owner
        self.turns.setdefault(owner, OrderedDict())[ticket] = None

    def withdraw(self, ticket: TaskTicket) -> None:
        owner = self.owners.pop(ticket)
        tickets = self.turns[owner]
        del tickets[ticket]
        if not tickets:
            del self.turns[owner]

    def let_in(self) -> TaskTicket | None:
        """The next one, if there is room and somebody waits; it runs from now on, its owner goes to the end."""
        if self.full() or not self.turns:
            return None
        owner, tickets = self.turns.popitem(last=False)
        ticket, _ = tickets.popitem(last=False)
        if tickets:
            self.turns[owner] = tickets
        del self.owners[ticket]
        self.running.add(ticket)
        return ticket


class TaskSlots(Generic[TaskTicket]):
    """Who may run a task now. A ticket stands for one task, from asking to leaving; owners are virtual keys' names."""

    def __init__(self) -> None:
        self._lines: dict[Account, _Line[TaskTicket]] = {}

    def learn(self, account: Account, limit: int | None) -> list[TaskTicket]:
        """From now on so many tasks run at once; None: any number. The tickets that may run now, in their order.

        A lower limit stops nothing that runs. ValueError for a limit below 1, with which nothing would ever run.
        """
        if limit is not None and limit < 1:
            raise ValueError("a limit must be at least 1")
        line = self._line(account)
        line.limit = limit
        let_in = []
        while (ticket := line.let_in()) is not None:
            let_in.append(ticket)
        self._forget_if_empty(account, line)
        return let_in

    def ask(self, account: Account, owner: str, ticket: TaskTicket) -> bool:
        """True: it runs from now on. False: it waits until ``leave`` or ``learn`` returns it.

        ValueError if the ticket is in this account's line already.
        """
        line = self._line(account)
        if ticket in line.running or ticket in line.owners:
            raise ValueError("this ticket has asked before")
        if line.full():
            line.enqueue(owner, ticket)
            return False
        line.running.add(ticket)
        return True

    def leave(self, account: Account, ticket: TaskTicket) -> TaskTicket | None:
        """A ticket that runs or waits is done with; the one that may run in its place, if any.

        Nothing happens if it has left already.
        """
        line = self._lines.get(account)
        if line is None:
            return None
        if ticket in line.owners:
            line.withdraw(ticket)
            return None
        if ticket not in line.running:
            return None
        line.running.remove(ticket)
        follower = line.let_in()
        self._forget_if_empty(account, line)
        return follower

    def running(self, account: Account) -> int:
        """How many tasks of the account run."""
        line = self._lines.get(account)
        return len(line.running) if line else 0

    def waiting(self, account: Account) -> int:
        """How many tasks of the account wait for their turn."""
        line = self._lines.get(account)
        return len(line.owners) if line else 0

    def _line(self, account: Account) -> _Line[TaskTicket]:
        line = self._lines.get(account)
        if line is None:
            line = self._lines[account] = _Line()
        return line

    def _forget_if_empty(self, account: Account, line: _Line[TaskTicket]) -> None:
        """An account without a limit and without tasks says nothing that a new one would not."""
        if line.limit is None and not line.running:
            del self._lines[account]
