"""Single values: what is taken, what it becomes, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest

from gateway.config import addresses, values
from gateway.config.environment import Substituted
from gateway.core.types import Budget


@pytest.mark.parametrize(
    ("parse", "given", "expected"),
    [
        (values.duration, "500ms", 0.5),
        (values.duration, "30s", 30),
        (values.duration, "1.5s", 1.5),
        (values.duration, "2m", 120),
        (values.duration, "1h", 3600),
        (values.duration, "30d", 2_592_000),
        (values.duration, 0, 0),
        (values.duration, Substituted("0"), 0),
        (values.size, "1B", 1),
        (values.size, "64KiB", 65_536),
        (values.size, "20MiB", 20_971_520),
        (values.size, "1GiB", 1_073_741_824),
        (values.size, "2MB", 2_000_000),
        (values.money, Decimal("0.1125"), 112_500_000),
        (values.money, Decimal("0.000000001"), 1),
        (values.money, 1_000_000_000, 10**18),
        (values.money, Substituted("7.50"), 7_500_000_000),
        (values.budget, "50/month", Budget(50_000_000_000, "month")),
        (values.budget, "0.01/day", Budget(10_000_000, "day")),
        (values.budget, "0/total", Budget(0, "total")),
        (values.budget, "7.5/week", Budget(7_500_000_000, "week")),
        (values.share, Decimal("0.1"), 0.1),
        (values.share, 1, 1),
        (values.boolean, Substituted("True"), True),
        (values.whole_number(1), Substituted("12"), 12),
        (values.secret, " key\n", "key"),
        (values.secret, "", ""),
        (values.name, "a.B-9_", "a.B-9_"),
        (values.model_pattern, "gpt-4o*", "gpt-4o*"),
        (values.model_pattern, "*", "*"),
        (values.model_pattern, "Qubico/flux1-dev", "Qubico/flux1-dev"),
        (addresses.host_port, "localhost:0", addresses.HostPort("localhost", 0)),
        (addresses.host_port, "[::]:65535", addresses.HostPort("::", 65535)),
        (addresses.link, "", ""),
        (addresses.link, "http://127.0.0.1:9/hook?x=1", "http://127.0.0.1:9/hook?x=1"),
        (addresses.host_pattern, "*.TheApi.app", "*.theapi.app"),
        (addresses.host_pattern, "127.0.0.1", "127.0.0.1"),
        (addresses.host_pattern, "*", "*"),
        (addresses.host_name, "Gateway.LAN.", "gateway.lan"),
        (addresses.host_name, "[::2]", "::2"),
        (addresses.host_name, "10.0.0.5", "10.0.0.5"),
        (addresses.origin, "https://App.Example:443", "https://app.example"),
        (addresses.origin, "http://10.0.0.5:3000", "http://10.0.0.5:3000"),
        (addresses.origin, "http://[::2]:80", "http://[::2]"),
        (addresses.origin, "app://obsidian.md", "app://obsidian.md"),
        (addresses.origin, "chrome-extension://abcdef", "chrome-extension://abcdef"),
        (addresses.origin, "https://app.example:80", "https://app.example:80"),
        (addresses.store, "postgresql://u:p@h:5432/d", "postgresql://u:p@h:5432/d"),
        (addresses.shared_state, "rediss://h/1", "rediss://h/1"),
        (addresses.shared_state, "unix:///run/valkey.sock?db=1", "unix:///run/valkey.sock?db=1"),
        (addresses.shared_state, "redis+cluster://h:7000", "redis+cluster://h:7000"),
        (addresses.shared_state, "rediss+sentinel://u:p@a:1,b:2/main/0", "rediss+sentinel://u:p@a:1,b:2/main/0"),
    ],
)
def test_taken(parse: Callable[[object], object], given: object, expected: object) -> None:
    assert parse(given) == expected


@pytest.mark.parametrize(
    ("parse", "given"),
    [
        *((values.duration, given) for given in (30, "30", "-1s", "1 h", "1h30m", "s", "", None, True, [], "9999d")),
        (values.positive_duration, "0s"),
        *((values.size, given) for given in (20, "20", "0MiB", "1.5MiB", "-1KiB", "20mib", None)),
        *((values.money, given) for given in (-1, Decimal("-0.1"), "1.875", ".nan", True, None, 1_000_000_001)),
        *((values.money, Decimal(text)) for text in ("0.0000000001", "1e-400", "1e400", "1.0000000000000000000000001")),
        *((values.budget, given) for given in (50, "50", "50/year", "/month", "-5/day", "1e3/day", "5/day ", None)),
        *((values.share, given) for given in (-1, 2, Decimal("1.0001"), "0.5", True)),
        *((values.boolean, given) for given in (0, 1, "true", "no", None)),
        *((values.whole_number(1, 9), given) for given in (0, 10, "5", Decimal("5.0"), True, Substituted("5.0"))),
        *((values.secret, given) for given in ("a b", "é", "a\x00", 12345, None, "x" * 513)),
        *((values.name, given) for given in ("", "a b", "a/b", "x" * 65, "é", 5)),
        *((values.model_pattern, given) for given in ("", "a*b", "**", "a b", "x" * 257, 4.1)),
        *((values.text, given) for given in (5, None, "a\nb", "\ud800")),
        (values.filled_text, " "),
        *((values.time_zone, given) for given in ("Mars/Phobos", "", "../etc/passwd", "Europe", "a\0b", 5)),
        *((addresses.host_name, given) for given in (5, "", "a:80", "http://a", "a/b", "*.a", "*", "a b", "[::1]:80")),
        *(
            (addresses.origin, given)
            for given in (5, "", "*", "null", "app.example", "https://", "https://a/", "https://a/b", "https://*.a")
        ),
        *((addresses.origin, given) for given in ("https://a:0", "https://a:65536", "https://u@a", "a b://c", "//a")),
        *((addresses.host_port, given) for given in (8400, ":8400", "127.0.0.1", "h:65536", "::1:80", "[h]:1", "h:x")),
        *((addresses.host_port, given) for given in ("a b:1", "1.2.3.400:1", "[fe80::1%eth0]:1")),
        *(
            (addresses.endpoint, given)
            for given in (
                "api.piapi.ai", "ftp://h", "https://", "https://u:p@h", "https://h?a=1", "https://h?", "https://h#a",
                "https://h:0", "https://h:99999", "https://[::1", "https://h/a b", "https://h\\a", "https://é.example",
                "https://h/ü", "https://-h", "https://h\n", 5, None,
            )
        ),
        (addresses.link, "gateway.example.com"),
        *((addresses.host_pattern, given) for given in ("https://h", "h:443", "h/p", "**", "*.", "a.*.b", "", 5)),
        *((addresses.store, given) for given in ("sqlite://", "sqlite:///", "sqlite:///dir/", "gateway.db", "mysql://h")),
        *((addresses.shared_state, given) for given in (
                "memory", "redis://", "redis://[", "http://h", 5, "unix://", "unix://h/x", "redis+sentinel://a:1,b:2",
                "redis+sentinel://a/main", "redis+sentinel://a:1,:2x/main", "redis+cluster://", "redis+other://h",
            )),
    ],
)  # fmt: skip
def test_refused(parse: Callable[[object], object], given: object) -> None:
    with pytest.raises(ValueError):
        parse(given)


@pytest.mark.parametrize(
    ("url", "origin", "path"),
    [
        ("HTTPS://API.PiAPI.ai:443/", "https://api.piapi.ai", ""),
        ("http://127.0.0.1:8499", "http://127.0.0.1:8499", ""),
        ("http://[::1]:80/a/b/", "http://[::1]", "/a/b"),
    ],
)
def test_an_endpoint_is_written_in_one_way(url, origin, path):
    endpoint = addresses.endpoint(url)
    assert (endpoint.url, endpoint.base_path) == (origin + path, path)


def test_which_listeners_are_loopback_and_which_collide():
    parse = addresses.host_port
    assert [parse(text).is_loopback for text in ("127.9.9.9:1", "[::1]:1", "localhost:1")] == [True] * 3
    assert [parse(text).is_loopback for text in ("0.0.0.0:1", "[::]:1", "10.0.0.1:1", "gateway:1")] == [False] * 4
    assert parse("0.0.0.0:1").overlaps(parse("127.0.0.1:1"))
    assert not parse("127.0.0.1:0").overlaps(parse("127.0.0.1:0"))
    assert not parse("127.0.0.1:1").overlaps(parse("127.0.0.2:1"))
