"""What gateways tell one another by the server: at once by a channel, and kept for those that did not hear it.

What is kept has a name, and the newest of a name is what counts: each has a version, which grows in the order in which
the server took them. So it does not matter how often, and by which way, something comes.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from redis.asyncio.client import PubSub

from gateway.shared_state.base import Message, Topic
from gateway.shared_state.valkey.calls import Calls
from gateway.shared_state.valkey.lines import TROUBLES
from gateway.shared_state.valkey.questions import Question, run
from gateway.shared_state.valkey.scripts import script

KEPT = "piapi-gateway:{fleet}:kept"
VERSION = "piapi-gateway:{fleet}:version"

GATHERED_FOR = 0.02
"""Seconds within which several news of one name are told as one."""

MOST_UNTOLD = 2_000
"""Names that wait for a server which is gone; the oldest are forgotten first."""

QUIET = 2.0
"""Seconds after which a silent channel is asked whether it still lives."""

SUBSCRIBE_AGAIN = 0.5
"""Seconds."""


class _Kept:
    """What is to be told and kept. ``since``: when it was so, the loop's time."""

    __slots__ = ("ends", "message", "since", "topic")

    def __init__(self, topic: Topic, message: Message, since: float, ends: float) -> None:
        self.topic, self.message, self.since, self.ends = topic, message, since, ends


class _Telling(Question):
    """Something of ours that is told; its version says what of others' is older."""

    __slots__ = ("_id", "_news")

    def __init__(self, news: News, id: str, arguments: tuple[str | int, ...]) -> None:
        super().__init__(*run(script("keep"), (KEPT, VERSION), (id, *arguments)))
        self._news, self._id = news, id

    def answered(self, answer: Any) -> None:
        self._news.told(self._id, int(answer))

    def unanswered(self) -> None:
        self._news.told(self._id, 0)


class News:
    """What is told and heard by one gateway. ``channel``: what the server calls the one that all gateways hear."""

    def __init__(self, own_id: str, calls: Calls, channel: str) -> None:
        self._own_id = own_id
        self._calls = calls
        self._channel = channel
        self._listeners: dict[str, list[Callable[[Message], None]]] = {}
        self._untold: dict[str, _Kept] = {}
        self._telling: dict[str, int] = {}  # by name: how many of ours are on their way
        self._versions: dict[str, int] = {}  # by name: of what counts
        self._gathering: asyncio.TimerHandle | None = None
        self.version = -1
        """Of all that is kept, when that was last read."""

    def listen(self, topic: Topic, heard: Callable[[Message], None]) -> None:
        """Call ``heard`` with what others tell of a topic."""
        self._listeners.setdefault(topic, []).append(heard)

    def tell(self, topic: Topic, message: Message) -> None:
        """Tell it once; those that do not hear it now never do."""
        text = self._text(topic, "", message)
        self._calls.ask(Question(("PUBLISH", self._channel, f"0 {text}")))

    def keep(self, topic: Topic, name: str, message: Message, seconds: float) -> None:
        """Tell it, soon, and keep it for so long under its name."""
        loop = asyncio.get_running_loop()
        id, now = f"{topic} {name}", loop.time()
        self._untold.pop(id, None)
        self._untold[id] = _Kept(topic, message, now, now + seconds)
        while len(self._untold) > MOST_UNTOLD:
            del self._untold[next(iter(self._untold))]
        if self._gathering is None and self._calls.usable:
            self._gathering = loop.call_later(GATHERED_FOR, self.tell_all)

    def tell_all(self) -> None:
        """Tell what waits, if the server can be asked."""
        self._gathering = None
        if not self._calls.usable:
            return
        now = asyncio.get_running_loop().time()
        untold, self._untold = self._untold, {}
        for id, one in untold.items():
            if one.ends <= now:
                continue
            self._telling[id] = self._telling.get(id, 0) + 1
            text = self._text(one.topic, id, {**one.message, "age": round(now - one.since, 3)})
            self._calls.ask(_Telling(self, id, (round((one.ends - now) * 1000), self._channel, text)))

    def told(self, id: str, version: int) -> None:
        """Something of ours is kept, as the newest of its name; 0: that is not known."""
        if (left := self._telling.get(id, 0) - 1) > 0:
            self._telling[id] = left
        else:
            self._telling.pop(id, None)
        self._versions[id] = max(version, self._versions.get(id, 0))

    def read(self, kept: list[Any]) -> None:
        """Everything that is kept, as the script of that name answers."""
        alive: set[str] = set()
        for version, age, text in zip(kept[1::3], kept[2::3], kept[3::3], strict=True):
            alive.add(self._hear(int(version), text, age / 1000))
        self._versions = {id: version for id, version in self._versions.items() if id in alive or id in self._telling}
        self.version = max(self.version, int(kept[0]))

    async def hear(self, subscribe: Callable[[], Awaitable[PubSub]]) -> None:
        """Hear what is told, as long as this runs; a connection that is lost is made anew."""
        while True:
            try:
                channel = await subscribe()
                try:
                    await channel.subscribe(self._channel)
                    self.version = -1  # what was told meanwhile is read
                    await self._hear_on(channel)
                finally:
                    await channel.aclose()  # type: ignore[no-untyped-call]
            except TROUBLES:
                pass  # told of by the questions, which go to the same server
            await asyncio.sleep(SUBSCRIBE_AGAIN)

    async def _hear_on(self, channel: PubSub) -> None:
        silent = False
        while True:
            got = await channel.get_message(timeout=QUIET)
            if got is None:
                if silent:
                    return
                silent = True
                await channel.ping()
                continue
            silent = False
            if got["type"] == "message":
                version, _, text = got["data"].partition(b" ")
                if version.isdigit():
                    self._hear(int(version), text, 0.0)

    def _hear(self, version: int, text: bytes, age: float) -> str:
        """Pass on what others tell, unless something newer is known. Returns what it is kept by.

        What is in another form, as another version of the gateway may tell it, is passed over.
        """
        try:
            return self._understand(version, json.loads(text), age)
        except (KeyError, TypeError, ValueError):
            return ""

    def _understand(self, version: int, told: Any, age: float) -> str:
        id: str = told["id"]
        if told["from"] == self._own_id:
            return id
        if id:
            if id in self._untold:
                return id  # ours is told after it, and counts then
            if id in self._telling:
                self.version = -1  # which of the two is newer is known once ours is kept: read it then
                return id
            if version <= self._versions.get(id, 0):
                return id
            self._versions[id] = version
        message = {**told["message"], "age": told["message"].get("age", 0.0) + age}
        for heard in self._listeners.get(told["topic"], ()):
            heard(message)
        return id

    def _text(self, topic: Topic, id: str, message: Message) -> str:
        return json.dumps({"from": self._own_id, "topic": topic, "id": id, "message": message})
