"""docs/headers.md: the headers of this gateway's own, from the literals in the code."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from scripts.docs.markdown import code, page, table

GATEWAY = Path(__file__).parents[2] / "gateway"
ROOMS = ("core", "endpoints", "exchange", "jobs", "server", "translate", "wire")
"""The rooms that read a client's headers or write an answer's."""

_ANTHROPICS = frozenset({"anthropic-version", "anthropic-beta", "request-id"})
"""Headers of another vendor's API that are read or sent for its clients."""

READ: Mapping[str, str] = {
    "anthropic-version": "On Claude's routes: the version of the API that the client was written for. An upstream of "
    "that API gets it, else `2023-06-01`.",
    "anthropic-beta": "On Claude's routes: names of what is being tried out. An upstream of that API gets them.",
    "x-api-key": "The virtual key, in place of `Authorization: Bearer …`, as PiAPI's own clients send it. Without it "
    "`api-key`, as Azure's clients do.",
    "x-forwarded-for": "The client's address, as a proxy before the gateway tells it: believed from `trusted_proxies` "
    "only.",
    "x-gateway-cache": "`off`: the answer is neither taken from the [cache](answer-cache.md) nor kept in it.",
    "x-gateway-prefer": "`order`, `cost` or `speed`: what the targets of the request's model are put in order by, in "
    "place of what the configuration says ([learned routing](learned-routing.md)). Anything else is a 400.",
    "x-gateway-user": "On the admin listener: the user of their machine as whom the command line says it asks. The "
    "audit log repeats it beside how the request was let in.",
    "x-gateway-patience": "How long the client waits for a paid answer, such as `90s`; shortly before, it is told "
    "`still_running`: see [pay once](pay-once.md#patience).",
    "x-gateway-webhook": "Which of the configuration's `webhooks` is told how the paid work ends. See "
    "[pay once](pay-once.md#webhooks).",
    "x-request-id": "The name the request gets in the log and in its answer, if it is 1 to 128 letters, digits, dots, "
    "dashes or underscores. Otherwise the gateway makes one.",
    "x-stainless-retry-count": "How the OpenAI SDKs say that they send a request again: one that is paid for is then "
    "given what the first one bought.",
    "x-stainless-read-timeout": "The same as `x-gateway-patience`, in seconds, as OpenAI's SDK for Python sends it.",
    "x-stainless-timeout": "The same, as OpenAI's SDK for Node sends it.",
    "x-webhook-secret": "What PiAPI sends with its webhooks: `webhook_secret` of the configuration.",
}

SENT: Mapping[str, str] = {
    "x-request-id": "The request's name: the client's own or a new one. On every answer; every line of the log has it.",
    "request-id": "The same by Anthropic's name, on every answer of [Claude's routes](messages.md).",
    "x-gateway-upstream": "The upstream that served the request, or was asked last. Not there if none was asked.",
    "x-gateway-attempts": "How many attempts were made at upstreams; 0 for what was refused before.",
    "x-gateway-cost-usd": "What the key is charged, in US dollars. On whole answers; a stream's head goes out before "
    "it is known, and its last chunk has it as `usage.cost`, if the client asked for usage. See "
    "[money](money.md#what-an-answer-tells).",
    "x-gateway-expected-seconds": "How long orders like this one take, by the median of those that were seen; only "
    "where at least twelve were ([learned routing](learned-routing.md)).",
    "x-gateway-cache": "`hit` on an answer that was kept for an equal request and costs nothing "
    "([answer cache](answer-cache.md)). Other answers do not have it.",
    "x-gateway-note": "Remarks on how the answer came about, joined by `; `: `link_instead_of_b64` where a link could "
    "not be fetched and stands in place of the bytes; `downgraded` for an image that PiAPI made with another model; "
    "`ignored: provider` for a field that was not passed on; `rewritten: max_tokens as max_completion_tokens` and "
    "`dropped: stop` where the configuration says so of the target; `joined` for a re-send that was given what an "
    "equal request had bought.",
    "x-gateway-job": "The id of the job that a paid request runs in, or that it joined.",
    "x-should-retry": "On every error: whether software may send the same request again by itself.",
    "x-ratelimit-limit-requests": "The key's `rpm`.",
    "x-ratelimit-remaining-requests": "What is left of it.",
    "x-ratelimit-reset-requests": "When all of it is there again, such as `6m0s`.",
    "x-ratelimit-limit-tokens": "The key's `tpm`.",
    "x-ratelimit-remaining-tokens": "What is left of it.",
    "x-ratelimit-reset-tokens": "When all of it is there again.",
    "x-accel-buffering": "`no` on streams: nginx would hold events back.",
    "x-content-type-options": "`nosniff` on kept images: a browser shall take them for what they are.",
}

_INTRODUCTION = """\
Besides the usual headers of HTTP, these are read from requests and sent with answers. Names are the same in any case.
An upstream's own headers about its server and its connection never pass. `retry-after` (in seconds) and
`retry-after-ms` come with errors that a wait may cure: see [errors](errors.md). A stream's head goes out early, so what
is only known at the end of an answer is not in it. A web page that [may call](configuration.md#cors) can read all that
are about the request; `access-control-expose-headers` names them."""


class Mismatch(Exception):
    """A header in the code that is not described here, or the other way round; the message names it."""


@cache
def headers_in_code() -> frozenset[str]:
    """Every ``x-`` header's name and Anthropic's, as texts of the code, in the rooms that know clients."""
    found = set()
    for room in ROOMS:
        for path in (GATEWAY / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant):
                    text = node.value.decode("latin-1") if isinstance(node.value, bytes) else node.value
                    named = isinstance(text, str) and text.startswith("x-") and text.replace("-", "").isalnum()
                    if named or text in _ANTHROPICS:
                        found.add(text)
    return frozenset(found)


def headers_page() -> str:
    """The whole page."""
    described = READ.keys() | SENT.keys()
    if different := headers_in_code() ^ described:
        raise Mismatch(f"the code and scripts/docs/headers.py differ in {', '.join(sorted(different))}")
    return page(
        "Headers",
        _INTRODUCTION,
        "## Read from requests",
        table(("header", "meaning"), ((code(name), text) for name, text in READ.items())),
        "## Sent with answers",
        table(("header", "meaning"), ((code(name), text) for name, text in SENT.items())),
    )
