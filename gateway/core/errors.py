"""The errors the gateway raises on purpose.

    GatewayError                     what a client is answered with, in OpenAI's shape
    ├── ClientError                  source: the client (4xx)
    ├── LimitError                   source: a limit or budget of the virtual key (429)
    ├── GatewayFault                 source: the gateway itself (500, 503)
    └── UpstreamFault                source: an upstream, after failover (4xx passed on, 502, 503, 504)
    TransportError                   the connection to one endpoint failed; core decides what follows; no client sees it
    ConfigError                      source: the operator; the command ends with exit code 2
    OperatorError                    source: the operator's machine; one line that says what to do
    └── StoreError                   the ledger's store cannot be used; says how to recover
    ResultUnavailable                an image that was made cannot be fetched or kept; for the log

Two facts are kept apart. ``retry_after`` says when a request may succeed. ``should_retry`` says whether an SDK may send
the same request again without asking, which is the case only if that can help and cannot buy the work twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from gateway.core.types import Phase

_SHOWN = 64


class GatewayError(Exception):
    """An error with everything the client's answer needs.

    ``status``: HTTP status.
    ``type``, ``code``, ``param``: OpenAI's error fields.
    ``retry_after``: seconds after which the same request may succeed; None when that is not known.
    ``again``: False if an SDK must not send the request again by itself even after ``retry_after``. Without a
        ``retry_after`` it never should; ``should_retry`` combines the two.
    ``detail``: what the operator's log says in place of the message; empty for the message itself. Set by who raises
        it, where the message must not be logged or the log may say more than the client.
    ``at_once``: whether a ``retry_after`` of 0 is meant, and not a short moment.
    """

    source = "gateway"
    at_once = False

    def __init__(
        self,
        status: int,
        type: str,
        code: str | None,
        message: str,
        *,
        param: str | None = None,
        retry_after: float | None = None,
        again: bool = True,
    ) -> None:
        super().__init__(message)
        self.detail = ""
        self.status = status
        self.type = type
        self.code = code
        self.message = message
        self.param = param
        self.retry_after = retry_after
        self.should_retry = again and retry_after is not None

    def body(self) -> bytes:
        """The JSON body: ``{"error": {"message", "type", "param", "code"}}``, all four always there."""
        import orjson  # here, because the command line's --help needs the errors and no package

        return orjson.dumps(
            {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}
        )


class ErrorForm(Protocol):
    """How the clients of one API are told of errors."""

    def body(self, error: GatewayError) -> bytes:
        """The JSON body of a whole answer."""
        ...

    def last_event(self, error: GatewayError) -> bytes:
        """The bytes that end a stream of events that has begun."""
        ...


class OpenAIErrors:
    """The form of OpenAI's chat completions, and of every route that says nothing else."""

    def body(self, error: GatewayError) -> bytes:
        return error.body()

    def last_event(self, error: GatewayError) -> bytes:
        """The OpenAI SDKs raise on such an event; a stream that just ended they would take for complete."""
        return b"data: " + error.body() + b"\n\n"


OPENAI_ERRORS = OpenAIErrors()


class ClientError(GatewayError):
    """The client's request is at fault."""

    source = "client"


class LimitError(GatewayError):
    """A limit or a budget of the virtual key does not admit the request."""

    source = "client"


class GatewayFault(GatewayError):
    """The gateway itself cannot serve the request."""

    source = "gateway"


class UpstreamFault(GatewayError):
    """Every attempt upstream failed, or an upstream refused the request."""

    source = "upstream"


class TransportError(Exception):
    """The connection of one attempt failed.

    ``slug``: the fault catalogue's name (``connect_refused``, ``dns_error``, ``tls_error``, ``connect_timeout``,
        ``pool_timeout``, ``reused_conn_reset``, ``connection_reset``, ``bad_http``, ``head_too_big``).
    ``phase``: how far the attempt had come: UNSENT before any byte of the request may have left, UNKNOWN after.
    ``detail``: a description for the operator's log; never shown to a client.
    """

    def __init__(self, slug: str, phase: Phase, detail: str) -> None:
        super().__init__(f"{slug}: {detail}")
        self.slug = slug
        self.phase = phase
        self.detail = detail


