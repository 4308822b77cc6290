"""What the chat route reads from a request's head."""

from __future__ import annotations

import pytest

from gateway.endpoints.admission import is_sdk_retry


@pytest.mark.parametrize(
    ("value", "again"),
    [
        (b"0", False),
        (b"000", False),
        (b"1", True),
        (b"02", True),
        (b"9" * 5_000, True),  # more digits than Python turns into a number
        (b"0" * 5_000 + b"1", True),
        (b"0" * 5_000, False),
        (b"", False),
        (b"-1", False),
        (b"1.5", False),
        (b"\xb2", False),
        (b"one", False),
    ],
)
def test_an_sdks_count_of_retries_is_read_whatever_it_says(value, again):
    assert is_sdk_retry({"headers": [(b"host", b"a"), (b"x-stainless-retry-count", value)]}) is again


def test_a_client_that_counts_nothing_does_not_retry():
    assert not is_sdk_retry({"headers": [(b"host", b"a")]})
