"""W3C Trace Context at its edges: what is not well-formed counts as if it were not there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from gateway.core.trace_context import SAMPLED, TraceContext, read_context, read_state

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GOOD = f"00-{TRACE}-{SPAN}-01"


def read(*parents: str, state: str | None = None) -> TraceContext | None:
    return read_context([one.encode() for one in parents], [] if state is None else [state.encode()])


def test_a_span_is_named_by_its_trace_and_its_id() -> None:
    place = read(GOOD, state="vendor=1")
    assert place == TraceContext(int(TRACE, 16), int(SPAN, 16), SAMPLED, "vendor=1")
    assert place.sampled
    assert dict(place.headers) == {b"traceparent": GOOD.encode(), b"tracestate": b"vendor=1"}
    unsampled = read(f"00-{TRACE}-{SPAN}-00")
    assert unsampled is not None
    assert not unsampled.sampled
    assert [name for name, _ in unsampled.headers] == [b"traceparent"], "there is no state to go on with"


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "garbage",
        GOOD.upper(),
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01-",
        f"01-{TRACE}-{SPAN}-01more",
        f"00-{TRACE[1:]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}0-01",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}",
        f"0-{TRACE}-{SPAN}-01",
        f"00_{TRACE}_{SPAN}_01",
        f"{GOOD}\n",
        f"{GOOD}, {GOOD}",
        f"00-{TRACE}-{SPAN}-0\u0661",
    ],
)
def test_what_is_not_well_formed_is_none(parent: str) -> None:
    assert read(parent) is None
    assert read(parent, state="vendor=1") is None


def test_of_two_headers_neither_counts() -> None:
    assert read(GOOD, GOOD) is None
    assert read() is None


@pytest.mark.parametrize(
    "parent", [f"01-{TRACE}-{SPAN}-01", f"cc-{TRACE}-{SPAN}-01-what-may-come", f"01-{TRACE}-{SPAN}-01-"]
)
def test_a_later_version_is_read_as_far_as_it_is_known(parent: str) -> None:
    place = read(parent)
    assert place is not None
    assert place.headers[0][1] == GOOD.encode(), "and goes on in the version that is spoken here"


def test_flags_that_have_no_meaning_yet_are_not_passed_on() -> None:
    place = read(f"00-{TRACE}-{SPAN}-ff")
    assert place is not None
    assert place.flags == 3
    assert place.headers[0][1].endswith(b"-03")


@pytest.mark.parametrize(
    ("states", "kept"),
    [
        (["a=1"], "a=1"),
        ([" a=1 ,\tb=2 "], "a=1,b=2"),
        (["a=1", "b=2"], "a=1,b=2"),
        (["a=1,,b=2,"], "a=1,b=2"),
        (["0vendor@system=x y", "a-b_c*d/e=~!"], "0vendor@system=x y,a-b_c*d/e=~!"),
        ([""], ""),
        (["a=1,a=2"], ""),
        (["A=1"], ""),
        (["a"], ""),
        (["a="], ""),
        (["a=b=c"], ""),
        (["a=\x07"], ""),
        (["a=\xe9"], ""),
        (["@system=1"], ""),
        (["a=1", "b"], ""),
        ([",".join(f"k{number}=v" for number in range(32))], ",".join(f"k{number}=v" for number in range(32))),
        ([",".join(f"k{number}=v" for number in range(33))], ""),
        (["a=" + "x" * 256], "a=" + "x" * 256),
        (["a=" + "x" * 257], ""),
        (["a=" + "x" * 250 + ",b=" + "x" * 250], "a=" + "x" * 250 + ",b=" + "x" * 250),
        (["a=" + "x" * 250 + ",b=" + "x" * 250, "c=123456"], ""),
    ],
)
def test_a_tracestate_is_passed_on_whole_or_not_at_all(states: list[str], kept: str) -> None:
    assert read_state([one.encode("latin-1") for one in states]) == kept


@given(st.one_of(st.text(max_size=80), st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")))
def test_the_library_reads_the_same(parent: str) -> None:
    """Its propagator is more patient with blanks and line ends around, which no header has."""
    parent = parent.strip()
    ours = read_context([parent.encode("utf-8", "surrogatepass")])
    found = TraceContextTextMapPropagator().extract({"traceparent": parent})
    theirs = get_current_span(found).get_span_context()
    if ours is None:
        assert not theirs.is_valid
    else:
        assert (ours.trace_id, ours.span_id) == (theirs.trace_id, theirs.span_id)
        assert ours.sampled == theirs.trace_flags.sampled
