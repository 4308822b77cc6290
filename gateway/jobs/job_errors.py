"""The errors that jobs end with, as the store keeps them, and those that are a job's own."""

from __future__ import annotations

import orjson

from gateway.core.errors import ClientError, GatewayError, GatewayFault, UpstreamFault


def error_json(error: GatewayError) -> bytes:
    """An error as the store keeps it."""
    return orjson.dumps(
        {
            "status": error.status,
            "type": error.type,
            "code": error.code,
            "message": error.message,
            "param": error.param,
            "source": error.source,
            "retry_after": error.retry_after if error.should_retry else None,
        }
    )


def error_from(kept: bytes) -> GatewayError:
    """The error that was kept; one that an SDK may send the request again for says so to all who wait, wherever."""
    fields = orjson.loads(kept)
    made = UpstreamFault if fields["source"] == "upstream" else GatewayFault
    words = (fields["status"], fields["type"], fields["code"], fields["message"])
    return made(*words, param=fields["param"], retry_after=fields.get("retry_after"))


def still_running(job: str) -> GatewayFault:
    """504: the client's time is nearly over, and its paid work goes on: sent again, it waits for that."""
    error = GatewayFault(
        504,
        "timeout_error",
        "still_running",
        f"This is still being made, as job {job}. The same request sent again waits for it and buys nothing more if it "
        "says so, by x-stainless-retry-count, as OpenAI's SDKs do, or by the same Idempotency-Key as before; "
        f"GET /v1/jobs/{job} tells how it is.",
        retry_after=0.0,
    )
    error.at_once = True
    return error


def job_cancelled() -> ClientError:
    """409: another request of the same key cancelled the job that this one waits for."""
    return ClientError(
        409,
        "invalid_request_error",
        "job_cancelled",
        "The job that this request waited for was cancelled by DELETE /v1/jobs. Nothing was bought.",
    )


def not_bought() -> UpstreamFault:
    """503: its gateway was stopped before it bought anything for the job, or another one has taken it over."""
    return UpstreamFault(
        503,
        "service_unavailable_error",
        "server_shutting_down",
        "The gateway was stopped before this request was bought.",
        retry_after=1.0,
    )


def outcome_unknown() -> UpstreamFault:
    """504: what became of a purchase is not known, since the gateway was stopped while it was under way."""
    return UpstreamFault(
        504,
        "upstream_error",
        "upstream_outcome_unknown",
        "The gateway was stopped while this request was under way at an upstream, so it is not known whether it was "
        "bought. It is not sent again by itself; a request that is sent once more may buy it a second time.",
    )
