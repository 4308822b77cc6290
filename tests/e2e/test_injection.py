"""Text that means something to a database, a log, a header or a scraper, put wherever a client can put text."""

from __future__ import annotations

import ast
import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest

import gateway as program
from tests.raw_client import Answer, RawClient

from .conftest import StartGateway
from .harness import ALICE, MESSAGES, PATH, Rig, get

SQL = [
    *("' OR '1'='1", "'; DROP TABLE keys;--", "x' UNION SELECT name, digest FROM keys--", '" OR ""="', "') OR ('1'='1"),
    *("1; ATTACH DATABASE '/tmp/x' AS y", "%' ESCAPE '%", "\\'; DELETE FROM settlements; --", "*", "?1", ":name", "@x"),
]
LOG = [
    '"}\n{"event": "forged"}',
    "\x1b[2J\x1b]0;owned\x07",
    "\r\nevent=forged",
    "\u2028forged",
    "\u202eforged",
    "\x00",
    "\x7f",
]
HEADS = [
    "x\r\nset-cookie: canary=1",
    "x\nset-cookie: canary=1",
    "x\r\n\r\nHTTP/1.1 200 OK",
    "x\u560d\u560acanary",
    "x\x85y",
]
METRICS = [
    'x"} 1\nforged_total{a="',
    "x\\",
    "a" * 5000,
    "{model}",
    "${jndi:ldap://x}",
    "{{7*7}}",
    "%(x)s",
    "%s%n",
    "{0.__class__}",
]
EVERY = [*SQL, *LOG, *HEADS, *METRICS]

HEADERS = [
    *("x-request-id", "user-agent", "x-forwarded-for", "forwarded", "referer", "origin", "accept", "idempotency-key"),
    *("openai-organization", "x-stainless-retry-count", "x-gateway-user", "prefer", "content-type", "accept-encoding"),
    *("authorization", "x-api-key", "api-key", "cookie", "traceparent", "x-webhook-secret", "content-encoding"),
]


def in_headers() -> Iterator[list[str]]:
    for text in EVERY:
        line = re.sub(r"[\r\n\x00\x1b\x07\x7f]", " ", text)[:2000]  # what ends a line is a 400 of its own
        yield [f"{name}: {line}" for name in HEADERS if name not in ("authorization", "content-encoding", "origin")]
    for text in SQL:
        for name in ("Authorization: Bearer ", "X-Api-Key: ", "api-key: "):
            yield [name + text]


