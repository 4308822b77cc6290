"""The model of a fleet, against what queueing theory says, and against itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.engine_costs import Costs, table
from bench.fleet import PAGE, QUICK, chunk_us, kept, newest_costs, page, service, sizes, text, wall
from bench.fleet_model import SETTLED_EVERY, Mix, Service, cores_needed, gateways_needed, most, simulate
from gateway.stores.postgres.settlements import GATHER_SECONDS

NOTHING = 1e-9
SERVICE = Service(request_cpu=460e-6, chunk_cpu=60e-6, batch_cpu=600e-6, row_cpu=75e-6, valkey_cpu=60e-6)
CORE_ALONE = Service(
    request_cpu=0.002, chunk_cpu=0.0, batch_cpu=NOTHING, row_cpu=NOTHING, valkey_cpu=NOTHING, round_trip=0.0
)
WHOLE = Mix(streams=0.0, whole=0.05)


@pytest.mark.parametrize("busy", [0.3, 0.6, 0.8])
def test_a_core_alone_waits_as_pollaczek_and_khinchine_say(busy: float) -> None:
    """M/D/1: each request uses the core twice, for half of its time, so that it is a queue of twice as many.

    The second use comes back after a random time, so the two streams together are nearly Poisson.
    """
    half = CORE_ALONE.request_cpu / 2
    seen = simulate(busy / CORE_ALONE.request_cpu, 1, WHOLE, CORE_ALONE, seconds=200, warm_up=5)
    assert seen.gateway_busy == pytest.approx(busy, rel=0.03)
    waits = seen.added_mean - half
    assert waits == pytest.approx(busy * half / (2 * (1 - busy)), rel=0.15)


def test_in_flight_is_rate_times_time() -> None:
    """Little's law."""
    mix = Mix(streams=0.5, chunks=60, per_second=30, whole=1.0)
    seen = simulate(200, 4, mix, SERVICE, seconds=60, warm_up=10)
    assert seen.in_flight == pytest.approx(200 * mix.seconds_upstream, rel=0.05)
    assert seen.rate == pytest.approx(200, rel=0.05)


def test_cores_are_as_busy_as_is_asked_of_them() -> None:
    mix = Mix(chunks=60)
    seen = simulate(400, 5, mix, SERVICE, seconds=20, warm_up=6)
    assert seen.gateway_busy * 5 == pytest.approx(cores_needed(400, mix, SERVICE), rel=0.05)


def test_equal_arguments_give_equal_results_and_another_seed_others() -> None:
    first, again = (simulate(300, 3, Mix(), SERVICE, seconds=3) for _ in range(2))
    assert first == again
    assert simulate(300, 3, Mix(), SERVICE, seconds=3, seed=2) != first


def test_a_batch_grows_with_what_waits() -> None:
    slow = replace(SERVICE, request_cpu=1e-5)
    few, many = (simulate(rate, 1, WHOLE, slow, seconds=5).batch for rate in (50, 3000))
    assert few < 1.2
    assert many > 3


def test_a_hot_row_is_a_wall_of_its_own() -> None:
    """Of one key nothing can be written side by side, however many cores the database has."""
    engines = replace(SERVICE, request_cpu=1e-5, postgres_cores=64)
    cold = simulate(12_000, 24, WHOLE, engines, seconds=2, warm_up=0.5)
    hot = simulate(12_000, 24, replace(WHOLE, hot=1.0), engines, seconds=2, warm_up=0.5)
    assert hot.added_p99 > 5 * cold.added_p99


def test_too_much_for_a_core_never_ends_waiting() -> None:
    seen = simulate(3000, 1, WHOLE, SERVICE, seconds=5)
    assert seen.added_p99 > 0.5, "it grows with every second"


@pytest.mark.parametrize(("hourly", "at_least"), [(1_000, 3), (100_000, 3), (10_000_000, 10)])
def test_gateways_are_as_many_as_their_cores_bear(hourly: int, at_least: int) -> None:
    count = gateways_needed(hourly / 3600, Mix(), SERVICE)
    assert count >= at_least
    assert cores_needed(hourly / 3600, Mix(), SERVICE) / count <= 0.6


def test_the_highest_that_holds_is_found() -> None:
    assert most(lambda rate: rate < 1234, 10, 100_000) == pytest.approx(1234, rel=0.03)


def costs(connections: int, **figures: float) -> dict[str, object]:
    return {"engine": "PostgreSQL, Valkey", "connections": connections, **figures}


def test_measured_cpu_is_told_apart_into_trips_and_rows() -> None:
    trip, row = 200.0, 70.0
    alone = costs(1, postgres_cpu=3 * trip + 2 * row, trips=3.0, gateway_cpu=900.0, valkey_cpu=90.0, rate=0.0)
    together = costs(64, postgres_cpu=0.1 * trip + 2 * row, trips=0.1, gateway_cpu=400.0, valkey_cpu=50.0)
    found = service([alone, together], 60.0)
    assert found.row_cpu == pytest.approx(row / 1e6)
    assert found.statements_a_batch == pytest.approx(1.5), "two batches"
    assert found.batch_cpu == pytest.approx(1.5 * trip / 1e6)
    assert (found.request_cpu, found.chunk_cpu, found.valkey_cpu) == pytest.approx((400e-6, 60e-6, 50e-6))


def test_figures_that_tell_nothing_are_refused() -> None:
    same = {"postgres_cpu": 100.0, "gateway_cpu": 1.0, "valkey_cpu": 1.0}
    with pytest.raises(ValueError, match="no round trip"):
        service([costs(1, trips=3.0, **same), costs(64, trips=0.1, **same)], 60.0)


def test_what_was_kept_makes_the_tables_of_the_page() -> None:
    told = kept(newest_costs())
    measured = service(told["costs"], chunk_us())
    found = sizes(measured, replace(Mix(), chunks=15, whole=0.5), 0.5)
    assert [hourly for hourly, _, _ in found] == [1_000, 100_000, 10_000_000]
    written = text(found, [("something", 1.0)])
    assert written.count("\n|") >= 6
    assert table([Costs(**one) for one in told["costs"]]).count("PostgreSQL, Valkey, ") == 2


def test_walls_are_found_where_cores_and_engines_end() -> None:
    core = wall(SERVICE, QUICK, 1, seconds=2, precise=0.1)
    assert 0.85 / SERVICE.request_cpu < core < 1.1 / SERVICE.request_cpu
    engines = replace(SERVICE, request_cpu=1e-6, valkey_cpu=0.001)
    assert wall(engines, QUICK, 4, seconds=2, precise=0.1) == pytest.approx(1000, rel=0.15)


def test_the_page_has_the_figures_that_were_kept() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert page(kept(newest_costs()), text) == text, "python -m bench.fleet --keep"


def test_a_page_without_their_places_is_refused() -> None:
    with pytest.raises(ValueError, match="no place for costs"):
        page(kept(newest_costs()), "# Scaling")


def test_settlements_are_gathered_as_long_as_the_store_does() -> None:
    assert SETTLED_EVERY == GATHER_SECONDS
