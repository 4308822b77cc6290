"""How an exchange is let in where several gateways share budgets: the store decides, as it commits the intent."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.types import Target, VirtualKey
from gateway.exchange.accounting import Account
from gateway.exchange.cost_bounds import CostBounds
from gateway.exchange.services import Services


async def admit_shared(
    services: Services,
    account: Account,
    key: VirtualKey,
    asked: str,
    bounds: CostBounds,
    targets: Sequence[Target],
    least: int | None,
) -> None:
    """Commit the intent if the budgets have room for it: for what any of its targets may cost, so that they need not be
    asked again, else for the first one.

    ``asked``: the model as the client named it. ``least``: nano-dollars at the first target; None if that is unknown.
    Raises the error for the client.
    """
    assert services.budgets.shared is not None
    assert account.reservation is not None
    most = 0 if least is None else bounds.most(targets) if bounds.exact else least
    await services.budgets.shared.admit(
        account.record, account.reservation, key, asked, least=least, most=max(most, least or 0), why=bounds.why
    )
