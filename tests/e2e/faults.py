"""The failover policy as it is seen from outside: one line for each fault that an upstream can play.

What a line says is written down from the failover policy and the contract's table of errors, not computed from
``core/outcomes/table.py``, so that the two can disagree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SECOND_KEY = "sk-piapi-second-hhhiiijjjkkk"
TWO_KEYS = f"""
upstreams:
  piapi:
    keys: [{{name: first, value: sk-piapi-aaabbbcccdddeeefff}}, {{name: second, value: {SECOND_KEY}}}]
"""

Next = Literal["proxy", "other key", "backup", "nobody"]
Told = tuple[int, str, str]

UNREACHABLE = (502, "upstream_error", "upstream_unreachable")
FAILED = (502, "upstream_error", "upstream_error")
NOT_UNDERSTOOD = (502, "upstream_error", "upstream_invalid_response")
EMPTY = (502, "upstream_error", "upstream_empty_response")
SLOW = (504, "upstream_error", "upstream_timeout")
AUTH = (502, "upstream_error", "upstream_auth_failed")
QUOTA = (503, "service_unavailable_error", "upstream_quota_exhausted")
LIMITED = (429, "rate_limit_error", "rate_limit_exceeded")
MISSING = (404, "invalid_request_error", "model_not_found")

QUICK_HEAD = "upstreams: {piapi: {timeouts: {head: 400ms}}, backup: {timeouts: {head: 400ms}}}"
QUICK_CONTENT = "upstreams: {piapi: {timeouts: {content: 400ms}}, backup: {timeouts: {content: 400ms}}}"


@dataclass(frozen=True)
class Fault:
    """What follows when the sandbox plays ``scenario``.

    ``next``: who serves when it is played once. ``told``: status, type and code when every upstream plays it.
    ``doubtful``: the upstream may have done work that it bills, so it is booked ``unknown`` on our side.
    ``retry_after``: what the client is told then; only a rate limit invites SDKs to come back by themselves.
    ``config``: YAML that the fault needs.
    """

    slug: str
    scenario: str
    next: Next
    told: Told
    doubtful: bool = False
    retry_after: str | None = None
    config: str = ""

    def __str__(self) -> str:
        return f"{self.slug}-{self.scenario}"


REACHING = (
    Fault("connection_reset", "reset_before_head", "proxy", FAILED, doubtful=True),
    Fault("connection_reset", "reset_before_head;reset=0", "proxy", FAILED, doubtful=True),
    Fault("bad_http", "garbage", "proxy", NOT_UNDERSTOOD, doubtful=True),
    Fault("head_too_big", "big_head", "proxy", NOT_UNDERSTOOD, doubtful=True),
    Fault("stall_head", "stall_head", "proxy", SLOW, doubtful=True, config=QUICK_HEAD),
)
"""Rows 5, 22 and 37. What cannot be played by the sandbox has tests of its own in test_policy_reaching.py."""

STATUSES = (
    Fault("key_invalid", "key_invalid", "other key", AUTH),
    Fault("key_unfunded", "key_unfunded", "other key", QUOTA, retry_after="60"),
    Fault("key_unfunded", "insufficient_quota", "other key", QUOTA, retry_after="60"),
    Fault("key_forbidden", "key_forbidden", "other key", AUTH),
    Fault("waf_block", "waf_block", "proxy", FAILED),
    Fault("model_missing", "model_missing", "backup", MISSING),
    Fault("upstream_408", "upstream_408", "proxy", SLOW),
    Fault("conflict", "conflict", "nobody", (409, "invalid_request_error", "conflict")),
    Fault("too_large", "too_large", "nobody", (413, "invalid_request_error", "request_too_large")),
    Fault("rejected", "rejected", "nobody", (400, "invalid_request_error", "invalid_request")),
    Fault("rejected", "unprocessable", "nobody", (422, "invalid_request_error", "invalid_request")),
    Fault(
        "rejected",
        "rejected;error=context_length_exceeded",
        "nobody",
        (400, "invalid_request_error", "context_length_exceeded"),
    ),
    Fault(
        "content_policy",
        "rejected;error=content_policy_violation",
        "nobody",
        (400, "invalid_request_error", "content_policy_violation"),
    ),
    Fault("rate_limited", "rate_limited;retry_after=30", "other key", LIMITED, retry_after="30"),
    Fault("rate_limited", "rate_limited;retry_after=9999", "other key", LIMITED, retry_after="60"),
    Fault("upstream_5xx", "server_error", "proxy", FAILED),
    Fault("upstream_5xx", "bad_gateway", "proxy", FAILED),
    Fault("upstream_5xx", "status;code=504;shape=piapi", "proxy", FAILED),
    Fault("upstream_5xx", "gateway_timeout", "proxy", FAILED),
    Fault("upstream_5xx", "status;code=529", "proxy", FAILED),
    Fault("cf_origin_down", "cf_origin_down", "proxy", UNREACHABLE),
    Fault("cf_origin_down", "cf_origin_down;code=530;plain=1", "proxy", UNREACHABLE),
    Fault("cf_unknown", "cloudflare;code=520", "proxy", FAILED),
    Fault("cf_unknown", "cloudflare;code=502", "proxy", FAILED),
    Fault("cf_unknown", "cf_json", "proxy", FAILED),
    Fault("cf_524", "cf_524", "proxy", SLOW, doubtful=True),
    Fault("bad_content_type", "html_200", "proxy", NOT_UNDERSTOOD, doubtful=True),
    Fault("bad_json", "bad_json", "proxy", NOT_UNDERSTOOD, doubtful=True),
    Fault("bad_json", "truncated_json", "proxy", NOT_UNDERSTOOD, doubtful=True),
    Fault("empty_response", "empty_body", "proxy", EMPTY),
    Fault("redirect", "redirect", "proxy", NOT_UNDERSTOOD),
    Fault("bad_encoding", "gzip", "proxy", NOT_UNDERSTOOD, doubtful=True),
    Fault("bad_encoding", "bomb;mib=64", "proxy", NOT_UNDERSTOOD, doubtful=True),
    Fault("soft_error", "soft_error;shape=string;message=nobody knows this", "proxy", FAILED),
    Fault("upstream_5xx", "soft_error;code=500", "proxy", FAILED),
    Fault("key_invalid", "soft_error;code=401", "other key", AUTH),
    Fault("rejected", "soft_error;code=400", "nobody", (400, "invalid_request_error", "invalid_request")),
)
"""Rows 7 to 25 and 39. A code that is a known word tells more than its status, unless it is as vague as
``gateway_timeout``."""

STREAMS = (
    Fault("sse_error_first", "sse_error_string", "proxy", FAILED),
    Fault("upstream_5xx", "sse_error_first", "proxy", FAILED),
    Fault("upstream_408", "delta_error", "proxy", SLOW),
    Fault("key_unfunded", "sse_event_error_flat;error=insufficient_quota", "other key", QUOTA, retry_after="60"),
    Fault("sse_empty", "sse_empty", "proxy", EMPTY),
    Fault("sse_empty", "sse_only_done", "proxy", EMPTY),
    Fault("sse_cut_early", "cut_early", "proxy", FAILED, doubtful=True),
    Fault("sse_cut_early", "cut_early;reset=1", "proxy", FAILED, doubtful=True),
    Fault("sse_event_too_big", "huge_event", "proxy", NOT_UNDERSTOOD, doubtful=True),
    Fault("sse_flood", "flood", "proxy", NOT_UNDERSTOOD, doubtful=True),
    Fault("sse_bad_event", "bad_event;after_events=1", "proxy", NOT_UNDERSTOOD, doubtful=True),
    Fault("stall_content", "stall_before_content", "proxy", SLOW, doubtful=True, config=QUICK_CONTENT),
    Fault("stall_content", "drip", "proxy", SLOW, doubtful=True, config=QUICK_CONTENT),
)
"""Rows 26 to 28, 36, 37 and 40, before content: another upstream can still be tried, and the client sees nothing."""

BEFORE_CONTENT = (*REACHING, *STATUSES, *STREAMS)


@dataclass(frozen=True)
class LateFault:
    """A stream that goes wrong after content went to the client. ``reason``: how our side is booked."""

    slug: str
    scenario: str
    reason: Literal["unknown", "billed"] = "unknown"
    config: str = ""

    def __str__(self) -> str:
        return f"{self.slug}-{self.scenario}"


QUICK_IDLE = "upstreams: {piapi: {timeouts: {idle: 400ms}}}"
SHORT_STREAMS = "upstreams: {piapi: {timeouts: {stream_total: 500ms}}}"

AFTER_CONTENT = (
    LateFault("sse_cut_late", "cut;after_events=4"),
    LateFault("sse_cut_late", "rst;after_events=4;delay=5"),
    LateFault("sse_cut_late", "truncated_chunk;after_events=4"),
    LateFault("sse_cut_late", "bad_chunk;after_events=4"),
    LateFault("sse_truncated", "clean_eof;after_events=4"),
    LateFault("sse_event_too_big", "huge_event;after_events=4"),
    LateFault("sse_flood", "flood;unit=empty;after_events=4"),
    LateFault("sse_bad_event", "bad_event;after_events=4"),
    LateFault("sse_error_first", "sse_error_string;after_events=4"),
    LateFault("upstream_5xx", "sse_error_late"),
    LateFault("stall_idle", "stall_mid;after_events=4", config=QUICK_IDLE),
    LateFault("stream_too_long", "endless;delay=20", "billed", config=SHORT_STREAMS),
)
"""Rows 29, 31, 36, 37, 38 and 40, after content: the client is told in the stream, and nobody else is asked."""
