"""What a client's connection waits for."""

from __future__ import annotations

from enum import Enum


class ConnectionStage(Enum):
    """The stages that protocol.py draws."""

    HEAD = "head"
    BODY = "body"
    ANSWER = "answer"
    CLOSING = "closing"


HEAD, BODY, ANSWER, CLOSING = ConnectionStage
