"""What each error means and what to do about it, by status and code. Written by hand, held against the code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Meaning:
    """``again``: whether the answer may say ``x-should-retry: true``."""

    happened: str
    do: str
    again: bool = False


_ID_OF_ANOTHER = Meaning(
    "The request names something that is kept at an upstream, by an id that was not given to this key here. The "
    "accounts there are shared by all keys, so nothing was sent.",
    "Send the content itself: the file, the earlier messages. `param` names the field.",
)

MEANINGS: Mapping[tuple[int, str], Meaning] = {
    (400, "invalid_json"): Meaning(
        "The body, or a form's field that holds JSON, is not one JSON object: it is cut off, nested too deeply (254 "
        "levels), no JSON at all, or holds more than 400,000 values and names (an array or object counts twice; what "
        "stands in a text does not count).",
        "Send one JSON object with `Content-Type: application/json`.",
    ),
    (400, "invalid_form"): Meaning(
        "The body of a form cannot be read: a part is damaged, too long, or one too many.",
        "Let the SDK build the form, and send files as files.",
    ),
    (400, "duplicate_key"): Meaning(
        "A form has one field twice, or an order for images names one thing in two places, so it is not sure which is "
        "meant. In JSON the last of two equal keys counts.",
        "Send each field once.",
    ),
    (400, "invalid_content_encoding"): Meaning(
        "The body is not what its `Content-Encoding` says: it is cut off, damaged, or not compressed at all.",
        "Send what the compressor wrote, whole, or send the body without `Content-Encoding`.",
    ),
    (400, "unknown_webhook"): Meaning(
        "`x-gateway-webhook` names a receiver that the configuration does not have under `webhooks`. Nothing was "
        "bought.",
        "Use one of the names that the message lists, or ask the operator to add it.",
    ),
    (400, "missing_required_parameter"): Meaning(
        "A parameter that the request needs is missing.", "Add `param`; for `model`, `default_models` can have one."
    ),
    (400, "invalid_type"): Meaning("A parameter has the wrong type, such as a text for a number.", "Correct `param`."),
    (400, "invalid_value"): Meaning(
        "A parameter has a value that cannot be: out of its range, a name that does not exist, an image that cannot "
        "be read, a combination the model does not have.",
        "Correct `param`; the message says what is allowed.",
    ),
    (400, "unknown_parameter"): Meaning(
        "An order for images or a task, which the gateway builds itself, or a request to the admin API has a parameter "
        "that is not known there. A chat passes on what it does not know.",
        "Correct its spelling or leave it out.",
    ),
    (400, "unsupported_parameter"): Meaning(
        "A request to `/v1/responses` has a parameter that cannot be carried over to a chat, by which the model is "
        "asked: a template of a prompt, a conversation kept at OpenAI.",
        "Leave out `param`; the message says what to send instead.",
    ),
    (400, "unsupported_tool"): Meaning(
        "A request to `/v1/responses` offers, or chooses, a tool that OpenAI carries out itself, such as `web_search`. "
        "Here models can be offered functions and custom tools.",
        'Leave the tool out (in codex: `web_search = "disabled"`).',
    ),
    (400, "unsupported_value"): Meaning(
        "An item of an input, or the grammar of a custom tool, cannot be carried over to a chat, or not to this model.",
        "Leave out `param`, or take another model.",
    ),
    (400, "invalid_request"): Meaning(
        "The upstream rejected the request. Its own status (400, 409, 413, 415 or 422), type, code, parameter and "
        "words are passed on where it gave any; this code stands where it gave none.",
        "Change the request as the message says. Another upstream would say the same, so none was asked.",
    ),
    (400, "content_policy_violation"): Meaning(
        "The upstream refused or moderated the request or its image. For chat the type is `invalid_request_error`; "
        "where the upstream has a code of its own for it, such as `content_filter`, "
        "that is the code, and this one the type.",
        "Change the prompt or the image.",
    ),
    (400, "malformed_http"): Meaning(
        "The request is not sound HTTP/1.1, or could be read in two ways.",
        "Use an HTTP library as it is; if a proxy stands between, look at what it sends.",
    ),
    (400, "config_rejected"): Meaning(
        "Admin: the reloaded configuration has an error, so the old one stays in force.",
        "Correct the lines that the message names; `piapi-gateway check` shows them too.",
    ),
    (400, "ambiguous_api_key"): Meaning(
        "Two `Authorization` headers came, or two headers with different keys, so it is not sure which of them counts; "
        "none was looked at.",
        "Send one key, once. A program that insists on a key of its own beside yours may send an empty one.",
    ),
    (401, "invalid_api_key"): Meaning(
        "The key is missing, wrong, revoked or expired: one answer for all, so that nothing can be learned from it. "
        "On the admin listener: the admin key.",
        "Send a virtual key of this gateway as `Authorization: Bearer …`. `piapi-gateway keys list` shows which exist.",
    ),
    (403, "team_unknown"): Meaning(
        "The key is of a team that had a budget when it was last in force and that the configuration no longer names. "
        "Its requests are refused rather than served without the budget.",
        "Name the team under `teams` again, with its budget or without one, and reload; or give the key another team: "
        "`piapi-gateway keys set NAME --team none`.",
    ),
    (403, "model_not_allowed"): Meaning(
        "The key may not use this model; or the model's price is unknown and the key, or its team, has a budget.",
        "Use another model, or have the key's models changed (`piapi-gateway keys set`). For a price: add "
        "the lines that the message shows, or set `allow_unpriced`.",
    ),
    (403, "foreign_form"): Meaning(
        "A form of the console that was not made for this session, or whose session has ended meanwhile.",
        "Open the page again, and send the form from there.",
    ),
    (403, "foreign_origin"): Meaning(
        "No key is asked for, and the request may come from a web page or names a host that is not this machine; or a "
        "browser asked whether a page may call that is not listed. On the admin listener also with a key: its Host is "
        "none of the gateway's names, or a write comes from another site's page.",
        "Call from a program on this machine by `127.0.0.1` or `localhost`, or make a virtual key and send it. A page "
        "that may call belongs into `cors.origins`, a name of this machine into `hosts`.",
    ),
    (404, "model_not_found"): Meaning(
        "There is no such model here; or not on this route; or no upstream offers it, in the words of the last.",
        "`GET /v1/models` lists what the key may use. Models are added under `models` of the configuration; others are "
        "relayed along `default_route`, chats only.",
    ),
    (404, "job_not_found"): Meaning(
        "This key has no job of that id here: another key's, or one that was forgotten or is kept no longer "
        "(`jobs.keep`).",
        "`GET /v1/jobs` lists the key's own.",
    ),
    (404, "task_not_found"): Meaning(
        "There is no such task, or another key made it.", "Ask with the key that made the task."
    ),
    (404, "file_not_found"): _ID_OF_ANOTHER,
    (404, "response_not_found"): Meaning(
        "No response of this id was made by this key here, or it is kept no longer (`responses.keep`).",
        "Responses of a request with `store: false` are never kept.",
    ),
    (404, "previous_response_not_found"): Meaning(
        "The response that a request goes on from, or one before it, was not made by this key here, or is kept no "
        "longer.",
        "Send the earlier messages themselves as `input`.",
    ),
    (404, "conversation_not_found"): _ID_OF_ANOTHER,
    (404, "thread_not_found"): _ID_OF_ANOTHER,
    (404, "container_not_found"): _ID_OF_ANOTHER,
    (404, "vector_store_not_found"): _ID_OF_ANOTHER,
    (404, "item_not_found"): _ID_OF_ANOTHER,
    (404, "cache_not_found"): _ID_OF_ANOTHER,
    (404, "audio_not_found"): Meaning(
        "A message refers to the sound of an earlier answer that no answer gave to this key, or whose time is over "
        "(`expires_at`), or that was given before the gateway started.",
        "Send the transcript as text in place of the id.",
    ),
    (404, "image_not_found"): Meaning(
        "The gateway does not keep such an image, or no longer.",
        "Fetch images while they are kept (`images.keep`), or ask for `b64_json`.",
    ),
    (404, "key_not_found"): Meaning(
        "Admin: no virtual key has this name.", "`piapi-gateway keys list` shows the names."
    ),
    (404, "unknown_url"): Meaning(
        "There is no such route. `/v1` may be missing or doubled, `//` and a slash at the end are overlooked; nothing "
        "else is.",
        "The message names the nearest route and all there are, as `GET /` does. Admin routes are on the admin "
        "listener only.",
    ),
    (405, "method_not_allowed"): Meaning("The route exists, with another method.", "Use a method that `allow` names."),
    (408, "request_timeout"): Meaning(
        "The request's head or body did not arrive in time.", "Send it in one go; look at the network between."
    ),
    (409, "job_cancelled"): Meaning(
        "The job that the request waited for was cancelled with `DELETE /v1/jobs/{id}`, before anything was bought.",
        "Order again if it is still wanted.",
    ),
    (409, "conflict"): Meaning(
        "The upstream reports a conflict; its words are passed on.", "Do what the message says."
    ),
    (409, "key_exists"): Meaning(
        "Admin: a key of this name exists, or did.", "Choose another name, or rotate that key."
    ),
    (409, "key_rotated"): Meaning(
        "The console's form for a rotation was made before the key's last one: sent twice, or loaded again.",
        "Take the key that the last rotation showed. If it was lost, open the key's page and rotate it again.",
    ),
    (409, "key_revoked"): Meaning("Admin: the key is revoked, which is for good.", "Make a key under another name."),
    (409, "key_in_file"): Meaning("Admin: the key is kept in the configuration file.", "Change it there, then reload."),
    (413, "request_too_large"): Meaning(
        "The body is larger than `limits.body` (a form: `limits.upload`), or the request is larger than the upstream "
        "takes, or than all it allows in a minute.",
        "Send less, or raise the limit.",
    ),
    (415, "unsupported_content_encoding"): Meaning(
        "The body is compressed by something else than gzip or deflate.", "Send it with gzip, or as it is."
    ),
    (415, "unsupported_content_type"): Meaning(
        "A request that may come from a web page has no JSON body, while no key is asked for.",
        "Send `Content-Type: application/json`, or make a virtual key and send it.",
    ),
    (422, "idempotency_key_reused"): Meaning(
        "The `Idempotency-Key` was used for another request of this key, on this route or another, whose answer is "
        "still kept (`jobs.keep`). Nothing was bought.",
        "Send each request with a key of its own; only a re-send of the same request has the same one.",
    ),
    (429, "rate_limit_exceeded"): Meaning(
        "The virtual key is at its `rpm`, `tpm` or `parallel`; or its budget has room only once running requests "
        "have ended; or the upstream limits the rate of every key of the pool; or too many wrong keys came from one "
        "address.",
        "Wait for `retry-after`; the SDKs do. Without that header the request alone is larger than the limit. More "
        "keys in the pool raise what the upstream gives.",
        again=True,
    ),
    (429, "insufficient_quota"): Meaning(
        "The budget of the key, its budget for the model, or its team's has not enough left for what the request may "
        "cost at most, whatever becomes of the requests that run.",
        "Wait until the period begins anew, which the message names, or have the budget raised. A smaller "
        "`max_tokens` reserves less.",
    ),
    (431, "request_headers_too_large"): Meaning(
        "The head is larger than `limits.headers`, or has too many headers.", "Send fewer or smaller headers."
    ),
    (499, "client_closed_request"): Meaning(
        "The client left before its answer was complete. No client sees this: it stands in the log, the ledger and "
        "the metrics.",
        "Raise the client's own timeout if it was not meant.",
    ),
    (500, "internal_error"): Meaning(
        "A mistake of the gateway's own.", "Report it with the log's lines of the `x-request-id`."
    ),
    (502, "upstream_unreachable"): Meaning(
        "No host of any upstream for this model could be reached, so nothing was bought.",
        "Look at the network and at `piapi-gateway status`; try again later.",
    ),
    (502, "upstream_error"): Meaning(
        "Every attempt failed at the upstreams.",
        "Try again later, after `retry-after` where it is given. [Outcomes](outcomes.md) explains what the log says "
        "of each attempt.",
    ),
    (502, "upstream_invalid_response"): Meaning(
        "What the upstream answered is not what its format says: HTML, broken JSON, a redirect.",
        "Try again later; if it stays, check the endpoint's URL.",
    ),
    (502, "upstream_empty_response"): Meaning("The upstream answered with nothing in it.", "Try again."),
    (502, "upstream_auth_failed"): Meaning(
        "The upstream refuses the gateway's own keys, or there is none for this model.",
        "Operator: `piapi-gateway check --probe` shows which key is refused.",
    ),
    (502, "upstream_stream_interrupted"): Meaning(
        "The upstream broke off after part of the answer had gone out. Comes as an event in the stream, which then "
        "ends without `[DONE]`.",
        "Send the request again if half of an answer is of no use; what was delivered is charged.",
    ),
    (502, "result_unavailable"): Meaning(
        "An image was made and is charged, but its link leads to where nobody should be sent (a private address, this "
        "gateway, a password in it); or this was a re-send, and the answer it was to be given is no longer kept.",
        "Ask for `url` to get such a link all the same; for storage on your own premises set `images.fetch_private`. "
        "The log says why. Sending it again buys it again.",
    ),
    (503, "gateway_overloaded"): Meaning(
        "The gateway has as much in hand as it may take: `limits.in_flight`, memory for bodies, or connections.",
        "Wait for `retry-after`; the SDKs do.",
        again=True,
    ),
    (503, "no_worker"): Meaning(
        "On the admin listener of several workers: none serves at present, since all have died or are starting.",
        "Wait for `retry-after`. Operator: `worker_ended` in the log says why they died.",
        again=True,
    ),
    (503, "main_listener"): Meaning(
        "What the console's box sent to the gateway's own main listener was not answered.",
        "Operator: look whether the gateway is being stopped, and at its log.",
    ),
    (503, "ledger_unavailable"): Meaning(
        "The ledger cannot be written, so nothing is bought.",
        "Operator: free the disk or mend the store; the log says what is wrong. Clients wait for `retry-after`.",
        again=True,
    ),
    (503, "upstream_quota_exhausted"): Meaning(
        "The gateway's own accounts at the upstream are used up.",
        "Operator: top them up; `piapi-gateway check --probe` shows the balances.",
    ),
    (503, "server_shutting_down"): Meaning(
        "The gateway is stopping.",
        "Try again; where something may have been bought, the answer does not invite to.",
        again=True,
    ),
    (504, "upstream_timeout"): Meaning(
        "No upstream answered in time, or a task was not done by its deadline.",
        "Try again; ask for a stream; look at `timeouts` and `tasks.deadline` of the upstream.",
    ),
    (504, "still_running"): Meaning(
        "The client says how long it waits, and its time is nearly over while its picture is still being made. No "
        "error: the work goes on, as the job that `x-gateway-job` names.",
        "Let the SDK send it again, with the same key and body: that waits for what is being made and buys nothing. "
        "See [pay once](pay-once.md#patience).",
        again=True,
    ),
    (504, "upstream_outcome_unknown"): Meaning(
        "A paid item may have been bought, but its result did not arrive, or the gateway was stopped while it was "
        "under way. A re-send is told so once, and buys if it is sent again.",
        "Look at the upstream's own list first: sending it again may buy it once more. Until it is known, or for a "
        "day, the budget keeps it reserved.",
    ),
}
