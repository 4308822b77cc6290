"""Several processes' metrics as one scrape: counters and histograms add up, gauges as each says."""

from __future__ import annotations

import orjson

from gateway.telemetry.exposition import Buckets, Exposed, pieces
from gateway.telemetry.merging import as_data, from_data, merged


def text(families: list[Exposed]) -> str:
    return b"".join(pieces(families, openmetrics=False)).decode()


def counter(*series: tuple[str, int], nano: bool = False) -> Exposed:
    return Exposed("a", "A.", "counter", ("key",), series, nano=nano)


def gauge(merge: str, *series: tuple[str, float]) -> Exposed:
    return Exposed("g", "G.", "gauge", ("key",), series, merge=merge)  # type: ignore[arg-type]


def test_counters_add_up_and_each_keeps_the_series_that_only_it_has() -> None:
    one, other = counter(('key="x"', 1), ('key="y"', 2)), counter(('key="y"', 40), ('key="z"', 3))
    [found] = merged([[one], [other]])
    assert list(found.series) == [('key="x"', 1), ('key="y"', 42), ('key="z"', 3)]


def test_money_is_added_in_nano_dollars_and_divided_once() -> None:
    third = counter(('key="x"', 100_000_000), nano=True)  # 0.1 + 0.1 + 0.1 in floats is no 0.3
    [found] = merged([[third], [third], [third]])
    assert text([found]).splitlines()[-1] == 'a_total{key="x"} 0.3'


def test_histograms_add_up_bucket_by_bucket() -> None:
    def seconds(*counts: int, sum: float) -> Exposed:
        return Exposed("s", "S.", "histogram", (), [("", Buckets(counts, sum))], bounds=(1.0,))

    [found] = merged([[seconds(1, 0, sum=0.5)], [seconds(2, 3, sum=9.0)]])
    assert text([found]).splitlines()[2:] == [
        's_bucket{le="1.0"} 3.0',
        's_bucket{le="+Inf"} 6.0',
        "s_count 6.0",
        "s_sum 9.5",
    ]


def test_gauges_go_by_what_they_say() -> None:
    for merge, expected in (("sum", 3), ("max", 2), ("min", 1)):
        [found] = merged([[gauge(merge, ("", 1))], [gauge(merge, ("", 2))]])
        assert list(found.series) == [("", expected)]


def test_what_came_as_json_is_what_was_sent() -> None:
    sent = [counter(('key="x"', 2**53 + 1)), gauge("min", ('key="x"', 0.25))]
    received = from_data(orjson.loads(orjson.dumps(as_data(sent))))
    assert [(one.name, one.type, one.merge, list(one.series)) for one in received] == [
        ("a", "counter", "sum", [('key="x"', 2**53 + 1)]),
        ("g", "gauge", "min", [('key="x"', 0.25)]),
    ]
