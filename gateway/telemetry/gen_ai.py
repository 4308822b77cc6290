"""The names by which OpenTelemetry's GenAI conventions speak of what the gateway does.

Source: https://github.com/open-telemetry/semantic-conventions-genai (all of it is "development": names may change).
"""

from __future__ import annotations

from gateway.core.types import OTHER, OperationName, Target

_OPERATIONS = {
    "chat": "chat",
    "messages": "chat",
    "responses": "chat",
    "embeddings": "embeddings",
    "completions": "text_completion",
    "images": "generate_content",
    "images_async": "generate_content",
    "task": "generate_content",
}
"""What the conventions have a name for; the rest keeps its own (``speech``, ``transcriptions``)."""

_ROUTES = {"/v1/chat/completions": "chat"}
_BELOW = {"/v1/responses/": "chat", "/v1/images/": "generate_content"}

DURATION_BOUNDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
FIRST_TOKEN_BOUNDS = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
TOKEN_BOUNDS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)
"""The buckets that the conventions ask for: seconds, seconds, tokens."""


def operation_of_route(route: str) -> str:
    """``gen_ai.operation.name`` of a route that buys something, by its path."""
    if (known := _ROUTES.get(route)) is not None:
        return known
    for begin, name in _BELOW.items():
        if route.startswith(begin):
            return name
    last = route.rpartition("/")[2]
    return _OPERATIONS.get(last, last)


def operation_of_target(operation: OperationName) -> str:
    """``gen_ai.operation.name`` of what an upstream is asked for."""
    return _OPERATIONS.get(operation, operation)


def provider(target: Target | None) -> str:
    """``gen_ai.provider.name`` of who is asked: whose API the upstream speaks."""
    return OTHER if target is None else target.upstream.dialect
