"""The job that an exchange is the work of, as the exchange needs it."""

from __future__ import annotations

from typing import Protocol

from gateway.core.exchange_record import ExchangeRecord


class ExchangeJob(Protocol):
    """The job that an exchange is the work of, for whose clients another stands in (jobs/job.py).

    ``id``: the job's. ``gone``: the client that began it left, and was not told to come again.
    """

    @property
    def id(self) -> str: ...
    @property
    def gone(self) -> bool: ...

    async def admitted(self, record: ExchangeRecord) -> None:
        """Return once it is written down that this exchange is about to be bought. Raises GatewayError."""
        ...

    async def held(self) -> bool:
        """Whether it is surely this gateway's: else another may have taken it over, and nothing more is bought."""
        ...
