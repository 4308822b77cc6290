"""A page as a browser takes it: its elements, its forms, its text; and what no page of the console may hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "link", "input", "img", "br", "hr", "option"}


@dataclass
class Form:
    """``fields``: what a browser sends of it as it stands."""

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)


class Page(HTMLParser):
    """``elements``: tag and attributes. ``text``: all of it, blanks as one. ``forms``: in their order.

    ``problem``: what it says went wrong; empty if nothing did.
    """

    def __init__(self, document: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.forms: list[Form] = []
        self.scripts = ""
        self._texts: list[str] = []
        self._problems: list[str] = []
        self._open: list[tuple[str, dict[str, str]]] = []
        self.feed(document)
        self.close()
        self.text, self.problem = (" ".join(" ".join(texts).split()) for texts in (self._texts, self._problems))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.elements.append((tag, attributes))
        if tag not in VOID:
            self._open.append((tag, attributes))
        if tag == "form":
            self.forms.append(Form(attributes.get("action", ""), attributes.get("method", "get")))
        elif self._within("form") is not None:
            self._take(tag, attributes)

    def handle_endtag(self, tag: str) -> None:
        if self._within(tag) is not None:
            while self._open.pop()[0] != tag:
                pass

    def handle_data(self, data: str) -> None:
        if self._within("script") is not None:
            self.scripts += data
            return
        self._texts.append(data)
        if any(attributes.get("class") == "problem" for _, attributes in self._open):
            self._problems.append(data)
        area = self._within("textarea")
        if area is not None:
            self.forms[-1].fields[area["name"]] += data

    def every(self, tag: str) -> list[dict[str, str]]:
        """The attributes of each element of a kind."""
        return [attributes for found, attributes in self.elements if found == tag]

    def form(self, action: str, method: str = "post", **fields: str) -> Form:
        """The one form that is sent there by this method, with these ``fields`` of those that it has."""
        there = [form for form in self.forms if (form.action, form.method) == (action, method)]
        [found] = [form for form in there if fields.items() <= form.fields.items()]
        return found

    def _within(self, tag: str) -> dict[str, str] | None:
        return next((attributes for found, attributes in reversed(self._open) if found == tag), None)

    def _take(self, tag: str, attributes: dict[str, str]) -> None:
        """A field as it is before anything is written into it. Options are taken that have their value with them."""
        fields = self.forms[-1].fields
        if tag in ("input", "textarea") and "name" in attributes:
            fields[attributes["name"]] = attributes.get("value", "")
        select = self._within("select")
        if tag == "option" and select is not None and ("selected" in attributes or select["name"] not in fields):
            fields[select["name"]] = attributes.get("value", "")


def unsafe(document: str) -> list[str]:
    """What a page of the console must not hold: scripts and styles of its own, event handlers, other hosts."""
    page = Page(document)
    found = ["a script within the page"] if page.scripts.strip() else []
    for tag, attributes in page.elements:
        if tag in ("style", "iframe", "object", "embed", "base", "svg", "math", "template"):
            found.append(tag)
        if tag == "meta" and "http-equiv" in attributes:
            found.append("meta http-equiv")
        for name, value in attributes.items():
            leads = name in ("src", "href", "action", "formaction", "srcset", "data", "poster")
            if name.startswith("on") or name == "style":
                found.append(f"{tag} {name}")
            if leads and not (value.startswith("#") or (value.startswith("/") and not value.startswith("//"))):
                found.append(f"{tag} {name}={value}")
        if tag == "script" and not attributes.get("src", "").startswith("/console/static/"):
            found.append("a script from elsewhere")
    return found
