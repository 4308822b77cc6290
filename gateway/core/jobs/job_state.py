"""The states of a job, and which may follow which.

reserved ──► running ──► completed   its answer is there
   │            ├──────► failed      it ended with an error
   │            ├──────► unknown     it cannot be known what became of it; runs again if its task is found after all
   └────────────┴──────► cancelled   it was given up before anything was bought
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

JobState = Literal["reserved", "running", "completed", "failed", "unknown", "cancelled"]

AFTER: Mapping[JobState, frozenset[JobState]] = {
    "reserved": frozenset({"running", "completed", "failed", "unknown", "cancelled"}),
    "running": frozenset({"completed", "failed", "unknown", "cancelled"}),
    "completed": frozenset(),
    "failed": frozenset(),
    "unknown": frozenset({"running"}),
    "cancelled": frozenset(),
}
"""What may follow on each state. A job may end before it is seen to run."""

OVER: frozenset[JobState] = frozenset({"completed", "failed", "unknown", "cancelled"})
"""The states of a job that has ended."""


def is_over(state: JobState) -> bool:
    """Whether a job in this state has ended."""
    return state in OVER


def end_state(*, completed: bool, unknown: bool, bought: bool, gone: bool) -> JobState:
    """How a job ended: ``completed`` with an answer; ``unknown`` what came of it; given up (``gone``) before anything
    was ``bought``; else it failed.
    """
    if completed:
        return "completed"
    if unknown:
        return "unknown"
    return "cancelled" if gone and not bought else "failed"
