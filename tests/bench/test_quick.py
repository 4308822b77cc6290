"""bench-quick: multiples of a round's own figures, so that a slow machine slows both."""

from __future__ import annotations

import sys

import pytest

if not sys.platform.startswith("linux"):
    pytest.skip("the bench reads /proc", allow_module_level=True)

from bench.quick import reference, told


def test_multiples_are_of_the_same_round() -> None:
    """The machine is twice as slow in the second and third round; the multiple does not show it."""
    figures = {"request": {"gateway": [300.0, 600.0, 620.0], "nginx": [10.0, 20.0, 20.0], "loop": [15.0, 30.0, 30.0]}}
    assert told(figures) == [
        "CPU a request: 30.00 × nginx, 20.00 × loop (best, µs: gateway 300.0, nginx 10.0, loop 15.0)"
    ]


def test_without_nginx_there_is_the_loop() -> None:
    assert told({"chunk": {"gateway": [30.0], "loop": [15.0]}}) == [
        "CPU a chunk: 2.00 × loop (best, µs: gateway 30.0, loop 15.0)"
    ]


def test_the_loop_does_the_same_in_every_version() -> None:
    """Figures of two commits are multiples of the same work only if this number stays."""
    assert reference() == REFERENCE


REFERENCE = 164
