"""What a client must get for an odd request, and what an upstream must have been sent."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.fuzz.request_grammar import STEERING, RequestCase
from tests.fuzz.stream_oracle import hold
from tests.raw_client import Answer

_HALF = re.compile("[\ud800-\udfff]")
_OURS = ("model", "stream", "stream_options")


def check_answer(case: RequestCase, answer: Answer, sent: dict[str, Any] | None) -> None:
    """``sent``: the document that an upstream got first; None if none was asked."""
    hold(answer.status < 500, "a 5xx", answer.status, answer.body[:300])
    if answer.status >= 400:
        _check_error(answer)
    if case.unreadable:
        hold(answer.status in case.unreadable, "an unreadable body", answer.status, answer.body[:300])
        hold(sent is None, "sent upstream what cannot be read")
        return
    if case.free:
        return
    if case.wrong:
        hold(answer.status in (400, 404), "something is wrong", case.wrong, answer.status)
        hold(sent is None, "sent upstream what is wrong", case.wrong)
        param = answer.error()["param"]
        right = param is not None and any(
            param == name or re.match(re.escape(name) + r"[\[.]", param) for name in case.wrong
        )
        hold(right, "the place is named", case.wrong, param)
        return
    # Contract: everything else passes, and the upstream's 400 is the answer.
    hold(sent is not None, "refused although nothing is wrong", answer.status, answer.body[:300])
    assert sent is not None
    hold(answer.status in (200, 400), "status", answer.status)
    _check_sent(case, answer, sent)
    if answer.status == 200:
        _check_success(case, answer)


def _check_error(answer: Answer) -> None:
    error = answer.error()  # the contract for errors in every respect
    hold(isinstance(error["message"], str) and isinstance(error["type"], str), "error in words", error)


def _check_sent(case: RequestCase, answer: Answer, sent: dict[str, Any]) -> None:
    withheld = [name for name in STEERING if name in case.document]
    expected = {name: value for name, value in case.document.items() if name not in (*_OURS, *withheld)}
    got = {name: value for name, value in sent.items() if name not in _OURS}
    hold(got == _mended(expected), "what was sent is what goes upstream", expected, got)
    options = case.document.get("stream_options") or {}
    if case.document.get("stream"):
        for name, value in options.items():
            if name != "include_usage":
                hold(sent["stream_options"].get(name) == value, "an option of streams", sent["stream_options"])
    named = [name for name in withheld if case.document[name] is not None]
    note = answer.header("x-gateway-note") or ""
    hold(all(name in note for name in named), "what was ignored is told", named, note)


def _check_success(case: RequestCase, answer: Answer) -> None:
    if case.document.get("stream"):
        hold(answer.payloads[-1] == b"[DONE]", "the stream is complete", answer.body[-300:])
    elif case.document["model"] != "gpt-4o-image":  # the sandbox makes one picture
        choices = answer.json()["choices"]
        hold(len(choices) == (case.document.get("n") or 1), "choices", len(choices))


def _mended(value: Any) -> Any:
    """Halves of characters as U+FFFD (contract and issue, part 4)."""
    return json.loads(re.sub("[\ud800-\udfff]", "\ufffd", json.dumps(value, ensure_ascii=False)))
