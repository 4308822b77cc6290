"""The parts of a Responses message, or of a call's output, as a chat has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.core.errors import ClientError, invalid_request, shorten
from gateway.wire.field_checks import a_string, an_object, missing, wrong_type
from gateway.wire.writable import dump_json


def message_content(content: Any, where: str) -> Any:
    """The content of a message: its text, or its parts as a chat has them."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise wrong_type(where, "a string or an array of parts", content)
    parts = [_part(part, f"{where}[{place}]") for place, part in enumerate(content)]
    # A text alone is what every upstream takes.
    return parts[0]["text"] if len(parts) == 1 and parts[0].keys() == {"type", "text"} else parts


def _part(part: Any, where: str) -> dict[str, Any]:
    an_object(part, where)
    kind = part.get("type")
    if kind in ("input_text", "output_text", "text"):
        return {"type": "text", "text": text_of(part, "text", where), **_rest(part, "type", "text", *_OF_OUTPUT)}
    if kind == "input_image":
        return _image(part, where)
    if kind == "input_file":
        return _file(part, where)
    if kind is None:
        raise missing(f"{where}.type")
    return {**part}  # sound, or newer than this file: the upstream judges it


_OF_OUTPUT = ("annotations", "logprobs")


def _image(part: Mapping[str, Any], where: str) -> dict[str, Any]:
    url = part.get("image_url")
    if url is None:
        raise missing(f"{where}.image_url")
    a_string(url, f"{where}.image_url")
    image = {"url": url}
    if part.get("detail") is not None:
        image["detail"] = part["detail"]
    return {"type": "image_url", "image_url": image, **_rest(part, "type", "image_url", "detail", "file_id")}


def _file(part: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A file, as its data or as its link, which stands in the place of data: the upstream judges whether it fetches."""
    data, url = part.get("file_data"), part.get("file_url")
    if data is None and url is None:
        raise missing(f"{where}.file_data")
    name = "file_data" if data is not None else "file_url"
    a_string(part[name], f"{where}.{name}")
    file = {"file_data": part[name]}
    filename = part.get("filename") or (_last_of(str(url)) if data is None else None)
    if filename is not None:
        file["filename"] = filename
    known = ("type", "file_data", "file_url", "filename", "file_id", "detail")
    return {"type": "file", "file": file, **_rest(part, *known)}


def _last_of(url: str) -> str | None:
    return url.partition("?")[0].partition("#")[0].rstrip("/").rpartition("/")[2][:256] or None


def _rest(part: Mapping[str, Any], *known: str) -> dict[str, Any]:
    return {name: value for name, value in part.items() if name not in known and value is not None}


def spoken(content: Any, where: str) -> tuple[str, str]:
    """The text of an assistant's message, and its refusal."""
    if isinstance(content, str):
        return content, ""
    if not isinstance(content, list):
        raise wrong_type(where, "a string or an array of parts", content)
    text, refusal = [], []
    for place, part in enumerate(content):
        within = f"{where}[{place}]"
        an_object(part, within)
        if part.get("type") == "refusal":
            refusal.append(text_of(part, "refusal", within))
        elif part.get("type") in ("output_text", "input_text", "text"):
            text.append(text_of(part, "text", within))
        else:
            raise not_a_chats(part.get("type"), f"{within}.type")
    return "".join(text), "".join(refusal)


def output_of(output: Any, where: str) -> tuple[str, list[dict[str, Any]]]:
    """What a tool message can hold of a call's output, its text, and the parts that it cannot hold."""
    if isinstance(output, str):
        return output, []
    if not isinstance(output, list):
        return dump_json(output).decode(), []
    parts = [_part(part, f"{where}[{place}]") for place, part in enumerate(output)]
    texts = [part["text"] for part in parts if part["type"] == "text"]
    others = [part for part in parts if part["type"] != "text"]
    return "\n".join(texts) or ("See what follows." if others else ""), others


def text_of(fields: Mapping[str, Any], name: str, where: str) -> str:
    """A text that must be there."""
    value = fields.get(name)
    if value is None:
        raise missing(f"{where}.{name}")
    a_string(value, f"{where}.{name}")
    return str(value)


def not_a_chats(kind: Any, param: str) -> ClientError:
    """400 for a kind of item, or of part, that no chat has."""
    if not isinstance(kind, str):
        return missing(param) if kind is None else wrong_type(param, "a string", kind)
    return invalid_request(
        f"'{shorten(kind)}' cannot be carried over to a chat, by which this model is asked. "
        "A target with 'operation: responses' passes it on.",
        param=param,
        code="unsupported_value",
    )
