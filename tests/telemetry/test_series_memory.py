"""What a process counts in shared memory is read by another, exactly, also once that process was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from gateway.telemetry import series_memory
from gateway.telemetry.exposition import Buckets
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.series import Count, Distribution, Family, LabelSpace
from gateway.telemetry.series_memory import SeriesMemory, SeriesReader, new_memory

BOUNDS = (0.1, 1.0)


def a_family(memory: SeriesMemory, *, nano: bool = False) -> Family[Count]:
    family = Family("gateway_a_total", "A.", ("key",), Count, nano=nano)
    family.keep_in(memory)
    return family


def test_a_reader_sees_every_count_and_every_new_series() -> None:
    descriptor = new_memory()
    memory, reader = SeriesMemory(descriptor), SeriesReader(descriptor)
    family = a_family(memory, nano=True)
    times = Family("gateway_seconds", "S.", ("route",), lambda: Distribution(BOUNDS))
    times.keep_in(memory)
    assert [(one.name, one.type, list(one.series)) for one in reader.exposed()] == [
        ("gateway_a", "counter", []),
        ("gateway_seconds", "histogram", []),
    ]
    family.of(("alice",)).value += 3
    family.of(("alice",)).value += 4
    family.of(('b"ob\n',)).value = 2**62
    times.of(("/v1",)).observe(0.1)
    times.of(("/v1",)).observe(5)
    counts, seconds = reader.exposed()
    assert (counts.help, counts.labels, counts.nano) == ("A.", ("key",), True)
    assert list(counts.series) == [('key="alice"', 7), ('key="b\\"ob\\n"', 2**62)]
    assert (seconds.bounds, list(seconds.series)) == (BOUNDS, [('route="/v1"', Buckets((1, 0, 1), 5.1))])
    # The process that counts reads the same as ever.
    assert [count.value for count in family.values()] == [7, 2**62]
    assert (times.values()[0].counts(), times.values()[0].sum) == ([1, 0, 1], 5.1)
    os.close(descriptor)


COUNTING = """
import sys
from gateway.telemetry.series import Count, Family
from gateway.telemetry.series_memory import SeriesMemory
family = Family("gateway_a_total", "A.", ("key",), Count)
family.keep_in(SeriesMemory(int(sys.argv[1])))
print("ready", flush=True)
while True:
    family.of(("alice",)).value += 1
    print(family.of(("alice",)).value, flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="descriptors are inherited on Unix")
def test_nothing_that_was_counted_is_lost_when_the_process_is_killed() -> None:
    descriptor = new_memory()
    process = subprocess.Popen(
        [sys.executable, "-c", COUNTING, str(descriptor)], pass_fds=[descriptor], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    reader = SeriesReader(descriptor)
    while process.stdout.readline().strip() != "500":
        pass
    process.send_signal(signal.SIGKILL)
    told = [*process.stdout.read().split()][-1:] or ["500"]
    process.wait()
    process.stdout.close()
    [counted] = reader.exposed()
    [(labels, value)] = counted.series
    assert labels == 'key="alice"'
    assert value - int(told[0]) in (0, 1)  # the last one may have been counted and not told
    os.close(descriptor)


def test_where_the_memory_is_full_it_is_counted_in_the_process_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series_memory, "SIZE", 4096)
    descriptor = new_memory()
    family = a_family(SeriesMemory(descriptor))
    for number in range(200):
        family.of((f"key-{number:03}",)).value += 1
    assert sum(count.value for count in family.values()) == 200
    [read] = SeriesReader(descriptor).exposed()
    assert 0 < len(list(read.series)) < 200
    assert {value for _, value in read.series} == {1}
    os.close(descriptor)


def test_all_families_of_the_gateway_are_in_it_and_nothing_else() -> None:
    descriptor = new_memory()
    metrics = Metrics("0.1.0", LabelSpace())
    metrics.keep_in(SeriesMemory(descriptor))
    shared = [(one.name, one.type, one.help) for one in SeriesReader(descriptor).exposed()]
    rest = [(one.name, one.type, one.help) for one in metrics.looked_at()]
    assert sorted([*shared, *rest]) == sorted((one.name, one.type, one.help) for one in metrics.exposed())
    assert not {name for name, *_ in shared} & {name for name, *_ in rest}
    os.close(descriptor)
