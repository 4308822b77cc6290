"""The ledger held against the upstreams' bill and against what clients were told. No I/O: sentences come out.

The rules, for every request by its marker:

- A line of the bill belongs to exactly one row. A request that reached an upstream has a row, and never two.
- A row that is settled: each attempt booked as billed has one line of the bill, at the same host and of the same
  amount; the row's charge is their sum. Where the amount is an estimate (nothing was measured: the client had left, or
  the upstream named no usage), the line may differ or be missing.
- Any other line belongs to an attempt that the row names as unknown or as a suspected duplicate.
- A row that is released has no line.
- A row that is unknown may have lines; of a process that was killed nobody knows the attempts.
- A row that was corrected has lines that add up to what the correction charges. Beyond them there may be others only
  where the upstream was told to lose an answer that it bills: what was bought twice, a killed process cannot tell.
- A client whose answer was complete has a row, which is settled at the amount it was told, or unknown; released only
  if all it was given is a task's id, and the task failed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

DOUBTFUL = ("unknown", "suspected_duplicate")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the upstreams' bill. ``place``: the host's URL. ``amount``: nano-dollars, None if it has no price."""

    marker: str
    place: str
    amount: int | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt as a row has it. ``cost``: nano-dollars."""

    place: str
    outcome: str
    cost: int
    reason: str


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the ledger: intent, settlement and correction. ``marker``: its request id. Amounts are nano-dollars.

    ``state``: ``open`` without a settlement. ``corrected``: the correction's state and charge. ``paid_by``: the id of
    the row that paid for it, if it joined another.
    """

    id: str
    marker: str
    key: str
    state: str
    confidence: str
    charged: int
    reserved: int
    attempts: tuple[Attempt, ...] = ()
    corrected: tuple[str, int] | None = None
    paid_by: str | None = None

    @property
    def standing(self) -> str:
        """The state, corrections applied."""
        return self.corrected[0] if self.corrected else self.state

    @property
    def owed(self) -> int:
        """What the key is charged, corrections applied."""
        return self.corrected[1] if self.corrected else self.charged


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client got: a complete answer. ``cost``: nano-dollars it was told before the body, None if not.

    ``task``: it holds the id of a task that was still to be done.
    """

    marker: str
    status: int
    cost: int | None = None
    task: bool = False


@dataclass
class Findings:
    """``problems``: one sentence each, with the row. ``counts``: what the table says."""

    problems: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


def audit(
    rows: Iterable[Row],
    lines: Iterable[Line],
    answers: Iterable[Answer],
    reached: Collection[str],
    lost: Collection[str] = (),
) -> Findings:
    """Everything at once. ``reached``: markers of the requests that any upstream was sent.

    ``lost``: of those whose answer an upstream was told to lose and to bill.
    """
    found = Findings()
    by_marker: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_marker[row.marker].append(row)
    billed: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        billed[line.marker].append(line)
    found.counts["rows"] = sum(map(len, by_marker.values()))
    found.counts["lines of the bill"] = sum(map(len, billed.values()))
    for marker, same in by_marker.items():
        if len(same) > 1:
            found.problems.append(f"{marker} has {len(same)} rows: {', '.join(row.id for row in same)}")
    for marker in sorted({*reached, *billed} - set(by_marker)):
        sold = f"and was billed {_amounts(billed[marker])} " if marker in billed else ""
        found.problems.append(f"{marker} reached an upstream {sold}without a row")
    for marker, (row, *_) in by_marker.items():
        found.problems += _wrong_row(row, billed.get(marker, []), lost=marker in lost)
        _count(found.counts, row, len(billed.get(marker, [])))
    for answer in answers:
        found.counts["answers acknowledged"] += 1
        found.problems += _wrong_answer(answer, by_marker.get(answer.marker))
    return found


def _count(counts: Counter[str], row: Row, lines: int) -> None:
    if row.standing == "settled":
        counts["settled, measured" if row.confidence == "measured" or row.corrected else "settled, estimated"] += 1
    else:
        counts[row.standing] += 1
    if row.corrected:
        counts["corrected"] += 1
    if row.standing == "unknown" and lines:
        counts["unknown, and billed"] += 1
    counts["suspected duplicates"] += sum(attempt.reason == "suspected_duplicate" for attempt in row.attempts)


def _wrong_row(row: Row, lines: Sequence[Line], *, lost: bool) -> Iterator[str]:
    name = f"{row.marker} (row {row.id}, {row.standing})"
    if row.state == "open":
        yield f"{name}: it was never closed"
    elif row.corrected is not None:
        yield from _wrong_correction(name, row.corrected, lines, lost=lost)
    elif row.state == "released":
        if lines:
            yield f"{name}: it was billed {_amounts(lines)}"
    elif row.state == "unknown":
        if row.attempts:
            yield from _unexplained(name, row, list(lines))
    else:
        yield from _wrong_settlement(name, row, list(lines))


def _wrong_correction(name: str, corrected: tuple[str, int], lines: Sequence[Line], *, lost: bool) -> Iterator[str]:
    _, charged = corrected
    amounts = [line.amount or 0 for line in lines]
    fewest = 0 if lost else len(amounts)
    chosen = (some for number in range(fewest, len(amounts) + 1) for some in combinations(amounts, number))
    if charged not in map(sum, chosen):
        yield f"{name}: corrected to {charged}, but billed {_amounts(lines) or 'nothing'}"


def _wrong_settlement(name: str, row: Row, lines: list[Line]) -> Iterator[str]:
    measured = row.confidence == "measured"
    for attempt in row.attempts:
        if attempt.reason != "billed" or not (attempt.cost or attempt.outcome == "ok"):
            continue
        fitting = [line for line in lines if line.place == attempt.place]
        equal = [line for line in fitting if line.amount == attempt.cost]
        if equal:
            lines.remove(equal[0])
        elif not measured:
            if fitting:
                lines.remove(fitting[0])
        elif attempt.cost:
            billed = _amounts(lines) or "nothing"
            yield f"{name}: its attempt at {attempt.place} cost {attempt.cost}, billed was {billed}"
            return
    cost = sum(attempt.cost for attempt in row.attempts if attempt.reason == "billed")
    if measured and row.charged != cost:
        yield f"{name}: charged {row.charged}, but its billed attempts cost {cost}"
    yield from _unexplained(name, row, lines)


def _unexplained(name: str, row: Row, lines: list[Line]) -> Iterator[str]:
    """Lines beyond those of the attempts in doubt."""
    doubtful = Counter(attempt.place for attempt in row.attempts if attempt.reason in DOUBTFUL)
    for line in lines:
        if doubtful[line.place] == 0:
            yield f"{name}: billed {line.amount} at {line.place}, which no attempt tells of"
        doubtful[line.place] -= 1


def _wrong_answer(answer: Answer, rows: Sequence[Row] | None) -> Iterator[str]:
    if answer.status != 200:
        return
    if not rows:
        yield f"{answer.marker}: its answer was complete, and there is no row"
        return
    row = rows[0]
    if row.standing not in ("settled", "unknown", *(("released",) if answer.task else ())):
        yield f"{answer.marker} (row {row.id}, {row.standing}): its answer was complete"
    elif row.standing == "settled" and answer.cost is not None and row.owed != answer.cost:
        yield f"{answer.marker} (row {row.id}): its client was told {answer.cost}, the row says {row.owed}"


def spent(rows: Iterable[Row]) -> Mapping[str, int]:
    """Nano-dollars charged, by key."""
    sums: Counter[str] = Counter()
    for row in rows:
        sums[row.key] += row.owed
    return sums


def held(rows: Iterable[Row]) -> Mapping[str, int]:
    """Nano-dollars that rows of unknown outcome hold, by key."""
    sums: Counter[str] = Counter()
    for row in rows:
        if row.standing in ("unknown", "open"):
            sums[row.key] += row.reserved
    return sums


def _amounts(lines: Sequence[Line]) -> str:
    return ", ".join(f"{line.amount} at {line.place}" for line in lines)
