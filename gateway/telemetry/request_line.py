"""The log's line of a request that has ended, and the fields of its attempts.

    {"ts":…,"level":"info","event":"request","request_id":"req_1","route":"/v1/chat/completions","key":"alice",
     "model":"gpt-4o","status":200,"attempts":1,"input_tokens":12,…,"upstream":"piapi",…,"outcome":"ok",…}

The line of an ordinary request is written from a template: of all its fields only some numbers differ from those of the
request before. ``RequestLines`` knows which requests are ordinary; what it writes says the same as
``log_lines.json_line`` would of ``request_fields``.
"""

from __future__ import annotations

import json
from json.encoder import encode_basestring_ascii
from typing import Any

from gateway.core.exchange_record import AttemptRecord, ExchangeRecord
from gateway.core.pricing.prices import format_usd

MOST_TEMPLATES = 1_000
"""Templates that are kept: one for each key, model and way upstream in use. Beyond, they are made anew."""

_FORM = (
    '{"ts":"%%s","level":"info","event":"request","request_id":%%s,"route":%s,"key":%s,"model":%s,"status":%%d,'
    '"attempts":%%d,"input_tokens":%%d,"output_tokens":%%d,"images":%%d,"cost_usd":"%%s","confidence":"%%s","ms":%%.1f,'
    '"attempt":%%d,"upstream":%s,"endpoint":%s,"upstream_key":%s,"fingerprint":%s,"outcome":"ok","phase":%%d,'
    '"upstream_status":%%s,"detail":null,"task_id":null,"bytes_out":%%d,"bytes_in":%%d,"attempt_ms":%%.1f}\n'
)
"""The line of a request that was served, once its names are filled in."""


def attempt_fields(attempt: AttemptRecord) -> dict[str, Any]:
    """What the log says of an attempt. One that went well is told in its request's line."""
    return {
        "attempt": attempt.number,
        "upstream": attempt.upstream,
        "endpoint": attempt.endpoint,
        "upstream_key": attempt.credential,
        "fingerprint": attempt.fingerprint,
        "outcome": attempt.outcome,
        "phase": int(attempt.phase),
        "upstream_status": attempt.status,
        "detail": attempt.detail or None,
        "task_id": attempt.task_id,
        "bytes_out": attempt.bytes_out,
        "bytes_in": attempt.bytes_in,
        "attempt_ms": round((attempt.ended - attempt.began) * 1000, 1),
    }


def request_fields(record: ExchangeRecord) -> dict[str, Any]:
    """What the log says of a request."""
    attempts, usage = record.attempts, record.usage
    fields: dict[str, Any] = {
        "request_id": record.request_id,
        "route": record.route,
        "key": record.key,
        "model": record.model,
        "status": record.status,
    }
    if record.code is not None:
        fields["code"] = record.code
    fields["attempts"] = len(attempts)
    fields["input_tokens"] = usage.input_tokens
    fields["output_tokens"] = usage.output_tokens
    fields["images"] = usage.images
    fields["cost_usd"] = record.cost or format_usd(record.charged)
    fields["confidence"] = record.confidence
    fields |= _unusual_fields(record)
    fields["ms"] = round((record.duration or 0.0) * 1000, 1)
    if attempts and attempts[-1].outcome == "ok":
        fields.update(attempt_fields(attempts[-1]))
    return fields


def _unusual_fields(record: ExchangeRecord) -> dict[str, Any]:
    """What most requests have nothing to say of."""
    joined = record.paid_by is not None
    said = {
        "unpriced": record.unpriced,
        "above_bound": record.above_bound,
        "tier": record.tier,
        "cache": "hit" if record.cached else None,
        "learned": record.learned,
        "preferred": record.preferred,
        "job": record.job,
        "joined": joined,
        "paid_by": record.paid_by,
    }
    return {name: value for name, value in said.items() if value}


class RequestLines:
    """Writes the lines of ordinary requests: those that were served and priced, in the usual tier, without a task."""

    def __init__(self) -> None:
        self._templates: dict[tuple[str, ...], str] = {}

    def line(self, record: ExchangeRecord, stamp: str) -> str | None:
        """The line, in ASCII; None for a request that is not ordinary. ``stamp``: the time as the line has it."""
        attempts, cost = record.attempts, record.cost
        if not attempts or cost is None or record.code is not None or record.job is not None:
            return None
        if record.above_bound or record.tier or record.learned or record.preferred or record.confidence == "unknown":
            return None
        last, usage = attempts[-1], record.usage
        if last.outcome != "ok" or last.detail or last.task_id is not None:
            return None
        names = (
            *(record.route, record.key, record.model),
            *(last.upstream, last.endpoint, last.credential, last.fingerprint),
        )
        try:
            template = self._templates[names]
        except KeyError:
            template = self._new_template(names)
        if not template:
            return None
        return template % (
            *(stamp, encode_basestring_ascii(record.request_id), record.status, len(attempts)),
            *(usage.input_tokens, usage.output_tokens, usage.images, cost, record.confidence),
            *((record.duration or 0.0) * 1000, last.number, last.phase),
            *("null" if last.status is None else last.status, last.bytes_out, last.bytes_in),
            (last.ended - last.began) * 1000,
        )

    def _new_template(self, names: tuple[str, ...]) -> str:
        if len(self._templates) >= MOST_TEMPLATES:
            self._templates.clear()
        template = _FORM % tuple([json.dumps(name).replace("%", "%%") for name in names])
        if not "".join(names).isascii():
            template = ""  # what is masked or escaped in other letters is the general writer's to know
        self._templates[names] = template
        return template
