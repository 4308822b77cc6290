"""A fair queue for the tasks of each upstream account.

PiAPI lets an account run a number of tasks at once (``max_concurrent_task_count``) and queues or refuses the rest. The
gateway queues them itself, so that many tasks of one virtual key do not delay the other keys: owners take turns, and
the tasks of one owner go first come, first served. Every step is O(1), except ``learn``, which is linear in the tasks
it admits.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

UpstreamAccount = tuple[str, str]
"""The names of an upstream and of one of its keys."""

TaskTicket = TypeVar("TaskTicket", bound=Hashable)


class _Queue(Generic[TaskTicket]):
    """The queue of one account. Tickets wait only while ``limit`` or more are running."""

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
        """Admit the next ticket if there is a free slot and one waits; its owner goes to the end of the turns."""
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
    """Which tasks may run now. A ticket stands for one task, from ``ask`` to ``leave``; owners are names of virtual
    keys.
    """

    def __init__(self) -> None:
        self._queues: dict[UpstreamAccount, _Queue[TaskTicket]] = {}

    def learn(self, account: UpstreamAccount, limit: int | None) -> list[TaskTicket]:
        """Set how many tasks of the account run at once; None for any number. Returns the tickets that may run now, in
        order.

        A lower limit stops no running task.
        Raises ValueError for a limit below 1, with which no task would ever run.
        """
        if limit is not None and limit < 1:
            raise ValueError("a limit must be at least 1")
        queue = self._queue(account)
        queue.limit = limit
        let_in = []
        while (ticket := queue.let_in()) is not None:
            let_in.append(ticket)
        self._forget_if_empty(account, queue)
        return let_in

    def ask(self, account: UpstreamAccount, owner: str, ticket: TaskTicket) -> bool:
        """True: the ticket's task runs from now on. False: it waits until ``leave`` or ``learn`` returns the ticket.

        Raises ValueError if the ticket is in this account's queue already.
        """
        queue = self._queue(account)
        if ticket in queue.running or ticket in queue.owners:
            raise ValueError("this ticket has asked before")
        if queue.full():
            queue.enqueue(owner, ticket)
            return False
        queue.running.add(ticket)
        return True

    def leave(self, account: UpstreamAccount, ticket: TaskTicket) -> TaskTicket | None:
        """Remove a ticket that runs or waits. Returns the ticket that may run in its place, if any.

        Does nothing if the ticket has left already.
        """
        queue = self._queues.get(account)
        if queue is None:
            return None
        if ticket in queue.owners:
            queue.withdraw(ticket)
            return None
        if ticket not in queue.running:
            return None
        queue.running.remove(ticket)
        follower = queue.let_in()
        self._forget_if_empty(account, queue)
        return follower

    def limit(self, account: UpstreamAccount) -> int | None:
        """How many tasks of the account run at once; None for any number, or if that is not known."""
        queue = self._queues.get(account)
        return queue.limit if queue else None

    def running(self, account: UpstreamAccount) -> int:
        """How many tasks of the account run."""
        queue = self._queues.get(account)
        return len(queue.running) if queue else 0

    def waiting(self, account: UpstreamAccount) -> int:
        """How many tasks of the account wait for their turn."""
        queue = self._queues.get(account)
        return len(queue.owners) if queue else 0

    def _queue(self, account: UpstreamAccount) -> _Queue[TaskTicket]:
        queue = self._queues.get(account)
        if queue is None:
            queue = self._queues[account] = _Queue()
        return queue

    def _forget_if_empty(self, account: UpstreamAccount, queue: _Queue[TaskTicket]) -> None:
        """Drop an account without limit and tasks: a new one would be the same."""
        if queue.limit is None and not queue.running:
            del self._queues[account]
