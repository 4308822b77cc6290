"""What of a stream a client is given that comes while it goes on, or after."""

from __future__ import annotations

import pytest

from gateway.jobs.job import is_comment, is_partial, lasting_pieces, pieces_for_joiner

PARTIAL_1 = b'event: image_generation.partial_image\ndata: {"b64_json":"1"}\n\n'
PARTIAL_2 = b'event: image_edit.partial_image\ndata: {"b64_json":"2"}\n\n'
WHOLE = b'event: image_generation.completed\ndata: {"b64_json":"event: x.partial_image"}\n\n'
PING, CHUNK = b": progress 10%\n\n", b'data: {"choices":[]}\n\n'


def test_what_is_what() -> None:
    assert [is_comment(piece) for piece in (PING, CHUNK, WHOLE)] == [True, False, False]
    assert [is_partial(piece) for piece in (PARTIAL_1, PARTIAL_2, WHOLE, CHUNK, PING)] == [
        True,
        True,
        False,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("come", "due"),
    [
        ([], []),
        ([PING], []),
        ([PARTIAL_1], [PARTIAL_1]),
        ([PARTIAL_1, PING, PARTIAL_2, PING], [PARTIAL_2]),
        ([PARTIAL_1, WHOLE], [WHOLE]),
        ([WHOLE, PARTIAL_1, PARTIAL_2], [WHOLE, PARTIAL_2]),
    ],
)
def test_a_joiner_gets_whole_pictures_and_the_newest_preview(come: list[bytes], due: list[bytes]) -> None:
    assert pieces_for_joiner(come, pictures=True) == due


def test_a_late_client_gets_whole_pictures_only() -> None:
    assert lasting_pieces([PARTIAL_1, PING, WHOLE], pictures=True) == [WHOLE]


def test_of_a_chat_all_events_count() -> None:
    assert lasting_pieces([PING, CHUNK, CHUNK], pictures=False) == [CHUNK, CHUNK]
    assert pieces_for_joiner([PING, CHUNK, CHUNK], pictures=False) == [CHUNK, CHUNK]
