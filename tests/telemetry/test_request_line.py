"""A request's line is written from a template, and says what the general writer would say of the same record."""

from __future__ import annotations

import io
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.exchange_record import AttemptRecord, ExchangeRecord
from gateway.core.types import Phase, Usage
from gateway.telemetry import request_line
from gateway.telemetry.log import Log
from gateway.telemetry.log_lines import LINE_CAP, json_line
from gateway.telemetry.redaction import Redactor
from gateway.telemetry.request_line import RequestLines, request_fields

STAMP = "2026-11-22T08:47:01.123Z"
SECRET = "the-upstreams-key"  # a fake

names = st.text(max_size=8) | st.sampled_from(["gpt-4o", "100%", "%s%d", 'a"b\\c', "tab\t", "\x7f", "ä", SECRET])
counts = st.integers(0, 10**9)
seconds = st.floats(0, 10**4)
attempts = st.builds(
    AttemptRecord,
    names,
    names,
    names,
    st.sampled_from(["ok", "ok", "ok", "upstream_5xx"]),
    st.sampled_from(Phase),
    fingerprint=names,
    number=st.integers(1, 9),
    status=st.none() | st.integers(100, 599),
    detail=st.just("") | names,
    task_id=st.none() | names,
    bytes_out=counts,
    bytes_in=counts,
    ended=seconds,
)
records = st.builds(
    ExchangeRecord,
    st.just("id"),
    key=names,
    team=st.none(),
    route=names,
    model=names,
    request_id=names,
    attempts=st.lists(attempts, max_size=2),
    status=st.integers(0, 999),
    usage=st.builds(Usage, counts, counts, counts, counts),
    cost=st.none() | st.sampled_from(["0.00", "0.00066"]),
    confidence=st.sampled_from(["measured", "estimated", "unknown"]),
    state=st.sampled_from(["settled", "unknown"]),
    above_bound=st.booleans(),
    tier=st.sampled_from(["", "", "flex", SECRET]),
    code=st.none() | names,
    duration=st.none() | seconds,
)


def general(record: ExchangeRecord, redactor: Redactor) -> dict[str, Any]:
    line = json_line({"ts": STAMP, "level": "info", "event": "request", **request_fields(record)}, redactor)
    said: dict[str, Any] = orjson.loads(line)
    return said


class Clock:
    def wall_ns(self) -> int:
        return 1_795_337_221_123_000_000

    def monotonic(self) -> float:
        return 0.0


def ordinary(**changes: Any) -> ExchangeRecord:
    served = AttemptRecord("piapi", "https://api.piapi.ai", "first", "ok", Phase.FORWARDED, status=200, detail="")
    given = {"key": "alice", "model": "gpt-4o", "request_id": "req_1", "status": 200, "cost": "0.00", "duration": 0.25}
    return ExchangeRecord("id", **({"attempts": [served], "confidence": "measured"} | given | changes))


@settings(deadline=None, max_examples=500)
@given(records)
def test_every_request_is_told_as_by_the_general_writer(record: ExchangeRecord) -> None:
    written, redactor = io.StringIO(), Redactor([SECRET])
    log = Log(redactor=redactor, stream=written, clock=Clock())
    log.request(record)
    assert log.flush()
    [line] = written.getvalue().splitlines(keepends=True)
    assert line.endswith("}\n")
    assert len(line.encode()) <= LINE_CAP
    assert SECRET not in line
    expected = general(record, redactor)
    said = orjson.loads(line)
    assert said == expected | {"ts": said["ts"]}
    assert [*said] == [*expected]


def test_an_ordinary_request_has_a_template() -> None:
    record, lines = ordinary(), RequestLines()
    for _ in range(2):
        line = lines.line(record, STAMP)
        assert line is not None
        assert orjson.loads(line) == general(record, Redactor())


def test_what_has_more_to_tell_has_none() -> None:
    for changes in ({"code": "x"}, {"cost": None}, {"tier": "flex"}, {"above_bound": True}, {"attempts": []}):
        assert RequestLines().line(ordinary(**changes), STAMP) is None
    assert RequestLines().line(ordinary(key="älice"), STAMP) is None


def test_templates_are_bounded(monkeypatch: Any) -> None:
    monkeypatch.setattr(request_line, "MOST_TEMPLATES", 3)
    lines = RequestLines()
    for number in range(10):
        assert lines.line(ordinary(model=f"m{number}"), STAMP) is not None
        assert len(lines._templates) <= 3


def test_it_is_as_terse_as_the_level_asks() -> None:
    for level, lines in (("info", 1), ("warning", 0)):
        written = io.StringIO()
        log = Log("text", level, stream=written)  # type: ignore[arg-type]
        log.request(ordinary())
        assert log.flush()
        assert written.getvalue().count(" request ") == lines
