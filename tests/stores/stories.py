"""Stories of exchanges, drawn at random, and what their books must say: for every engine's roll-up."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo

from hypothesis import strategies as st

from gateway.stores.records import BookedPrice, UsageRow
from gateway.stores.spans import DAY, HOUR, NS

HOUR_NS, DAY_NS = HOUR * NS, DAY * NS
FIRST = 1_700_006_400 * NS
"""Midnight of UTC, 2023-11-15."""

KATHMANDU = timezone(timedelta(hours=5, minutes=45))
NEWFOUNDLAND = timezone(-timedelta(hours=3, minutes=30))
ZONES = [timezone.utc, timezone(timedelta(hours=1)), KATHMANDU, NEWFOUNDLAND]  # noqa: UP017 - one of a kind

PRICES = [
    BookedPrice("piapi", "gpt-4o", '{"input":1}'),
    BookedPrice("piapi", "gpt-4o", '{"input":2}'),
    BookedPrice("piapi", "gpt-4o", '{"input":2}', "priority"),
    BookedPrice("backup", "gpt-4o", ""),
]


@dataclass(frozen=True)
class Story:
    """One exchange: how it was reserved, settled and perhaps corrected."""

    at_ns: int
    key: str
    team: str | None
    model: str
    upstream: str | None
    state: str
    amounts: tuple[int, int, int]
    corrected: str | None
    found_at: str | None
    confidence: str
    price: BookedPrice | None

    @property
    def ends(self) -> str:
        return self.corrected or self.state

    @property
    def figures(self) -> tuple[int, int, int]:
        """Images, charge and upstream cost as they count in the end."""
        images, charged, cost = self.amounts
        if self.ends == "released":
            return 0, 0, 0
        if self.corrected:
            return images + 1, charged + 2, cost + 3
        return images, charged, cost

    @property
    def certainty(self) -> str:
        if self.ends == "unknown":
            return "unknown"
        return "unpriced" if self.confidence == "unknown" else self.confidence

    @property
    def ran_at(self) -> str | None:
        return (self.found_at or self.upstream) if self.corrected else self.upstream


def _story(at_ns, key, team, model, upstream, state, amounts, corrected, found_at, confidence, price) -> Story:
    return Story(
        at_ns, key, team, model, upstream, state,
        (0, 0, 0) if state == "released" else amounts,
        corrected if state == "unknown" else None,
        found_at, confidence, price,
    )  # fmt: skip


stories = st.lists(
    st.builds(
        _story,
        st.one_of(
            st.integers(FIRST, FIRST + 4 * DAY_NS),
            st.builds(lambda hours, off: FIRST + hours * HOUR_NS + off, st.integers(0, 96), st.integers(-1, 1)),
        ),
        st.sampled_from(["alice", "bob"]),
        st.sampled_from([None, "growth"]),
        st.sampled_from(["gpt-4o", "flux-dev"]),
        st.sampled_from([None, "piapi", "backup"]),
        st.sampled_from(["settled", "settled", "released", "unknown"]),
        st.tuples(st.integers(0, 4), st.integers(0, 10**12), st.integers(0, 10**12)),
        st.sampled_from([None, "settled", "released"]),
        st.sampled_from([None, "piapi"]),
        st.sampled_from(["measured", "estimated", "unknown"]),
        st.sampled_from([None, *PRICES]),
    ),
    max_size=30,
)
moments = st.one_of(
    st.integers(FIRST - HOUR_NS, FIRST + 4 * DAY_NS),
    st.integers(-1, 97).map(lambda hours: FIRST + hours * HOUR_NS),
)
groupings = st.lists(st.sampled_from(["key", "team", "model", "upstream", "day"]), unique=True)


def on_paper(told: list[Story], since: int, until: int, by: list[str], zone: tzinfo) -> list[UsageRow]:
    """What usage must say, added up one by one; prices aside."""
    sums: dict[tuple[str | None, ...], list[int]] = defaultdict(lambda: [0] * 13)
    for story in told:
        if not since <= story.at_ns < until or story.ends == "released":
            continue
        day = datetime.fromtimestamp(story.at_ns // NS, zone).date().isoformat()
        fields = {"key": story.key, "team": story.team, "model": story.model, "upstream": story.ran_at, "day": day}
        images, charged, _ = story.figures
        group = sums[tuple(fields[field] for field in by)]
        unpriced, estimated, unknown = (story.certainty == one for one in ("unpriced", "estimated", "unknown"))
        split_up = (
            *(amount * unpriced for amount in (1, 10, 5, images)),
            *(amount * estimated for amount in (1, charged)),
            int(unknown),
        )
        for place, amount in enumerate((1, 10, 4, 5, images, charged, *split_up)):
            group[place] += amount
    expected = [UsageRow(dict(zip(by, group, strict=True)), *figures) for group, figures in sums.items()]
    return sorted(expected, key=lambda row: [(value is not None, value or "") for value in row.group.values()])
