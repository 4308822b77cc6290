"""PiAPI's account page, ``GET /account/info``: the account's id and its balance.

Shape: PiAPI's own command line client: ``{"code", "data": {"id", "equivalent_in_usd", "wallet": {"point_remain", …},
"credit_pack_info": {"available_credits", …}, …}, "message"}``. Newer answers have more fields than older ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from gateway.core.types import NANO_PER_USD

CENT = NANO_PER_USD // 100

MOST_USD = 1_000_000_000
"""US dollars. A balance above it is a mistake, and would not fit in a row of the store."""


def balance_nano(data: Mapping[str, Any], points_per_usd: int) -> int | None:
    """Nano-dollars left, below 0 for a debt; None if the answer does not say.

    ``data``: the account, which is the answer's ``data``.

    Only the unit of ``equivalent_in_usd`` is certain: the valid balance in dollars (doc.qubico.ai, account info). But
    tasks are billed in points, and the dollars may be rounded for display. So the points, which are exact, are used
    where they equal the dollars to within a cent: ``available_credits`` before ``point_remain``, since it leaves out
    what has expired and what running tasks have frozen. Points that differ are in another unit or about something else;
    then the dollars are used.
    """
    stated = _nano(data.get("equivalent_in_usd"), 1)
    packs, wallet = _object(data.get("credit_pack_info")), _object(data.get("wallet"))
    for points in (packs.get("available_credits"), wallet.get("point_remain")):
        exact = _nano(points, points_per_usd)
        if exact is not None and (stated is None or abs(exact - stated) <= CENT):
            return exact
    return stated


def account_id(data: Mapping[str, Any]) -> str | None:
    """The account's id, which is the same for all of its keys; None if the answer has none."""
    named = data.get("id")
    return str(named) if type(named) in (int, str) and named != "" else None


def _nano(amount: object, per_usd: int) -> int | None:
    """A JSON number of which ``per_usd`` make a dollar → nano-dollars, rounded half up; None for anything else."""
    if isinstance(amount, bool) or not isinstance(amount, int | float) or not math.isfinite(amount):
        return None
    dollars = Decimal(str(amount)) / per_usd  # through its text: the digits that PiAPI wrote
    if abs(dollars) > MOST_USD:
        return None
    return int((dollars * NANO_PER_USD).to_integral_value(ROUND_HALF_UP))


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
