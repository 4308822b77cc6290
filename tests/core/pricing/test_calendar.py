"""When days, weeks and months begin: leap years, clocks put forward and back, and midnights that no clock shows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.pricing.calendar import ALL_TIME, BudgetPeriod, PeriodKind, iso_time, period_at

NANO = 1_000_000_000
HOUR = 3600 * NANO
BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str) -> int:
    """``2026-11-22T08:47:01+01:00`` → Unix nanoseconds."""
    return int(datetime.fromisoformat(text).timestamp()) * NANO


def shown(period: BudgetPeriod, zone: tzinfo = UTC) -> tuple[str, str]:
    assert period.end_ns is not None
    return iso_time(period.start_ns, zone), iso_time(period.end_ns, zone)


def hours(period: BudgetPeriod) -> float:
    assert period.end_ns is not None
    return (period.end_ns - period.start_ns) / HOUR


@pytest.mark.parametrize(
    ("kind", "moment", "start", "end"),
    [
        ("day", "2026-11-22T08:47:01Z", "2026-11-22T00:00:00Z", "2026-11-23T00:00:00Z"),
        ("month", "2026-11-22T08:47:01Z", "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"),
        ("month", "2026-12-31T23:59:59Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ("month", "2028-02-29T12:00:00Z", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"),
        ("month", "2026-01-31T12:00:00Z", "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"),
        ("week", "2026-11-22T08:47:01Z", "2026-11-16T00:00:00Z", "2026-11-23T00:00:00Z"),  # a Sunday
        ("week", "2026-11-23T00:00:00Z", "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z"),
        ("week", "2026-12-31T12:00:00Z", "2026-12-28T00:00:00Z", "2027-01-04T00:00:00Z"),
        ("week", "2027-01-01T00:00:00Z", "2026-12-28T00:00:00Z", "2027-01-04T00:00:00Z"),
        ("week", "2028-02-29T12:00:00Z", "2028-02-28T00:00:00Z", "2028-03-06T00:00:00Z"),
        ("week", "1970-01-01T00:00:00Z", "1969-12-29T00:00:00Z", "1970-01-05T00:00:00Z"),
        ("day", "1969-12-31T23:59:59Z", "1969-12-31T00:00:00Z", "1970-01-01T00:00:00Z"),
    ],
)
def test_days_weeks_and_months_of_utc(kind: PeriodKind, moment: str, start: str, end: str):
    assert shown(period_at(kind, at(moment), UTC)) == (start, end)


def test_a_period_begins_with_its_first_nanosecond():
    midnight = at("2026-11-22T00:00:00Z")
    assert period_at("day", midnight, UTC).start_ns == midnight
    assert period_at("day", midnight - 1, UTC).end_ns == midnight


def test_a_total_is_one_period_without_end():
    assert period_at("total", at("2026-11-22T08:47:01Z"), BERLIN) == ALL_TIME == BudgetPeriod("total", 0, None)


def test_a_day_of_a_zone_is_not_one_of_utc():
    late = at("2026-11-22T23:30:00Z")
    assert shown(period_at("day", late, BERLIN), BERLIN) == ("2026-11-23T00:00:00+01:00", "2026-11-24T00:00:00+01:00")


@pytest.mark.parametrize(("noon", "length"), [("2026-03-29T12:00:00Z", 23), ("2026-10-25T12:00:00Z", 25)])
def test_days_on_which_the_clocks_change_are_shorter_or_longer(noon: str, length: int):
    assert hours(period_at("day", at(noon), BERLIN)) == length


@pytest.mark.parametrize(
    ("zone", "moment", "monday", "length"),
    [
        ("Europe/Berlin", "2026-03-29T12:00:00Z", "2026-03-23T00:00:00+01:00", 167),
        ("Europe/Berlin", "2026-10-25T22:59:59Z", "2026-10-19T00:00:00+02:00", 169),
        ("Europe/Berlin", "2026-10-25T23:00:00Z", "2026-10-26T00:00:00+01:00", 168),
        ("America/New_York", "2026-11-01T12:00:00Z", "2026-10-26T00:00:00-04:00", 169),
        ("Australia/Lord_Howe", "2026-04-05T00:00:00Z", "2026-03-30T00:00:00+11:00", 168.5),
        ("Asia/Kathmandu", "2026-11-22T18:14:59Z", "2026-11-16T00:00:00+05:45", 168),
        ("Asia/Kathmandu", "2026-11-22T18:15:00Z", "2026-11-23T00:00:00+05:45", 168),
        ("Pacific/Apia", "2011-12-31T12:00:00+14:00", "2011-12-26T00:00:00-10:00", 144),  # without its Friday
        ("America/St_Johns", "2010-11-06T23:30:00-03:30", "2010-11-01T00:00:00-02:30", 169),
    ],
)
def test_weeks_begin_on_monday_whatever_the_clocks_do(zone: str, moment: str, monday: str, length: float):
    week = period_at("week", at(moment), ZoneInfo(zone))
    assert (iso_time(week.start_ns, ZoneInfo(zone)), hours(week)) == (monday, length)


def test_a_month_in_which_the_clocks_change_ends_at_its_own_midnight():
    march = period_at("month", at("2026-03-15T00:00:00Z"), BERLIN)
    assert shown(march, BERLIN) == ("2026-03-01T00:00:00+01:00", "2026-04-01T00:00:00+02:00")


def test_where_no_clock_shows_midnight_the_day_begins_when_the_clocks_are_put_forward():
    zone = ZoneInfo("America/Sao_Paulo")
    day = period_at("day", at("2018-11-04T12:00:00-02:00"), zone)
    assert (iso_time(day.start_ns, zone), hours(day)) == ("2018-11-04T01:00:00-02:00", 23)
    assert period_at("day", day.start_ns - 1, zone).end_ns == day.start_ns


def test_where_midnight_strikes_twice_the_day_begins_at_the_first():
    zone = ZoneInfo("America/Havana")
    day = period_at("day", at("2018-11-04T12:00:00-05:00"), zone)
    assert (iso_time(day.start_ns, zone), hours(day)) == ("2018-11-04T00:00:00-04:00", 25)


def test_what_the_clocks_call_yesterday_once_more_belongs_to_the_day_that_had_begun():
    zone = ZoneInfo("America/St_Johns")  # until 2011 its clocks went from 00:01 back to 23:01
    day = period_at("day", at("2010-11-07T12:00:00-03:30"), zone)
    again = at("2010-11-06T23:30:00-03:30")
    assert datetime.fromtimestamp(again // NANO, zone).day == 6
    assert period_at("day", again, zone) == day
    assert (iso_time(day.start_ns, zone), hours(day)) == ("2010-11-07T00:00:00-02:30", 25)


def test_a_day_that_a_zone_skipped_has_no_time_at_all():
    zone = ZoneInfo("Pacific/Apia")  # crossed the date line at the end of 2011-12-29
    before = period_at("day", at("2011-12-29T12:00:00-10:00"), zone)
    after = period_at("day", at("2011-12-31T12:00:00+14:00"), zone)
    assert before.end_ns == after.start_ns
    assert iso_time(after.start_ns, zone) == "2011-12-31T00:00:00+14:00"


class Leaping(tzinfo):
    """Puts its clocks forward from 23:30 to 00:30 at the end of 2026-01-31."""

    LEAP = datetime(2026, 1, 31, 23, 30)

    def utcoffset(self, moment: datetime | None) -> timedelta:
        assert moment is not None
        local = moment.replace(tzinfo=None)
        return timedelta(hours=1 if local >= self.LEAP + timedelta(hours=1) else 0)

    def dst(self, moment: datetime | None) -> timedelta:
        return timedelta(0)

    def fromutc(self, moment: datetime) -> datetime:
        forward = moment.replace(tzinfo=None) >= self.LEAP
        return moment + timedelta(hours=1 if forward else 0)


@pytest.mark.parametrize("kind", ["day", "month"])
def test_a_date_shown_before_its_midnight_belongs_to_the_day_that_runs(kind: PeriodKind):
    zone = Leaping()
    early = at("2026-01-31T23:45:00Z")
    assert datetime.fromtimestamp(early // NANO, zone).day == 1
    period = period_at(kind, early, zone)
    assert period.end_ns == at("2026-02-01T00:00:00Z")
    assert period_at(kind, period.end_ns, zone).start_ns == period.end_ns


def test_times_are_written_as_the_zone_has_them():
    assert iso_time(at("2026-11-22T08:47:01Z") + 999, UTC) == "2026-11-22T08:47:01Z"
    assert iso_time(at("2026-11-22T08:47:01Z"), BERLIN) == "2026-11-22T09:47:01+01:00"


ZONES = st.sampled_from(
    [
        "UTC",
        "Europe/Berlin",
        "America/Sao_Paulo",
        "America/Havana",
        "America/St_Johns",
        "Pacific/Apia",
        "Asia/Kathmandu",
    ]
).map(ZoneInfo)


@given(st.sampled_from(["day", "week", "month"]), st.integers(0, 2**31 - 1), ZONES)
def test_periods_follow_one_another_and_every_moment_is_in_one(kind: PeriodKind, seconds: int, zone: tzinfo):
    moment = seconds * NANO
    period = period_at(kind, moment, zone)
    assert period.end_ns is not None
    assert period.start_ns <= moment < period.end_ns
    assert period_at(kind, period.start_ns, zone) == period_at(kind, period.end_ns - 1, zone) == period
    assert period_at(kind, period.end_ns, zone).start_ns == period.end_ns
    assert period_at("day", period.start_ns, zone).start_ns == period.start_ns  # others begin with a day
    if kind == "week":
        # Not by the clock: one that is put back over midnight shows the day before once more.
        assert datetime.fromtimestamp(period.start_ns // NANO + 7200, zone).weekday() == 0