class ConfigError(Exception):
    """The configuration cannot be used.

    ``problems``: one line for each problem, ``file:line:column: path: what is wrong``.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class OperatorError(Exception):
    """A command cannot do its work; the message says what to do."""


class StoreError(OperatorError):
    """The store cannot be used; the message says what to do."""


def shorten(text: str) -> str:
    """``text`` as an error message may quote it: at most 64 characters, then an ellipsis if there were more."""
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def invalid_request(message: str, *, param: str | None = None, code: str | None = None) -> ClientError:
    """400: the request itself is wrong.

    ``param``: the field at fault; None if no single field is.
    """
    return ClientError(400, "invalid_request_error", code, message, param=param)


def invalid_api_key() -> ClientError:
    """401, with the same body for a missing, wrong, revoked or expired key, so that the answer reveals nothing."""
    return ClientError(
        401,
        "invalid_request_error",
        "invalid_api_key",
        "Incorrect or missing API key. Send a virtual key of this gateway as 'Authorization: Bearer <key>'.",
    )


def model_not_allowed(model: str) -> ClientError:
    return ClientError(
        403,
        "permission_error",
        "model_not_allowed",
        f"This key may not use the model '{shorten(model)}'.",
        param="model",
    )


def team_unknown(team: str) -> ClientError:
    """403 for a key of a team that had a budget and is no longer configured: without it, it is not served."""
    return ClientError(
        403,
        "permission_error",
        "team_unknown",
        f"The team of this key, '{shorten(team)}', had a budget and is no longer configured, so its requests are "
        "refused. Whoever runs this gateway can name the team under 'teams' again, or give the key another.",
    )


def model_not_found(model: str) -> ClientError:
    return ClientError(
        404,
        "invalid_request_error",
        "model_not_found",
        f"The model '{shorten(model)}' does not exist here. GET /v1/models lists what this key may use.",
        param="model",
    )


def not_made_here(kind: str, id: str, param: str) -> ClientError:
    """404 for an id that no answer gave to this virtual key, the same for one that does not exist and for another
    key's. ``kind``: of what it names, such as ``file`` or ``vector_store``.
    """
    what = kind.replace("_", " ")
    instead = {
        "file": " Files are not kept here: send the file itself, or a link.",
        "conversation": " Conversations are not kept here: go on by 'previous_response_id'.",
        "audio": " A sound is known while its answer says, and until this gateway starts anew; its transcript can be "
        "sent as text.",
    }.get(kind, "")
    message = f"Invalid value for '{param}': there is no {what} '{shorten(id)}' that this key made here.{instead}"
    match kind:
        case "file":
            return _missing("file_not_found", message, param)
        case "response" | "message":
            return _missing("response_not_found", message, param)
        case "conversation":
            return _missing("conversation_not_found", message, param)
        case "thread":
            return _missing("thread_not_found", message, param)
        case "container":
            return _missing("container_not_found", message, param)
        case "vector_store":
            return _missing("vector_store_not_found", message, param)
        case "item":
            return _missing("item_not_found", message, param)
        case "cache":
            return _missing("cache_not_found", message, param)
        case "audio":
            return _missing("audio_not_found", message, param)
        case _:
            return _missing("task_not_found", message, param)


def _missing(code: str, message: str, param: str) -> ClientError:
    return ClientError(404, "invalid_request_error", code, message, param=param)


def model_ended(model: str, last_day: str, successor: str) -> ClientError:
    """404 for a model that its providers have shut down. ``successor``: empty where none is known."""
    instead = f" Ask for '{shorten(successor)}' instead." if successor else ""
    return ClientError(
        404,
        "invalid_request_error",
        "model_not_found",
        f"The model '{shorten(model)}' was shut down; its last day was {last_day}.{instead}",
        param="model",
    )


def rate_limit_exceeded(message: str, retry_after: float) -> LimitError:
    return LimitError(429, "rate_limit_error", "rate_limit_exceeded", message, retry_after=retry_after)


def ledger_unavailable() -> GatewayFault:
    return GatewayFault(
        503,
        "service_unavailable_error",
        "ledger_unavailable",
        "The gateway cannot write its ledger, so nothing was bought. Try again shortly.",
        retry_after=1.0,
    )


def gateway_overloaded() -> GatewayFault:
    return GatewayFault(
        503,
        "service_unavailable_error",
        "gateway_overloaded",
        "The gateway has as much work in flight as it may take. Try again shortly.",
        retry_after=1.0,
    )


def server_shutting_down(*, again: bool = True) -> GatewayFault:
    """503: the gateway is shutting down.

    ``again``: True if nothing was bought for this request, so that an SDK may send it again.
    """
    return GatewayFault(
        503,
        "service_unavailable_error",
        "server_shutting_down",
        "The gateway is shutting down.",
        retry_after=1.0 if again else None,
    )


def internal_error() -> GatewayFault:
    return GatewayFault(500, "server_error", "internal_error", "The gateway failed; its log has the request id.")


class ResultUnavailable(Exception):
    """An image that was made cannot be fetched or kept. Thrown into a conversation; the message is for the log."""


class LinkForbidden(ResultUnavailable):
    """An image's link leads (or could be read as leading) where no client should go: nor is it handed on in place
    of the image.
    """
