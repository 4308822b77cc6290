"""The table of scenarios: every way in which the sandbox can answer, and which row of the fault catalogue it plays.

How a scenario is written, and the parameters that all of them take: see parsing.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from gateway.sandbox.faults import answer_faults as answers
from gateway.sandbox.faults import connection_faults as connection
from gateway.sandbox.faults import event_faults as events
from gateway.sandbox.faults import image_hosts, request_checks
from gateway.sandbox.faults import odd_shapes as shapes
from gateway.sandbox.faults import odd_streams as odd
from gateway.sandbox.faults import reasoning_model as reasoning
from gateway.sandbox.faults import stream_faults as stream
from gateway.sandbox.faults import wish_faults as wishes
from gateway.sandbox.faults.billed_forms import BILLED_FORMS
from gateway.sandbox.faults.error_shapes import ERROR_SHAPES
from gateway.sandbox.faults.event_faults import edited, without
from gateway.sandbox.faults.missing_models import MISSING_MODELS
from gateway.sandbox.faults.model_lists import MODEL_LISTS
from gateway.sandbox.faults.playback import Play, play_honestly
from gateway.sandbox.faults.stream_faults import framed, stall_where
from gateway.sandbox.faults.usage_costs import own_cost
from gateway.sandbox.wire.answers import Framing
from gateway.sandbox.wire.options import Value


@dataclass(frozen=True, slots=True)
class Scenario:
    """One way to answer.

    ``fault_row``: the catalogue's row, None for what is no fault. ``values``: its own parameters' defaults.

    ``stream_only``: it plays on streamed answers; on others the honest answer is played. ``early``: it answers
    before the request's body has come.
    """

    name: str
    summary: str
    fault_row: int | None
    play: Play = field(repr=False)
    values: Mapping[str, Value] = field(default_factory=dict)
    stream_only: bool = False
    early: bool = False


def _whole(name: str, summary: str, row: int | None, play: Play, **values: Value) -> Scenario:
    return Scenario(name, summary, row, play, values)


def _events(name: str, summary: str, row: int | None, play: Play, **values: Value) -> Scenario:
    return Scenario(name, summary, row, play, values, stream_only=True)


def _status(name: str, code: int, summary: str, row: int, **values: Value) -> Scenario:
    usual: dict[str, Value] = {"shape": "openai", "type": "", "error": "", "message": ""}
    usual |= {"retry_after": "", "retry_after_ms": ""}
    return Scenario(name, summary, row, answers.status, {"code": code, **usual, **values})


def _unwilling(name: str, summary: str, play: Play, words: str, code: int = 400) -> Scenario:
    return Scenario(name, summary, 14, play, {"words": words, "code": code, "inside": "", "seconds": 0.0})


def _error(name: str, summary: str, row: int, play: Play, **values: Value) -> Scenario:
    return _events(name, summary, row, play, **{"code": 500, "error": "", "message": "", "after_events": 0, **values})


_TABLE = (
    # Nothing wrong
    _whole("ok", "the honest answer", None, play_honestly),
    _whole("slow", "20 ms between events", None, play_honestly, delay=20.0),
    _whole("reasoning", "reasoning_content before the content", None, play_honestly, reasoning=5),
    _whole("refusal", "a refusal in the refusal field", None, play_honestly, refusal=1),
    _whole("tool_calls", "two parallel tool calls, whatever the prompt", None, play_honestly, calls=2),
    _whole("image_refused", "gpt-4o-image: words instead of an image", None, play_honestly, variant="refused"),
    _whole("image_failed", "gpt-4o-image: a failure told in the text", None, play_honestly, variant="failed"),
    _whole(
        "picture_form",
        "a picture in another form (form=…, see picture_forms.py)",
        None,
        play_honestly,
        form="bare_link",
    ),
    _whole("chat_usage", "an Images API's usage in chat's words", None, play_honestly, words="chat"),
    _whole("image_words", "gpt-4o-image: words that mean nothing known", None, play_honestly, variant="unclear"),
    _whole("task_failed", "a Flux task that fails", 64, play_honestly, task="failed"),
    _whole("task_nsfw", "a Flux task that fails for what it shows", 64, play_honestly, task="nsfw"),
    _whole("task_never", "a Flux task that is never done", 64, play_honestly, task="never"),
    _whole("task_nameless", "a created task whose id is not told", 63, play_honestly, task="nameless"),
    _whole("task_odd", "statuses in other words and case", 64, play_honestly, vocabulary="odd", polls=5),
    _whole("random_faults", "a share of requests meets a random fault", None, play_honestly, seed=0, share=0.3),
    # Connections
    _whole("reset_before_head", "the connection ends without an answer", 5, connection.reset_before_head, reset=1),
    _whole(
        "reused_reset", "a reused connection is closed without an answer", 5, connection.reused_reset, after=1, reset=0
    ),
    Scenario("early_close", "an error before the body has come", 13, connection.early_close, {"code": 413}, early=True),
    _whole("silent_close", "a good answer, then the connection is closed", 5, connection.silent_close),
    _whole("until_close", "a body ended by the connection's end", None, connection.until_close),
    _whole("garbage", "bytes that are no HTTP", 22, connection.garbage),
    _whole("extra_bytes", "an unasked second answer on the connection", 22, connection.extra_bytes),
    _whole("big_head", "a head above every limit", 22, connection.big_head, size=100_000),
    _whole("informational", "interim answers first", None, connection.informational, code=103, count=1),
    _whole("trickle", "a few bytes a packet, head included", 33, connection.trickle, size=1, gap=0.0),
    # Statuses
    _status("status", 500, "any status with a JSON error", 17),
    _status("key_invalid", 401, "401", 7),
    _status("key_unfunded", 402, "402", 8),
    _status("insufficient_quota", 429, "429 with code insufficient_quota", 8, error="insufficient_quota"),
    _status("key_forbidden", 403, "403 in JSON", 9),
    _status("model_missing", 404, "404", 10),
    _status("upstream_408", 408, "408", 11),
    _status("conflict", 409, "409", 12),
    _status("too_large", 413, "413", 13),
    _status("rejected", 400, "400", 14),
    _status("unprocessable", 422, "422", 14),
    _unwilling("refuses_stream", "400 where a stream is asked for", wishes.refuses_stream, "verify"),
    _unwilling("refuses_audio_stream", "400 for a stream of audio", wishes.refuses_audio_stream, "audio"),
    _unwilling("refuses_json_stream", "400 for a stream of JSON", wishes.refuses_json_stream, "json"),
    _unwilling("refuses_stream_options", "400 for stream_options", wishes.refuses_stream_options, "openai"),
    _unwilling("refuses_wishes", "400 for stream_options, then for stream", wishes.refuses_wishes, ""),
    _whole(
        "moderation_blocked", "OpenAI's 400 for an image", 14, answers.moderation, category="violence", stage="input"
    ),
    _status("rate_limited", 429, "429 with Retry-After", 15, retry_after="3"),
    _status("rate_limited_bare", 429, "429 without Retry-After", 16),
    _status("rate_limited_garbage", 429, "429 with a senseless Retry-After", 16, retry_after="-1"),
    _status("server_error", 500, "500", 17),
    _status("overloaded", 503, "503 with Retry-After", 18, retry_after="2"),
    _status("bad_gateway", 502, "502 in JSON", 18),
    _status("gateway_timeout", 504, "504 in JSON", 18),
    _whole("waf_block", "Cloudflare's 403 page", 9, answers.cloudflare, code=403, plain=0),
    _whole("cf_origin_down", "Cloudflare: the origin was never reached", 19, answers.cloudflare, code=521, plain=0),
    _whole(
        "cloudflare", "a Cloudflare error page; plain=1 for its text form", 20, answers.cloudflare, code=520, plain=0
    ),
    _whole("cf_524", "Cloudflare's 524 at once", 21, answers.cloudflare, code=524, plain=0),
    _whole("cf_json", "Cloudflare's problem document", 20, answers.cf_json, code=520, retry_after=60),
    _whole("wall", "silence until Cloudflare's 524 (seconds=0: the sandbox's wall)", 21, answers.wall, seconds=0.0),
    _whole("html_200", "200 with a web page", 22, answers.html_200, content_type="text/html; charset=utf-8"),
    _whole("soft_error", "200 around an error", 23, answers.soft_error, code=400, shape="piapi", error="", message=""),
    _whole("bad_json", "200 with JSON that is none", 24, answers.bad_json),
    _whole("truncated_json", "200 with half of a JSON body", 24, answers.truncated_json),
    _whole("empty_body", "200 with no body", 24, answers.empty_body),
    _whole("whole_json", "one JSON body to a streaming client", 22, answers.whole_json),
    _whole("redirect", "a redirect", 25, answers.redirect, code=302, location="http://127.0.0.1:9/elsewhere"),
    # Errors inside a stream
    _error("sse_error_first", "the first event is an error", 26, edited(events.sse_error), named=0, done=0),
    _error(
        "sse_error_string", "an error that is a string", 26, edited(events.sse_error_string), error="generation_failed"
    ),
    _error("sse_event_error_flat", "event: error, flat fields", 26, edited(events.sse_event_error_flat)),
    _error("sse_error_late", "an error after content", 29, edited(events.sse_error), after_events=4, named=0, done=0),
    _error("delta_error", "an error inside a delta", 26, edited(events.delta_error), error="timeout", after_events=1),
    # Streams that end early
    _events("sse_empty", "no event at all", 27, edited(events.nothing)),
    _events("sse_only_done", "only [DONE]", 27, edited(events.only_done)),
    _events("sse_no_content", "role, finish and [DONE] without content", 27, without("content")),
    _whole("cut", "the connection ends after some events", 29, connection.cut, after_events=2, reset=0),
    _whole("cut_early", "the connection ends before content", 28, connection.cut, after_events=1, reset=0),
    _whole("rst", "the connection is reset after some events", 29, connection.cut, after_events=2, reset=1),
    _whole("cut_bytes", "the connection ends at a byte of the body", 29, connection.cut_bytes, at=100, reset=0),
    _events("truncated_chunk", "the end comes inside a chunk", 29, connection.truncated_chunk, after_events=2, reset=0),
    _events("bad_chunk", "a chunk size that is none", 29, connection.bad_chunk, after_events=2),
    _events("no_done", "no [DONE], but a finish_reason", 30, without("done")),
    _events("clean_eof", "a clean end in the middle", 31, connection.clean_eof, after_events=3, finish=0),
    # Usage
    _events("no_usage", "no usage chunk", 32, without("usage")),
    _events("zero_usage", "usage that says nothing", 32, edited(events.odd_usage), value="empty"),
    _events("usage_mixed", "usage in the finish chunk", 32, edited(events.usage_mixed)),
    _events("usage_everywhere", "a running usage in every chunk", 32, edited(events.usage_everywhere)),
    _whole(
        "own_cost",
        "a usage with the upstream's own cost",
        None,
        own_cost,
        kind="number",
        cost=0.00125,
        with_choice=0,
        everywhere=0,
    ),
    # Framing
    _events("bytewise", "every byte a chunk of its own", 33, connection.bytewise),
    _events("crlf", "lines end in CRLF", 34, framed(Framing(newline=b"\r\n"))),
    _events("cr", "lines end in CR", 34, framed(Framing(newline=b"\r"))),
    _events("no_space", "data: without a space", 34, framed(Framing(space=False))),
    _events("multi_data", "JSON over several data lines", 34, framed(Framing(many_lines=True))),
    _events("bom", "a byte order mark first", 34, stream.with_bom),
    _events("u2028", "Unicode line separators in the text", 34, play_honestly, text="u2028"),
    _events("comments", "comments, blank lines, unused fields", 35, stream.comments, ids=1),
    _events("odd_done", "another terminator", 35, edited(events.odd_done), text="[none]"),
    _events("trailers", "a trailer after the last chunk", None, connection.trailers),
    # Too much, or nothing for too long
    _events("huge_event", "one huge event", 36, stream.huge_event, size=2_000_000, after_events=1, more=0, seconds=0.0),
    _events("flood", "lines that say nothing", 35, stream.flood, unit="blank", after_events=1, chunk=0, mib=64),
    _whole("stall_head", "silence before the head", 37, connection.stall_head, seconds=-1.0),
    _events("stall_before_content", "silence after the role", 37, stall_where(("content",), after=False), seconds=-1.0),
    _events("stall_mid", "silence after some events", 37, stream.stall_mid, after_events=3, seconds=-1.0),
    _events("stall_after_finish", "silence after the finish", 37, stall_where(("finish",), after=True), seconds=-1.0),
    _events("hang_after_done", "[DONE], and no end", 37, connection.hang_after_done, seconds=-1.0),
    _events("drip", "comments instead of content", 37, stream.drip, after_events=1, interval=50.0, count=0),
    _events("endless", "content for ever", 38, edited(events.endless)),
    # Other vendors' shapes
    _events(
        "odd_tool_calls", "calls without index or id, in parts", None, edited(shapes.odd_tool_calls), shape="one_index"
    ),
    _events("odd_thinking", "thoughts as parts, in fragments", None, edited(shapes.odd_thinking), shape="parts"),
    _events("odd_messages", "messages or parts for deltas of text", None, edited(shapes.odd_messages), shape="growing"),
    # Requests
    _whole("refuses_max_tokens", "a model that refuses max_tokens", 14, reasoning.refuses_max_tokens),
    _whole("reasoning_model", "a model that refuses max_tokens, stop, …", 14, reasoning.reasoning_model),
    _whole("strict_fields", "unknown or wrong fields of a chat are refused", 14, request_checks.strict_fields),
    # Encodings and nonsense
    _whole("gzip", "a gzipped answer", 39, answers.packed),
    _whole("bomb", "a gzip bomb", 39, answers.bomb, mib=128),
    _whole("browsers_only", "403 to all but browsers", 66, image_hosts.browsers_only),
    _whole("big_picture", "bytes without end where an image should be", 66, answers.big_image, mib=64, announced=1),
    _events("bad_event", "an event that is no JSON", 40, edited(events.bad_event), after_events=2, data='{"choices":['),
    _events("wrong_index", "a choice nobody asked for", 40, edited(events.wrong_index), index=7),
    _events("changing_id", "another id in every chunk", 40, edited(events.changing_id)),
    # Streams that are right in an unusual way
    _events("finish_in_every_chunk", "each chunk names a reason", 37, edited(odd.finish_in_every_chunk), reason="stop"),
    _events(
        "pause_after_finish",
        "a reason, a pause, more content",
        37,
        odd.pause_after_finish,
        reason="tool_calls",
        seconds=3.0,
    ),
    _events("late_usage", "usage long after the finish", 37, odd.late_usage, seconds=3.0),
    _events("word_for_no_reason", "a word for no finish reason", 30, edited(odd.word_for_no_reason), word="null"),
    _events("no_finish", "[DONE] without a finish reason", 30, without("finish")),
    _events("signs_of_life", "pings as data (which=0 to 6)", 35, edited(odd.signs_of_life), which=-1),
    _events("half_emoji", "an emoji's two escapes in two chunks", 40, edited(odd.half_emoji)),
    _events("not_a_number", "NaN and -Infinity in logprobs", 40, edited(odd.not_a_number)),
    _events("odd_index", "kind=growing, or the index itself", 40, edited(odd.odd_index), kind="growing"),
    _events("wrapped_twice", "data: data: {…}", 34, edited(odd.wrapped_twice)),
    _events("message_for_delta", "a growing message in place of deltas", 40, edited(odd.message_for_delta)),
    _events("mislabelled", "events under another label (type=)", 22, odd.mislabelled, type="application/octet-stream"),
    _events("json_as_events", "a JSON document labelled as events", 22, odd.json_as_events),
    _events("unended_last_event", "no blank line after the last event", 31, odd.unended_last_event),
    # Bills of more than tokens of one kind
    *(_whole(name, what, None, play_honestly, **values) for name, (what, values) in BILLED_FORMS.items()),
    # Errors in the shapes of many vendors
    *(_whole(shape.name, shape.summary, shape.fault_row, shape.play) for shape in ERROR_SHAPES.values()),
    *(_whole(shape.name, shape.summary, shape.fault_row, shape.play) for shape in MISSING_MODELS.values()),
    # Lists of models
    *(_whole(one.name, one.summary, None, one.play, **one.values) for one in MODEL_LISTS.values()),
)

SCENARIOS: Mapping[str, Scenario] = MappingProxyType({scenario.name: scenario for scenario in _TABLE})
