"""Odd requests played against a whole gateway in front of the sandbox."""

from __future__ import annotations

from tests.e2e.harness import Rig
from tests.fuzz.request_grammar import request_case
from tests.fuzz.request_oracle import check_answer


async def check_request(rig: Rig, seed: int) -> None:
    """Send the request of this seed. Raises Fault if the client or the upstream does not get what it must."""
    case = request_case(seed)
    requests = rig.sandbox.requests
    before = requests[-1].number if requests else -1
    answer = await rig.post(case.body, headers=case.headers)
    new = [request for request in rig.sandbox.requests if request.number > before]
    check_answer(case, answer, new[0].json if new else None)
