"""docs/errors.md: every status and code, from where the code makes them and from their meanings."""

from __future__ import annotations

from http import HTTPStatus

from scripts.docs.error_meanings import MEANINGS
from scripts.docs.error_sources import Made, errors_made
from scripts.docs.markdown import code, page, table

_STATUS_NAMES = {413: "Content Too Large", 422: "Unprocessable Content", 499: "Client Closed Request"}
"""Those that the standard library lacks, or names otherwise before Python 3.13 (RFC 9110)."""

_INTRODUCTION = """\
An error has OpenAI's shape, so the SDKs raise their usual exceptions. All four fields are always there:

```json
{"error": {"message": "…", "type": "rate_limit_error", "param": null, "code": "rate_limit_exceeded"}}
```

- Go by `code`: it is stable. `message` is for people and may change; `param` names the field that is wrong.
- `x-should-retry` is on every error. It is `true` only together with `retry-after`, where a second try can help and
  cannot buy anything twice: the SDKs obey it. In the tables, *again* says where it can be `true`.
- `x-request-id` is on every answer; the log has it in each of its lines.
- In a stream that has already begun, an error is one event, `data: {"error": {…}}`, after which the connection ends
  **without** `[DONE]`. The metrics and the ledger count such a request under the error's status.
- An upstream's own rejection keeps the upstream's code and words, so codes beside these can appear under 400, 409, 413,
  415 and 422.
- `/readyz` answers 503 with `{"status": "unavailable", "reasons": […]}` while the gateway should not be sent requests.

Rows that begin with *Admin* are of the admin listener."""


class Unexplained(Exception):
    """Errors that are made and not explained, or explained and never made; the message names them."""


def errors_page() -> str:
    """The whole page."""
    made = errors_made()
    check_explained(made)
    parts = [_INTRODUCTION]
    for status in sorted({each.status for each in made}):
        name = _STATUS_NAMES.get(status) or HTTPStatus(status).phrase
        parts.append(f"## {status} {name}")
        for kind in sorted({each.type for each in made if each.status == status}, reverse=True):
            rows = _rows([each for each in made if (each.status, each.type) == (status, kind)])
            parts += [f"Type {code(kind)}:", rows]
    return page("Errors", *parts)


def check_explained(made: frozenset[Made]) -> None:
    """Raises Unexplained unless every error has its meaning and every meaning its error."""
    known = {(each.status, each.code) for each in made}
    missing = sorted(known - MEANINGS.keys())
    left_over = sorted(MEANINGS.keys() - known)
    if missing or left_over:
        raise Unexplained(
            f"scripts/docs/error_meanings.py lacks {missing or 'nothing'} and has {left_over or 'nothing'} too many"
        )


def _rows(made: list[Made]) -> str:
    order = list(MEANINGS)
    rows = []
    for each in sorted(made, key=lambda one: order.index((one.status, one.code))):
        meaning = MEANINGS[each.status, each.code]
        again = "yes" if meaning.again else "no"
        rows.append((code(each.code), meaning.happened, meaning.do, again))
    return table(("code", "what happened", "what to do", "again"), rows)
