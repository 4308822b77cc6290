"""The addresses of the pictures in the text of an answer: which of the many links in it are results.

What is written as a picture is one: markdown's images, HTML's, and data URLs. Only where a text has none of these do
other links count, the surest kind first: those to DALL·E's own store, those alone on a line, those named a download,
those that end like a picture's file. Quoted lines report progress, and their links lead to previews.

Every pattern takes time linear in the text, for any text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from html import unescape

import orjson

from gateway.core.json_weight import read_json
from gateway.wire.base64_text import standard_base64
from gateway.wire.image_parts import AnswerParts
from gateway.wire.picture_address import (
    LONGEST_LINK,
    data_url,
    has_other_path,
    has_picture_path,
    is_data_url_of_a_picture,
    is_picture,
)
from gateway.wire.picture_parts import pictures_of_answer
from gateway.wire.refusal_words import is_refused

_DATA_URL = r"data:[^,()<>\"']{0,200}+,\s*+[\w+/=%\ue000-]++"  # broken base64 is a placeholder here
_BARE_DATA_URL = re.compile(rf"(?<!\w){_DATA_URL}", re.IGNORECASE)

# Possessive throughout: from any start the text is read once, up to the first character that cannot belong to it.
_WRITTEN_AS_PICTURE = re.compile(
    rf"""!\[[^\[\]]*+(?:\[[^\[\]]*+\][^\[\]]*+)*+\]  # markdown: a name, a URL, brackets one level deep
        \(\s*+<?\s*+
        ( https?://[^()<>\s]++(?:\([^()\s]*+\)[^()<>\s]*+)*+  # the address, parentheses one level deep
        | {_DATA_URL}  # or the image itself
        )
        \s*+>?(?:\s*+(?:"[^"]*+"|'[^']*+'))?+\s*+\)    # a title
    | <(?:img|image)\b[^<]*?\b(?:src|href)\s*+=\s*+  # HTML, with any other attributes
        (?: "\s*+( https?://[^"<>\s]++ | {_DATA_URL} )\s*+"
        | '\s*+( https?://[^'<>\s]++ | {_DATA_URL} )\s*+'
        | ( https?://[^"'<>\s]++ | data:[^"'<>\s]++ ) )
    """,
    re.VERBOSE | re.IGNORECASE,
)

# The host of DALL·E's own images: PiAPI says that an order may be downgraded to DALL·E.
_DALLE_HOST = r"https?://oaidalleapiprod[\w-]*+\.blob\.core\.windows\.net(?::\d++)?(?=[/?])"
_FROM_DALLE = re.compile(_DALLE_HOST, re.IGNORECASE)
_DALLE_LINK = re.compile(_DALLE_HOST + r"""[^\s()<>\[\]"'`*]++""", re.IGNORECASE)
_AFTER_A_LINK = ".,;:!?。，；：！？*_`"

_HOST = r"https?://[\w.-]{0,200}+(?<=\w)(?::\d{1,5}+)?(?=[/?])"  # a name with nothing behind it is no picture
_PLAIN_LINK = re.compile(
    _HOST
    + rf"""[^\s()<>\[\]"'`|]{{1,{LONGEST_LINK}}}+(?:\([^\s()<>]{{0,200}}+\)[^\s()<>\[\]"'`|]{{0,{LONGEST_LINK}}}+)?""",
    re.I,
)
_NAMED_LINK = re.compile(
    rf"""(?<!!)\[(?P<name>[^\[\]]{{0,200}}+)\]
         \(\s*+<?(?P<link>{_HOST}[^()<>\s]{{1,{LONGEST_LINK}}}+)>?(?:\s*+"[^"\n]{{0,200}}+")?\s*+\)
    | <a\b[^<]*?\bhref\s*+=\s*+["']?(?P<there>{_HOST}[^"'<>\s]{{1,{LONGEST_LINK}}}+)["']?
         [^<>]*+>(?P<shown>[^<]{{0,200}}+)</a
    """,
    re.VERBOSE | re.IGNORECASE,
)
_DOWNLOAD = re.compile(
    r"download|save\b|herunterladen|speichern|t[ée]l[ée]charger|descargar|scarica|baixar|скачать|下载|下載|保存"
    r"|ダウンロード|다운로드",
    re.IGNORECASE,
)
_NEAR = 40
"""Characters before a plain link in which a word for a download names it (``Download: https://…``)."""

_NO_RESULT = re.compile(
    r"[\d\s.%*]*+|.*(?:preview|预览|預覽|progress|进度|播放|source data|原始数据).*", re.IGNORECASE | re.DOTALL
)
"""Names of links that are none: a percentage, a preview."""

_OFFERED = re.compile(
    r"image|picture|photo|\bview\b|\bopen\b|\bsee\b|click|\bhere\b|result|bild|imagen|图|圖|查看|点击|點擊|画像|사진|이미지",
    re.IGNORECASE,
)
_FAILED = re.compile(
    r"error|fail|sorry|unable|cannot|can't|couldn't|not able|try again|support|help|失败|失敗|错误|抱歉|无法|重试",
    re.IGNORECASE,
)
"""Names under which a picture is offered, and words of an answer whose link leads to help instead."""

_ESCAPED_QUOTE = re.compile("&(?:quot|gt|lt|#39);")
_LETTER = re.compile(r"[^\W\d_]")
_LABEL = re.compile(r"\s*+(?:[-*+•>]|\d{1,2}[.)])?\s*+(?:\[[^\[\]]{0,40}+\]\s*+:)?")


def addresses_in(parts: AnswerParts, restored: Callable[[str], str]) -> list[str]:
    """The addresses of an answer's pictures, in their order; the same one may come twice.

    ``restored``: puts the base64 back that was taken out of the text.
    """
    for find in (_written, _data_urls, _from_dalle, _alone, _downloads, _of_pictures, _offered, _in_fences):
        if found := [address for one in find(parts) if _is_result(address := restored(one))]:
            return found
        if find is _data_urls and (found := list(_from_documents(parts, restored))):
            return found
    return []


def is_from_dalle(address: str) -> bool:
    """Whether the address leads to DALL·E's own store."""
    return _FROM_DALLE.match(address) is not None


def outside_quotes(text: str) -> str:
    """The text without its quoted lines, in which these relays report progress."""
    return "\n".join(line for line in text.split("\n") if not line.lstrip().startswith(">"))


def _is_result(address: str) -> bool:
    return address[:5].lower() != "data:" or is_data_url_of_a_picture(address)


def _written(parts: AnswerParts) -> Iterator[str]:
    return _written_in(parts.body)


def _written_in(text: str) -> Iterator[str]:
    for found in _WRITTEN_AS_PICTURE.finditer(text):
        address = next(filter(None, found.groups()))
        yield address if found[1] else unescape(address)  # of HTML


def _in_fences(parts: AnswerParts) -> Iterator[str]:
    """The pictures of an answer that is one fenced block and nothing else; base64 alone is one, too."""
    if _LETTER.search(parts.body) is None:
        yield from _written_in(parts.words)
    alone = parts.words.strip()
    if is_picture(alone) and (b64 := standard_base64(alone)) is not None:
        yield data_url(b64)


def _data_urls(parts: AnswerParts) -> Iterator[str]:
    return (found[0] for found in _BARE_DATA_URL.finditer(outside_quotes(parts.body)))


def _from_documents(parts: AnswerParts, restored: Callable[[str], str]) -> Iterator[str]:
    """The pictures of JSON that stands in the text."""
    for document in parts.documents:
        for picture in pictures_of_answer(read_json(restored(orjson.dumps(document).decode()).encode())):
            yield picture.url or data_url(picture.b64 or "")


def _from_dalle(parts: AnswerParts) -> Iterator[str]:
    return (link.rstrip(_AFTER_A_LINK) for link in _DALLE_LINK.findall(outside_quotes(parts.body)))


def _alone(parts: AnswerParts) -> Iterator[str]:
    """The links that are all that their line says. One that does not look like a picture's must be the only link."""
    found, links = [], 0
    for line in outside_quotes(parts.words or parts.body).split("\n"):
        if "://" not in line:
            continue
        links += line.count("://")
        link = _PLAIN_LINK.search(line)
        if link is not None and "](" not in line:
            label = _LABEL.match(line)
            assert label is not None  # it also matches nothing
            around = line[label.end() : max(label.end(), link.start())] + line[link.end() :]
            if _LETTER.search(around) is None:
                found.append(link[0].rstrip(_AFTER_A_LINK))
    lonely = len(found) == links == 1
    return (link for link in found if has_picture_path(link) or (lonely and not has_other_path(link)))


def _downloads(parts: AnswerParts) -> Iterator[str]:
    for name, link in _named_links(parts):
        if _DOWNLOAD.search(name) and not has_other_path(link):
            yield link
    for line in outside_quotes(parts.words or parts.body).split("\n"):
        if "://" in line and "](" not in line and (bare := _PLAIN_LINK.search(line)) is not None:
            named = _DOWNLOAD.search(line[max(0, bare.start() - _NEAR) : bare.start()])
            if named is not None and not has_other_path(link := bare[0].rstrip(_AFTER_A_LINK)):
                yield link


def _of_pictures(parts: AnswerParts) -> Iterator[str]:
    """The links to pictures' files, in the words or behind a name. A refusal may name the picture it refuses."""
    if is_refused(parts.words):
        return
    body = outside_quotes(parts.body)
    named = {link: name for name, link in _named_links(parts)}
    for found in _PLAIN_LINK.finditer(body):
        link = _ESCAPED_QUOTE.split(found[0], 1)[0].rstrip(_AFTER_A_LINK)
        if has_picture_path(link) and _NO_RESULT.fullmatch(named.get(link, "x")) is None:
            yield link


def _offered(parts: AnswerParts) -> Iterator[str]:
    """The only link of an answer, if it is offered as its picture: ``[View image](…)``, ``[click here](…)``."""
    text = outside_quotes(parts.words or parts.body)
    if text.count("://") != 1 or _FAILED.search(text) is not None or is_refused(parts.words):
        return
    for name, link in _named_links(parts):
        if _OFFERED.search(name) is not None and _NO_RESULT.fullmatch(name) is None and not has_other_path(link):
            yield link


def _named_links(parts: AnswerParts) -> Iterator[tuple[str, str]]:
    for found in _NAMED_LINK.finditer(outside_quotes(parts.body)):
        yield found["name"] or found["shown"] or "", found["link"] or found["there"]
