"""What the sandbox refuses of a chat, as a client reads it."""

from __future__ import annotations

from typing import Any

import orjson

from gateway.sandbox.chat.completions import answer_chat
from gateway.sandbox.wire.answers import Reply, Role
from gateway.sandbox.wire.options import Options
from tests.sandbox.chat.answers import body


def refused(role: Role = "backup", **fields: Any) -> tuple[str | None, str | None, str]:
    """The error's ``param``, ``code`` and message. A field that is ``...`` is left out of the request."""
    request = {name: value for name, value in body(**fields).items() if value is not ...}
    reply = answer_chat(request, Options(), id="x", created=0, role=role)
    assert isinstance(reply, Reply)
    assert reply.status == 400, reply.body
    document = orjson.loads(reply.body)
    error = document["error"]
    assert document["sandbox"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    return error["param"], error["code"], error["message"]


def taken(role: Role = "backup", **fields: Any) -> Any:
    """The answer to a request that is not refused."""
    reply = answer_chat(body(**fields), Options(), id="x", created=0, role=role)
    whole = reply if isinstance(reply, Reply) else reply.whole
    assert whole.status == 200, whole.body
    return orjson.loads(whole.body)