def counted(rig: Rig) -> dict[str, int]:
    """How many rows every table of the store has."""
    path = (rig.folder / "gateway.db").resolve()
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as store:
        names = [name for (name,) in store.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY 1")]
        return {name: store.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in names}


async def check(rig: Rig, tables: set[str], answers: list[Answer]) -> None:
    """Nothing has come of it: the tables stand, keys are keys, each line of the log is one, each series is known."""
    assert set(counted(rig)) == tables
    assert counted(rig)["keys"] == 1
    for answer in answers:
        assert answer.header("set-cookie") is None
        assert answer.status < 500
        assert not [value for _, value in answer.headers if "canary" in value and "\n" in value]
    rig.log.flush()
    text = (rig.folder / "gateway.log").read_text(encoding="utf-8")
    for line in text.splitlines():
        assert line.isprintable(), "nothing in it moves a cursor or turns the writing around"
        assert json.loads(line)["event"] != "forged"
        assert len(line.encode()) <= 4096
    metrics = (await get(f"{rig.gateway.admin_url}/metrics")).decode()
    assert "forged" not in metrics
    assert "DROP" not in metrics
    assert len(metrics.splitlines()) < 3000


async def admin(rig: Rig, method: str, path: str, body: bytes = b"", *lines: str) -> Answer:
    client = await RawClient.connect(rig.gateway.admin_url)
    try:
        return await client.request(method, path, body, "Content-Type: application/json", *lines)
    finally:
        await client.close()


async def client_asks(rig: Rig, method: str, path: str, body: bytes, *lines: str) -> Answer:
    async with rig.client() as client:
        return await client.request(method, path, body, "Content-Type: application/json", *lines)


@pytest.fixture
async def rig(gateway: StartGateway) -> Rig:
    rig = await gateway()
    assert (await admin(rig, "POST", "/admin/v1/keys", b'{"name": "dora"}')).status == 200
    return rig


async def test_in_headers(rig: Rig) -> None:
    tables, answers = set(counted(rig)), []
    body = json.dumps({"model": "gpt-4o", "messages": MESSAGES}).encode()
    for lines in in_headers():
        key = [] if "ey: " in lines[0] or "Bearer" in lines[0] else [f"Authorization: Bearer {ALICE}"]
        async with rig.client() as client:
            sent = [f"{name}: {value}" for name, _, value in (line.partition(": ") for line in lines)]
            if key:
                sent = [line for line in sent if not line.startswith(("content-type", "x-api-key", "api-key"))]
            answers += [await client.request("POST", PATH, body, "Content-Type: application/json", *key, *sent)]
        assert answers[-1].status == (200 if key else 401) or (not key and answers[-1].status == 429), lines
        answers += [await admin(rig, "GET", "/admin/v1/keys", b"", *(line for line in sent if "origin" not in line))]
    await check(rig, tables, answers)


async def test_in_fields_and_paths_of_the_api(rig: Rig) -> None:
    tables, answers = set(counted(rig)), []
    bearer = f"Authorization: Bearer {ALICE}"
    for text in EVERY:
        for body in (
            {"model": text, "messages": MESSAGES},
            {"model": "gpt-4o", "messages": MESSAGES, "user": text, text: text, "metadata": {text: text}},
            {"model": "gpt-4o-image", "messages": MESSAGES, text: text},
        ):
            answers += [await client_asks(rig, "POST", PATH, json.dumps(body).encode(), bearer)]
        for target, sent in (
            ("/v1/images/generations", {"model": "flux-schnell", "prompt": "hat", text[:60]: text, "size": text}),
            ("/api/v1/task", {"model": "Qubico/x", "task_type": text, "input": {text: text}}),
            ("/api/v1/task", {"model": text, "task_type": "txt2img", "input": {}}),
        ):
            answers += [await client_asks(rig, "POST", target, json.dumps(sent).encode(), bearer)]
        name = quote(text[:800], safe="")
        for path in (
            f"/v1/models/{name}",
            f"/api/v1/task/{name}",
            f"/images/{name}",
            f"/{name}",
            f"/v1/models?x={name}",
        ):
            answers += [await client_asks(rig, "GET", path, b"", bearer)]
    await check(rig, tables, answers)


async def test_in_fields_and_queries_of_the_admin_api(rig: Rig) -> None:
    """Names, teams, models, periods, cursors: a name is data, wherever it comes from."""
    tables, answers = set(counted(rig)), []
    for text in EVERY:
        name = quote(text[:800], safe="")
        for query in (
            f"keys?after={name}",
            f"keys?limit={name}",
            f"usage?by={name}",
            f"usage?since={name}",
            f"audit?after={name}",
        ):
            answers += [await admin(rig, "GET", f"/admin/v1/{query}")]
        for method, path, fields in (
            ("POST", "keys", {"name": text}),
            ("POST", "keys", {"name": "dora", "team": text, "models": [text]}),
            ("PATCH", f"keys/{name}", {"team": text}),
            ("PATCH", "keys/dora", {"expires": text, "rpm": text}),
            ("DELETE", f"keys/{name}", {}),
            ("POST", f"keys/{name}/rotate", {"grace": text}),
            ("POST", "prune", {"before": text}),
            ("POST", "reconcile", {"since": text}),
            ("POST", "held/release", {"ids": [text], "reason": text}),
        ):
            answers += [await admin(rig, method, f"/admin/v1/{path}", json.dumps(fields).encode())]
    assert all(answer.status in (200, 400, 404, 409) for answer in answers)
    await check(rig, tables, answers)


BUILT = {
    "stores/migrated_tables.py",
    "stores/migration.py",
    "stores/migration_check.py",
    "stores/postgres/alerts.py",
    "stores/postgres/deliveries.py",
    "stores/postgres/fleet_deliveries.py",
    "stores/postgres/fleet_jobs.py",
    "stores/postgres/folding.py",
    "stores/postgres/integrity.py",
    "stores/postgres/jobs.py",
    "stores/postgres/keys.py",
    "stores/postgres/migrated_books.py",
    "stores/postgres/open_exchanges.py",
    "stores/postgres/pruning.py",
    "stores/postgres/responses.py",
    "stores/postgres/rollup.py",
    "stores/postgres/seen_exchanges.py",
    "stores/sqlite/inserts.py",
    "stores/sqlite/integrity.py",
    "stores/sqlite/jobs.py",
    "stores/sqlite/keys.py",
    "stores/sqlite/loss.py",
    "stores/sqlite/open_exchanges.py",
    "stores/sqlite/pruning.py",
    "stores/sqlite/responses.py",
    "stores/sqlite/rollup.py",
    "stores/sqlite/schema.py",
    "stores/sqlite/seen_exchanges.py",
    "stores/sqlite/tally.py",
}
"""Files that put SQL together, of names and numbers of columns that stand in the code; each place says so by a noqa."""


def test_sql_is_bound_wherever_it_is_written() -> None:
    """The linter looks for SQL made of text (S608) and is switched off nowhere but where the pieces are our own."""
    root = Path(program.__file__).parent
    excused = {
        file.relative_to(root).as_posix() for file in root.rglob("*.py") if "noqa: S608" in file.read_text("utf-8")
    }
    assert excused <= BUILT
    for file in sorted(root.rglob("*.py")):
        for call in ast.walk(ast.parse(file.read_text("utf-8"))):
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
                continue
            if call.func.attr in ("execute", "executemany", "executescript") and call.args:
                sql = call.args[0]
                assert not isinstance(sql, ast.BinOp) or not isinstance(sql.op, ast.Mod), f"{file}: {ast.unparse(sql)}"
                assert not (isinstance(sql, ast.Call) and getattr(sql.func, "attr", "") == "format"), file


def test_nothing_is_evaluated() -> None:
    """No eval, no pickle: text stays text. YAML is read without its tags. Templates are the console's alone: files of
    ours, in whose pages every value is escaped (tests/console/test_pages.py).
    """
    root = Path(program.__file__).parent
    for file in sorted(root.rglob("*.py")):
        harmless = {"jinja2"} if file == root / "console" / "pages.py" else set()
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("eval", "exec", "compile", "__import__"), file
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [each.name for each in node.names] + [getattr(node, "module", "") or ""]
                forbidden = {"pickle", "marshal", "shelve", "jinja2", "subprocess"} - harmless
                assert not forbidden & set(names), (file, names)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "yaml":
                assert node.attr not in ("load_all", "unsafe_load", "full_load", "UnsafeLoader", "FullLoader"), file
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
                assert node.attr not in ("system", "popen"), file
