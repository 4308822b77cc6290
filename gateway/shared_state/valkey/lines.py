"""Connections to the server, by redis-py: one for questions, one for what is told; none is made before it is needed."""

from __future__ import annotations

import select
from collections.abc import Sequence
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from redis.asyncio import ConnectionPool, Redis, RedisCluster, Sentinel
from redis.asyncio.client import PubSub
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.maint_notifications import MaintNotificationsConfig

from gateway.shared_state.valkey.questions import Command

TROUBLES = (OSError, RedisError, TimeoutError)
"""What talking to the server can raise."""

CONNECT_WITHIN = 1.0
"""Seconds."""

_SENTINEL, _CLUSTER = "redis+sentinel", "redis+cluster"
_SECURE = "rediss+"


class Line(Protocol):
    """Where questions are asked. One task only."""

    async def open(self) -> None:
        """Connect anew, and sign in. Raises TROUBLES."""
        ...

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """The answers, in order, by one round trip; the server's refusal of a command is the exception, as a value.

        Raises TROUBLES if the connection is lost; it has to be opened again then, as after a cancellation.
        """
        ...

    def has_answer(self) -> bool:
        """Whether something of an answer has come that we have not read yet: then it is not the server that is late."""
        ...

    async def close(self) -> None:
        """Let go of the connection, without a farewell."""
        ...


class Source:
    """What a URL leads to. ``name``: the URL without what is secret. Raises ValueError for a URL that redis-py does
    not take.

    ``redis://``, ``rediss://`` (TLS) and ``unix://`` as redis-py has them, with its options behind a ``?``;
    ``redis+sentinel://USER:PASSWORD@HOST:PORT,HOST:PORT/SERVICE/DB`` asks Sentinels for the server of that name;
    ``redis+cluster://HOST:PORT`` is a cluster's. ``rediss+…`` with TLS.
    """

    def __init__(self, url: str) -> None:
        self.name = shown(url)
        self._url = url
        self._client: Redis | RedisCluster | None = None
        self._sentinels: list[Redis] = []
        scheme = urlsplit(url).scheme
        self.is_cluster = scheme.endswith("+cluster")
        try:
            self._make(scheme)
        except (TypeError, RedisError) as refused:  # an option behind the '?' that a connection does not have
            raise ValueError(f"{self.name} has an option that redis-py does not take: {refused}") from None

    def _make(self, scheme: str) -> None:
        """The clients, which connect later. Raises ValueError, TypeError, RedisError."""
        if self.is_cluster:
            self._client = _cluster_client(self._url)
            return
        client = (
            self._by_sentinels(self._url) if scheme.endswith("+sentinel") else Redis.from_url(self._url, **_options())
        )
        self._client = client
        self._pool: ConnectionPool = client.connection_pool
        self._pool.connection_kwargs.update(_OURS)
        self._pool.make_connection()  # type: ignore[no-untyped-call]  # looks at the options, and connects to nothing

    @property
    def database(self) -> str:
        """The database's number; what is told in one is heard in all of a server's."""
        return "0" if self.is_cluster else str(self._pool.connection_kwargs.get("db") or 0)

    def line(self) -> Line:
        """A new one, not open yet."""
        return _ClusterLine(self) if self.is_cluster else _OneServerLine(self._pool)

    async def hearing(self) -> PubSub:
        """Where what is told is heard. Raises TROUBLES."""
        client = await self.cluster() if self.is_cluster else self._client
        assert client is not None
        return client.pubsub()

    async def cluster(self) -> RedisCluster:
        """The cluster's client. Raises TROUBLES."""
        assert isinstance(self._client, RedisCluster)
        await self._client.initialize()
        return self._client

    async def close(self) -> None:
        """Close what ``hearing`` gave."""
        for client in (*self._sentinels, self._client):
            if client is not None:
                await client.aclose()

    def _by_sentinels(self, url: str) -> Redis:
        split = urlsplit(url)
        login, _, places = split.netloc.rpartition("@")
        user, _, password = login.partition(":")
        service, _, database = split.path.strip("/").partition("/")
        options: dict[str, Any] = {**_options(), **dict(parse_qsl(split.query))}
        if user or password:
            options.update(username=unquote(user) or None, password=unquote(password))
        if database:
            options["db"] = int(database)
        if split.scheme.startswith(_SECURE):
            options["ssl"] = True
        hosts = [place.rpartition(":") for place in places.split(",")]
        asking = {"socket_timeout": CONNECT_WITHIN, "socket_connect_timeout": CONNECT_WITHIN}
        sentinel = Sentinel(  # type: ignore[no-untyped-call]
            [(host, int(port)) for host, _, port in hosts], sentinel_kwargs=asking
        )
        self._sentinels = sentinel.sentinels
        client: Redis = sentinel.master_for(service, **options)
        return client


def _cluster_client(url: str) -> RedisCluster:
    """It connects when it is first asked. Raises ValueError, TypeError."""
    return RedisCluster.from_url(
        url.replace("+cluster", "", 1), socket_connect_timeout=CONNECT_WITHIN, socket_timeout=CONNECT_WITHIN
    )


_OURS = {"decode_responses": False, "socket_timeout": None}
"""Options that are not the URL's to choose. A read has no time-out: how long it may take is for the one who asks."""


def _options() -> dict[str, Any]:
    """No second try behind our back."""
    return {
        "socket_connect_timeout": CONNECT_WITHIN,
        "retry": Retry(NoBackoff(), 0),
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
        "client_name": "piapi-gateway",
    }


def shown(url: str) -> str:
    """The URL without its user, password and options."""
    split = urlsplit(url)
    return f"{split.scheme}://{split.netloc.rpartition('@')[2]}{split.path}"


class _OneServerLine:
    """One connection to one server."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        self._connection: AbstractConnection | None = None

    async def open(self) -> None:
        await self.close()
        connection: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        try:
            await connection.connect()  # type: ignore[no-untyped-call]
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        self._connection = connection

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        connection = self._connection
        if connection is None:
            raise ConnectionError("the connection is closed")
        await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
        answers: list[Any] = []
        for _ in commands:
            try:
                answers.append(await connection.read_response())
            except ResponseError as refused:
                answers.append(refused)
        return answers

    def has_answer(self) -> bool:
        reader, writer = getattr(self._connection, "_reader", None), getattr(self._connection, "_writer", None)
        if reader is None or writer is None:
            return False
        if getattr(reader, "_buffer", b""):
            return True
        found, make = writer.get_extra_info("socket"), getattr(select, "poll", None)  # there is none on Windows
        if found is None or make is None:
            return False
        poll = make()
        poll.register(found.fileno(), select.POLLIN)
        return bool(poll.poll(0))

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)


class _ClusterLine:
    """The connections to the servers of a cluster. A batch goes to all that it concerns at once."""

    def __init__(self, source: Source) -> None:
        self._source = source

    async def open(self) -> None:
        await self._source.cluster()

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        cluster = await self._source.cluster()
        async with cluster.pipeline() as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            answers: list[Any] = await pipeline.execute(raise_on_error=False)
        return answers

    def has_answer(self) -> bool:
        return False  # which of its connections is waited for is the client's to know

    async def close(self) -> None:
        """The client's connections are its own to mend."""


def unknown_script(answer: Any) -> bool:
    """Whether an answer says that the server does not know a script by its digest."""
    return isinstance(answer, NoScriptError)
