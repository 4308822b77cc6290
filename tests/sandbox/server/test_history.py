"""The history of requests and bill lines, and its limit."""

from __future__ import annotations

from gateway.sandbox import Sandbox
from tests.sandbox.client import HELLO, ask


async def test_only_so_much_is_remembered_but_the_sum_is_whole() -> None:
    async with Sandbox(history=4) as sandbox:
        for _ in range(9):
            await ask(sandbox, HELLO)

        assert len(sandbox.requests) <= 4
        assert len(sandbox.bill) <= 4
        assert sandbox.requests[-1].number == 8
        assert sandbox.billed == 9 * (sandbox.bill[0].amount or 0)
