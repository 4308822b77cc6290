"""What a task may come to by options that no catalogue knows."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.wire.task_amounts import MOST_TIMES, most_times


@pytest.mark.parametrize(
    ("given", "times"),
    [
        ({"prompt": "8 bears", "seed": 5, "steps": 28, "num_inference_steps": 50, "guidance_scale": 3.5}, 1),
        ({"frame_count": 99}, 99),
        ({"num_images": 4}, 4),
        ({"numImages": 4}, 4),
        ({"n": "3"}, 3),
        ({"duration": "10s"}, 10),
        ({"duration": 4.2}, 5),
        ({"video": {"frames": 20}, "count": 2}, 40),
        ({"clips": [{"seconds": 5}, {"seconds": 6}]}, 30),
        ({"count": 0}, 1),
        ({"count": -3}, 1),
        ({"count": True}, 1),
        ({"count": None}, 1),
        ({"count": "many"}, 1),
        ({"count": float("inf")}, MOST_TIMES),
        ({"count": float("nan")}, 1),
        ({"count": 10**30}, MOST_TIMES),
        ({"batch_size": 4}, 1),
    ],
)
def test_the_sense_of_a_name_says_how_many_times(given: dict[str, Any], times: int) -> None:
    assert most_times(given, ("batch_size",)) == times
