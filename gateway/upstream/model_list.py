"""The question for an upstream's list of models, ``GET /v1/models``, which costs nothing.

PiAPI is not known to have such a list; it is asked all the same, since it may get one. A list that cannot be had is no
error of anybody's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.core.errors import TransportError
from gateway.core.listed_model import ListedModel
from gateway.core.types import Credential, Dialect, Endpoint, Upstream
from gateway.upstream.free_read import read_free
from gateway.upstream.pool import ConnectionPool
from gateway.wire.model_list import MOST_MODELS, ListPage, read_list_page
from gateway.wire.model_question import models_path, question_headers

LIST_TIMEOUT = 10.0
"""Seconds for one host's whole answer."""

LIST_LIMIT = 8 * 1024 * 1024
"""Bytes of an answer. OpenAI's has about 15,000, the longest known a million."""

LONG = 256 * 1024
"""Bytes of an answer that takes more than a moment to read."""

MOST_PAGES = 20
"""Pages of a list that is told in several; what comes after them is left out."""

MOST_KEYS = 3
"""Keys of a pool that are tried where one after the other is refused."""

_REFUSED = frozenset({401, 403})

ModelListAnswer = tuple[ListedModel, ...] | str
"""The models; or, in words of ours that may be shown, why there are none."""


async def ask_model_list(
    pool: ConnectionPool, upstream: Upstream, on_refused: Callable[[Credential, int], None] = lambda *_: None
) -> ModelListAnswer:
    """What the upstream lists. Its hosts are asked one after the other, with its next key where one is refused.

    ``on_refused``: told of such a key and the status.
    """
    answer: ModelListAnswer = "no key"
    for credential in upstream.credentials[:MOST_KEYS]:
        refused = 0
        for endpoint in upstream.endpoints:
            answer, refused = await _ask(pool, endpoint, credential, upstream.dialect)
            if refused or isinstance(answer, tuple):
                break
        if not refused:
            break
        on_refused(credential, refused)
    return answer


async def _ask(
    pool: ConnectionPool, endpoint: Endpoint, credential: Credential, dialect: Dialect
) -> tuple[ModelListAnswer, int]:
    """One host's answer; and the status by which it refused the key, 0 if it did not."""
    found: dict[str, ListedModel] = {}
    after = ""
    for _ in range(MOST_PAGES):
        answer, refused = await _ask_page(pool, endpoint, credential, dialect, after)
        if isinstance(answer, str):
            return tuple(found.values()) or answer, refused
        found |= {model.id: model for model in answer.models if model.id not in found}
        if not answer.next or answer.next == after or len(found) >= MOST_MODELS:
            break
        after = answer.next
    return tuple(found.values()) or "the answer lists no models", 0


async def _ask_page(
    pool: ConnectionPool, endpoint: Endpoint, credential: Credential, dialect: Dialect, after: str
) -> tuple[ListPage | str, int]:
    """One page; or why there is none, and the status by which the key was refused."""
    try:
        async with asyncio.timeout(LIST_TIMEOUT):
            key = question_headers(dialect, credential.value)
            answer = await read_free(pool, endpoint, models_path(dialect, after), key, LIST_LIMIT)
    except TransportError as error:
        return error.slug, 0
    except TimeoutError:
        return "no answer in time", 0
    except ValueError:
        return "the key cannot stand in a header", 0
    if answer.status != 200:
        return f"answered {answer.status}", answer.status if answer.status in _REFUSED else 0
    if answer.body is None:
        return "the list is too long", 0
    if len(answer.body) > LONG:  # other requests must not wait while it is read
        page = await asyncio.to_thread(read_list_page, answer.body)
    else:
        page = read_list_page(answer.body)
    return page if page.models else "the answer lists no models", 0
