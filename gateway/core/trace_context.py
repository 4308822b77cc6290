"""W3C Trace Context: which trace a request belongs to, read from its headers and written for the next one.

    traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
    tracestate: vendor=anything,other@tenant=more

What is not well-formed counts as if it were not there: then a trace begins here. What it said is told nowhere, since a
client chose it.

Source: https://www.w3.org/TR/trace-context-2/
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.core.headers import Headers

SAMPLED = 0x01
RANDOM = 0x02
"""The flag of a trace id whose right half is random."""

LONGEST_STATE = 512
"""Characters of a tracestate; a longer one is not passed on."""

MOST_MEMBERS = 32
"""Of a tracestate."""

_PARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_MEMBER = re.compile(
    r"([a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})"
    r"=([\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e])"
)
"""A key without a tenant begins with a letter, as in the first level of the standard: not all take a digit there."""

_BLANKS = " \t"


@dataclass(frozen=True, slots=True)
class TraceContext:
    """A span's place: its trace, its own id, and what goes on with them. Neither id is 0.

    ``flags``: SAMPLED and RANDOM. ``state``: a tracestate; empty for none.
    """

    trace_id: int
    span_id: int
    flags: int = 0
    state: str = ""

    @property
    def sampled(self) -> bool:
        """Whether who came before records the trace."""
        return bool(self.flags & SAMPLED)

    @property
    def headers(self) -> Headers:
        """``traceparent`` and, if there is one, ``tracestate``, for who is asked within this span."""
        parent = (b"traceparent", b"00-%032x-%016x-%02x" % (self.trace_id, self.span_id, self.flags))
        return (parent, (b"tracestate", self.state.encode("ascii"))) if self.state else (parent,)


def read_context(parents: Sequence[bytes], states: Sequence[bytes] = ()) -> TraceContext | None:
    """The place of the span that a request was sent in; None if it does not say so.

    ``parents``, ``states``: the values of all its headers ``traceparent`` and ``tracestate``.
    """
    if len(parents) != 1:
        return None
    match = _PARENT.fullmatch(parents[0].strip(b" \t"))
    if match is None or match[1] == b"ff" or (match[1] == b"00" and match[5] is not None):
        return None
    trace_id, span_id = int(match[2], 16), int(match[3], 16)
    if not trace_id or not span_id:
        return None
    return TraceContext(trace_id, span_id, int(match[4], 16) & (SAMPLED | RANDOM), read_state(states))


def read_state(states: Sequence[bytes]) -> str:
    """The tracestate of all headers with its name, in one line; empty if any part of it is not well-formed."""
    joined = b",".join(states)
    if len(joined) > LONGEST_STATE or not joined.isascii():
        return ""
    members = [member for part in joined.decode("ascii").split(",") if (member := part.strip(_BLANKS))]
    matches = [_MEMBER.fullmatch(member) for member in members]
    keys = {match[1] for match in matches if match is not None}
    if len(members) > MOST_MEMBERS or len(keys) != len(members):  # not well-formed, or a key twice
        return ""
    return ",".join(members)
