"""The contract's table of errors, as far as it holds for chat: how each one comes about, and what an SDK must see.

Both SDKs' tests go through it. What only shows in raw HTTP (bodies no SDK writes) is in test_python_sdk.py.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, nullcontext
from dataclasses import dataclass, field
from typing import Any

from .harness import ALICE, FLUX_ONLY, ROLES, Rig, chat_body

Circumstance = Callable[[Rig], AbstractAsyncContextManager[None]]


@dataclass(frozen=True)
class Refused:
    """One error.

    ``config``: YAML over the usual configuration. ``scenario``: what every host plays. ``during``: what is the matter
    meanwhile. ``fields``: of the request, beside model and messages. ``retry``: whether the SDK is told to come again.
    ``wakeup``: whether it learns a time, though it is not told to come again.
    ``attempts``: how often an upstream is asked for one request, where that is not just "not at all".
    """

    name: str
    status: int
    type: str
    code: str
    python: str
    node: str
    param: str | None = None
    retry: bool = False
    wakeup: bool = False
    config: str = ""
    scenario: str = ""
    during: Circumstance | None = None
    key: str = ALICE
    model: str = "gpt-4o"
    fields: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    attempts: int = 0

    def __str__(self) -> str:
        return self.name

    @asynccontextmanager
    async def arranged(self, rig: Rig) -> AsyncIterator[None]:
        """The circumstances in which the request fails so."""
        if self.scenario:
            rig.for_all_roles(self.scenario)
        async with nullcontext() if self.during is None else self.during(rig):
            yield


@asynccontextmanager
async def _limit_used_up(rig: Rig) -> AsyncIterator[None]:
    assert (await rig.chat()).status == 200
    yield


@asynccontextmanager
async def _connections_refused(rig: Rig) -> AsyncIterator[None]:
    for role in ROLES:
        await rig.sandbox.refuse(role)
    yield


@asynccontextmanager
async def _draining(rig: Rig) -> AsyncIterator[None]:
    rig.gateway.drain()
    yield


@asynccontextmanager
async def _another_request_in_flight(rig: Rig) -> AsyncIterator[None]:
    rig.sandbox.script("stall_head", role="api")
    async with rig.client() as client:
        await client.ask(chat_body(stream=True))
        await rig.sandbox.until(lambda: rig.sandbox.in_flight == 1)
        yield
        await client.leave()


@asynccontextmanager
async def _ledger_broken(rig: Rig) -> AsyncIterator[None]:
    """A table is missing for a while."""

    def execute(statement: str) -> None:
        with closing(sqlite3.connect(rig.folder / "gateway.db", isolation_level=None)) as store:
            store.execute(statement)

    await asyncio.to_thread(execute, "ALTER TABLE intents RENAME TO taken_away")
    yield
    await asyncio.to_thread(execute, "ALTER TABLE taken_away RENAME TO intents")


@asynccontextmanager
async def _a_defect(rig: Rig) -> AsyncIterator[None]:
    """A part that every request needs is broken."""
    rig.expected_crashes = True
    rig.gateway.services.new_id = None  # type: ignore[assignment]
    yield


def _bad(name: str, param: str, code: str, **fields: Any) -> Refused:
    return Refused(
        name, 400, "invalid_request_error", code, "BadRequestError", "BadRequestError", param=param, fields=fields
    )


def _upstream(
    name: str, status: int, code: str, scenario: str, *, type: str = "upstream_error", **more: Any
) -> Refused:
    return Refused(
        name,
        status,
        type,
        code,
        "InternalServerError",
        "InternalServerError",
        scenario=scenario,
        **{"attempts": 3, **more},
    )


_INVALID = "invalid_request_error"
_UNAVAILABLE = "service_unavailable_error"
_LIMITED = (429, "rate_limit_error", "rate_limit_exceeded", "RateLimitError", "RateLimitError")
_OURS = ("InternalServerError", "InternalServerError")
_SHORT_HEADS = "upstreams: {piapi: {timeouts: {head: 100ms}}, backup: {timeouts: {head: 100ms}}}"


def _alice(limit: str) -> str:
    return f"keys: [{{name: alice, team: growth, key: {ALICE}, {limit}}}]"


ERRORS = (
    _bad("wrong_type", "max_tokens", "invalid_type", max_tokens="many"),
    _bad("wrong_value", "n", "invalid_value", n=0),
    _bad("unknown_parameter", "steps_", "unknown_parameter", model="flux-schnell", steps_=3),
    _bad("nested_field", "stream_options.include_usage", "invalid_type", stream_options={"include_usage": 1}),
    Refused(
        "wrong_key", 401, _INVALID, "invalid_api_key", "AuthenticationError", "AuthenticationError", key="gw-nobody"
    ),
    Refused(
        "model_not_allowed",
        403,
        "permission_error",
        "model_not_allowed",
        "PermissionDeniedError",
        "PermissionDeniedError",
        param="model",
        key=FLUX_ONLY,
    ),
    Refused(
        "model_not_found",
        404,
        _INVALID,
        "model_not_found",
        "NotFoundError",
        "NotFoundError",
        param="model",
        model="gpt-none",
        config="default_route: []",
    ),
    Refused(
        "model_missing_upstream",
        404,
        _INVALID,
        "model_not_found",
        "NotFoundError",
        "NotFoundError",
        param="model",
        scenario="model_missing",
        attempts=2,
    ),
    Refused(
        "body_too_large",
        413,
        _INVALID,
        "request_too_large",
        "APIStatusError",
        "APIError",
        config="limits: {body: 1KiB}",
        fields={"user": "x" * 2000},
    ),
    Refused(
        "headers_too_large",
        431,
        _INVALID,
        "request_headers_too_large",
        "APIStatusError",
        "APIError",
        headers={"x-filler": "x" * 40_000},
    ),
    Refused("requests_a_minute", *_LIMITED, retry=True, config=_alice("rpm: 1"), during=_limit_used_up),
    Refused("tokens_a_minute", *_LIMITED, retry=True, config=_alice("tpm: 40"), during=_limit_used_up),
    Refused("parallel", *_LIMITED, retry=True, config=_alice("parallel: 1"), during=_another_request_in_flight),
    Refused("all_upstream_keys_limited", *_LIMITED, retry=True, scenario="rate_limited;retry_after=30", attempts=2),
    Refused(
        "rejected_upstream",
        400,
        _INVALID,
        "context_length_exceeded",
        "BadRequestError",
        "BadRequestError",
        scenario="rejected;error=context_length_exceeded",
        attempts=1,
    ),
    Refused(
        "refused_by_policy",
        400,
        _INVALID,
        "content_policy_violation",
        "BadRequestError",
        "BadRequestError",
        scenario="rejected;error=content_policy_violation",
        attempts=1,
    ),
    _upstream("unreachable", 502, "upstream_unreachable", "", during=_connections_refused),
    _upstream("failing", 502, "upstream_error", "server_error"),
    _upstream("invalid_answers", 502, "upstream_invalid_response", "html_200"),
    _upstream("empty_answers", 502, "upstream_empty_response", "sse_only_done"),
    _upstream("keys_refused", 502, "upstream_auth_failed", "key_invalid", attempts=2),
    _upstream("silent", 504, "upstream_timeout", "stall_head", config=_SHORT_HEADS),
    _upstream(
        "paid_and_in_doubt",
        504,
        "upstream_outcome_unknown",
        "cf_524",
        model="gpt-4o-image",
        config="failover: {unknown_outcome_up_to: 0}",
        attempts=1,
    ),
    _upstream(
        "quota_exhausted", 503, "upstream_quota_exhausted", "key_unfunded", type=_UNAVAILABLE, attempts=2, wakeup=True
    ),
    Refused(
        "overloaded",
        503,
        _UNAVAILABLE,
        "gateway_overloaded",
        *_OURS,
        retry=True,
        config="limits: {in_flight: 1}",
        during=_another_request_in_flight,
    ),
    Refused(
        "ledger_unavailable",
        503,
        _UNAVAILABLE,
        "ledger_unavailable",
        *_OURS,
        retry=True,
        during=_ledger_broken,
    ),
    Refused("shutting_down", 503, _UNAVAILABLE, "server_shutting_down", *_OURS, retry=True, during=_draining),
    Refused("our_own_mistake", 500, "server_error", "internal_error", *_OURS, during=_a_defect),
)
