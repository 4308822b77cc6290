"""What several subrequests of an exchange come to, that ran side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gateway.core.errors import GatewayError, internal_error
from gateway.exchange.subrequest import ClientGone, DrainOver


def together(results: Sequence[GatewayError | ClientGone | DrainOver | None]) -> GatewayError | None:
    """What several subrequests came to of which none brought anything. Raises ClientGone, DrainOver."""
    for result in results:
        if isinstance(result, (ClientGone, DrainOver)):
            raise result
    errors = [result for result in results if isinstance(result, GatewayError)]
    # What may have been bought must not be bought again because another subrequest failed harmlessly.
    doubts = (error for error in errors if error.code == "upstream_outcome_unknown")
    final = (error for error in errors if not error.should_retry)
    return next(doubts, None) or next(final, errors[0])


def result_of(
    subrequest: asyncio.Task[GatewayError | ClientGone | DrainOver | None],
) -> GatewayError | ClientGone | DrainOver | None:
    """How a subrequest ended. A mistake of ours was logged as the task's and counts as bringing nothing."""
    return subrequest.result() if subrequest.exception() is None else internal_error()
