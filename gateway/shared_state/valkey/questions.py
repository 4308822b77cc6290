"""What is asked of the server: a script with its keys and arguments, or a command."""

from __future__ import annotations

import asyncio
from typing import Any

from gateway.shared_state.valkey.scripts import Script

Word = str | bytes | int | float
Command = tuple[Word, ...]


class Question:
    """One command whose answer matters to none. Those that want theirs override what they want.

    ``command``: as it goes to the server first. ``whole``: as it goes to a server that does not know the script.
    """

    __slots__ = ("command", "whole")

    def __init__(self, command: Command, whole: Command | None = None) -> None:
        self.command = command
        self.whole = whole

    def answered(self, answer: Any) -> None:
        """The server's answer. It may also come late, after ``unanswered``."""

    def unanswered(self) -> None:
        """There is none, or not in time."""


class Awaited(Question):
    """A question whose ``answer`` is awaited: what the server says; None if nothing in time."""

    __slots__ = ("answer",)

    def __init__(self, command: Command, whole: Command | None = None) -> None:
        super().__init__(command, whole)
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def answered(self, answer: Any) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)

    def unanswered(self) -> None:
        self.answered(None)


def run(script: Script, keys: tuple[str, ...], arguments: Command) -> tuple[Command, Command]:
    """The two commands of a question that runs a script."""
    rest: Command = (len(keys), *keys, *arguments)
    return ("EVALSHA", script.digest, *rest), ("EVAL", script.text, *rest)
