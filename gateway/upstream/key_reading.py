"""The free question whether an upstream's key works: PiAPI's account page, or the list of models of any other upstream.
It goes the way of all requests to the host: its proxy, its TLS files.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from gateway.core.errors import TransportError
from gateway.core.headers import Headers
from gateway.core.json_weight import read_json
from gateway.core.outcomes.classify import classify_error
from gateway.core.routing.credentials import KeyReading
from gateway.core.types import NANO_PER_USD, Credential, Dialect, Upstream
from gateway.core.upstream_errors.upstream_error import error_in
from gateway.upstream.account import ACCOUNT_ANSWER_LIMIT, ACCOUNT_INFO_PATH, ACCOUNT_KEY_HEADER, account_data
from gateway.upstream.free_read import FreeAnswer, read_free
from gateway.upstream.model_list import LIST_LIMIT
from gateway.upstream.pool import ConnectionPool
from gateway.wire.account_answer import balance_nano
from gateway.wire.model_question import models_path, question_headers

KEY_CHECK_PATIENCE = 15.0
"""Seconds for one host's answer."""

ASKER = b"piapi-gateway (key check)"
"""The user-agent: an upstream's log, or the sandbox's, shall tell such questions from what clients ask for."""

_TELLING = frozenset({200, 401, 402})
"""Statuses that say something of the key. After any other the next host is asked: a 403 may be a firewall's."""

_UNTELLING = 0
"""The status of a 200 that is none: a web page, an error of another kind."""

_SHORT = 64 * 1024
"""Bytes of a list of models that is searched for an error."""

_STATUS_OF_SLUG = {"key_invalid": 401, "key_unfunded": 402, "key_forbidden": 403}

_SURELY_FUNDED = NANO_PER_USD
"""Nano-dollars from which an account is taken to afford any request; below, a 402 may be true."""


@dataclass(frozen=True, slots=True)
class KeyAnswer:
    """A host's answer about a key.

    ``status``: HTTP's, or that of an error inside a 200; 0 for a 200 that tells nothing. ``data``: the account.
    """

    status: int
    data: dict[str, Any] | None = None


async def ask_about_key(pool: ConnectionPool, upstream: Upstream, credential: Credential) -> KeyAnswer | None:
    """The first telling answer of the upstream's hosts, else a 403, else any other; None if no host answers."""
    if upstream.dialect == "piapi":
        path, limit = ACCOUNT_INFO_PATH, ACCOUNT_ANSWER_LIMIT
    else:
        path, limit = models_path(upstream.dialect), LIST_LIMIT
    found: KeyAnswer | None = None
    for endpoint in upstream.endpoints:
        try:
            async with asyncio.timeout(KEY_CHECK_PATIENCE):
                key = _key_headers(upstream, credential)
                answer = await read_free(pool, endpoint, path, key, limit, ASKER)
        except (TransportError, TimeoutError, ValueError):  # ValueError: a key that no header can hold
            continue
        told = _enveloped(answer) if upstream.dialect == "piapi" else _listed(answer)
        if told.status in _TELLING:
            return told
        found = told if found is None or told.status == 403 else found
    return found


def _key_headers(upstream: Upstream, credential: Credential) -> Headers:
    if upstream.dialect == "piapi":
        return ((ACCOUNT_KEY_HEADER.encode(), credential.value.encode()),)
    return question_headers(upstream.dialect, credential.value)


def reading_of(answer: KeyAnswer | None, dialect: Dialect, points_per_usd: int) -> KeyReading:
    """What an answer tells of the key. That a list of models is given says nothing of the account's money, and a 403
    nothing at all: there are keys that may ask and not read.
    """
    if answer is None:
        return KeyReading()
    if answer.status == 401:
        return KeyReading(valid=False)
    if answer.status == 402:
        return KeyReading(valid=True, funded=False)
    if answer.status != 200:
        return KeyReading()
    if dialect != "piapi":
        return KeyReading(valid=True)
    balance = None if answer.data is None else balance_nano(answer.data, points_per_usd)
    if balance is None or 0 < balance < _SURELY_FUNDED:
        return KeyReading(valid=True)
    return KeyReading(valid=True, funded=balance > 0)


def _enveloped(answer: FreeAnswer) -> KeyAnswer:
    """PiAPI's envelope, which may tell of a refusal within HTTP's 200."""
    try:
        document = read_json(answer.body or b"")
    except ValueError:
        return KeyAnswer(_UNTELLING if answer.status == 200 else answer.status)
    if not isinstance(document, dict):
        return KeyAnswer(_UNTELLING if answer.status == 200 else answer.status)
    code = document.get("code")
    if type(code) is int and code != 200:
        return KeyAnswer(code)
    if answer.status == 200 and code is None:
        return KeyAnswer(_status_of_error(document), _account(document))
    return KeyAnswer(answer.status, _account(document))


def _account(document: object) -> dict[str, Any] | None:
    data = account_data(document)
    return None if data is None else dict(data)


def _listed(answer: FreeAnswer) -> KeyAnswer:
    """A list of models, or an error within HTTP's 200. A long one is not read through."""
    body = answer.body
    if answer.status != 200 or body is None:
        return KeyAnswer(answer.status)
    if not body.lstrip().startswith((b"{", b"[")):
        return KeyAnswer(_UNTELLING)
    if len(body) > _SHORT:
        return KeyAnswer(200)
    try:
        return KeyAnswer(_status_of_error(read_json(body)))
    except ValueError:
        return KeyAnswer(_UNTELLING)


def _status_of_error(document: object) -> int:
    """The status that the error inside a 200 stands for; 200 if there is none."""
    error = error_in(document)
    return 200 if error is None else _STATUS_OF_SLUG.get(classify_error(error).slug, _UNTELLING)
