"""Where links may lead: every spelling of a place that must not be reached, and the few that may."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.errors import LinkForbidden
from gateway.core.types import Endpoint
from gateway.upstream.address_guard import AddressGuard, LinkRefused, Surroundings, is_of_this_machine, is_public
from gateway.upstream.dialer import Address, Resolver, system_resolver

HOSTS = ("*.theapi.app", "videos.openai.com")
GUARD = AddressGuard(HOSTS, private=False)

ALLOWED = [
    ("https://videos.openai.com/a.png", "videos.openai.com", "/a.png"),
    ("https://img.theapi.app/a.png", "img.theapi.app", "/a.png"),
    ("https://a.b.theapi.app/a.png", "a.b.theapi.app", "/a.png"),
    ("https://theapi.app/", "theapi.app", "/"),
    ("https://theapi.app", "theapi.app", "/"),
    ("https://theapi.app?sig=1", "theapi.app", "/?sig=1"),
    ("HTTPS://IMG.TheApi.App/A.png", "img.theapi.app", "/A.png"),
    ("https://img.theapi.app./a.png", "img.theapi.app", "/a.png"),
    ("https://img.theapi.app:443/a.png", "img.theapi.app", "/a.png"),
    ("https://img.theapi.app:00443/a.png", "img.theapi.app", "/a.png"),
    ("https://img。theapi．app/a.png", "img.theapi.app", "/a.png"),
    ("https://bücher.theapi.app/a.png", "xn--bcher-kva.theapi.app", "/a.png"),
    ("https://evil.example⁄.theapi.app/", "evil.xn--example-7d7c.theapi.app", "/"),
    ("https://ｖideos.openai.com/a.png", "videos.openai.com", "/a.png"),
    ("https://img.theapi.app/a.png#@169.254.169.254/", "img.theapi.app", "/a.png"),
    ("https://img.theapi.app#@evil.example/", "img.theapi.app", "/"),
    ("https://img.theapi.app/a@b:c/d.png?x=http://127.0.0.1/", "img.theapi.app", "/a@b:c/d.png?x=http://127.0.0.1/"),
    ("https://img.theapi.app/%E7%8C%AB.png?s=a%2Fb%3D", "img.theapi.app", "/%E7%8C%AB.png?s=a%2Fb%3D"),
    ("https://img.theapi.app/猫.png?名=1", "img.theapi.app", "/%E7%8C%AB.png?%E5%90%8D=1"),
    ("https://img.theapi.app/..//../a.png", "img.theapi.app", "/..//../a.png"),
]

LOOPBACK = [
    "https://127.0.0.1/",
    "https://localhost/",
    "https://LOCALHOST./",
    "https://127.1/",
    "https://127.0.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.0.0.1/",
    "https://0x7f.1/",
    "https://0177.0.0.1/",
    "https://0177.0.0.01/",
    "https://017700000001/",
    "https://127.0.0.1./",
    "https://127.0.0.1%00/",
    "https://127%2e0%2e0%2e1/",
    "https://%31%32%37.0.0.1/",
    "https://127。0。0。1/",
    "https://①②⑦.⓪.⓪.①/",
    "https://１２７.０.０.１/",
    "https://0/",
    "https://0.0.0.0/",
    "https://[::1]/",
    "https://[::]/",
    "https://[0:0:0:0:0:0:0:1]/",
    "https://[0000::0001]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[::127.0.0.1]/",
    "https://[64:ff9b::127.0.0.1]/",
    "https://[2002:7f00:1::]/",
    "https://[fe80::1%25eth0]/",
    "https://[::1%lo]/",
    "https://127.0.0.1.theapi.app.localhost/",
    "https://spoofed.burpcollaborator.net/",
]

PRIVATE = [
    "https://10.0.0.1/",
    "https://192.168.0.1/",
    "https://172.16.0.1/",
    "https://169.254.169.254/latest/meta-data/",
    "https://2852039166/latest/meta-data/",
    "https://0xa9fea9fe/",
    "https://0251.0376.0251.0376/",
    "https://169.254.43518/",
    "https://[::ffff:169.254.169.254]/",
    "https://[fd00:ec2::254]/",
    "https://[fc00::1]/",
    "https://metadata.google.internal/computeMetadata/v1/",
    "https://metadata/",
    "https://instance-data/latest/",
    "https://100.100.100.200/",
    "https://168.63.129.16/",
    "https://kubernetes.default.svc/",
]

TRICKS = [
    "https://img.theapi.app@evil.example/",
    "https://img.theapi.app:443@evil.example/",
    "https://evil.example@img.theapi.app/",
    "https://user:pass@img.theapi.app/",
    "https://@img.theapi.app/",
    "https://img.theapi.app%40evil.example/",
    "https://evil.example#@img.theapi.app/",
    "https://evil.example?@img.theapi.app/",
    "https://evil.example/@img.theapi.app/",
    "https://evil.example\\@img.theapi.app/",
    "https://img.theapi.app\\@evil.example/",
    "https://img.theapi.app\\.evil.example/",
    "https:\\\\img.theapi.app/",
    "https:/\\img.theapi.app/",
    "https:/img.theapi.app/",
    "https:///img.theapi.app/",
    "https:img.theapi.app/",
    "//img.theapi.app/",
    "img.theapi.app/",
    "",
    "https://",
    "https://:443/",
    "https://./",
    "https://.theapi.app/",
    "https://img..theapi.app/",
    "https://img.theapi.app../",
    "https://eviltheapi.app/",
    "https://theapi.app.evil.example/",
    "https://theapi.ap/",
    "https://openai.com/",
    "https://a.videos.openai.com/",
    "https://evil.example／.theapi.app/",
    "https://evil.example℀.theapi.app/",
    "https://evil.example＃.theapi.app/",
    "https://evil.example？.theapi.app/",
    "https://evil.example＠img.theapi.app/",
    "https://evil.example：443.theapi.app/",
    "https://[img.theapi.app]/",
    "https://[::1].theapi.app/",
    "https://[::1]img.theapi.app/",
    "https://img.theapi.app[::1]/",
    "https://img.theapi.app:80/",
    "https://img.theapi.app:8443/",
    "https://img.theapi.app:0/",
    "https://img.theapi.app:65979/",
    "https://img.theapi.app:443:80/",
    "https://img.theapi.app:/",
    "https://img.theapi.app:٤٤٣/",
    "https://img.theapi.app:+443/",
    "https://img.theapi.app /",
    " https://img.theapi.app/",
    "https://img.theapi.app/ a",
    "https://img.theapi.app\t/",
    "https://img.the\napi.app/",
    "https://img.theapi.app/\r\nhost: evil.example",
    "https://img.theapi.app/\0",
    "https://img.theapi.app\u00a0/",
    "https://img.theapi.app/\ud800",
    "https://\ud800.theapi.app/",
    "https://" + "a" * 64 + ".theapi.app/",
    "https://" + "a." * 130 + "theapi.app/",
    "https://img.theapi.app/" + "a" * 8192,
    "http://img.theapi.app/",
    "HTTP://img.theapi.app:443/",
    "ftp://img.theapi.app/",
    "file:///etc/passwd",
    "file://img.theapi.app/etc/passwd",
    "gopher://img.theapi.app:443/_GET",
    "data:image/png;base64,iVBORw0KGgo=",
    "javascript:alert(1)//img.theapi.app/",
    "url:https://img.theapi.app/",
    "httpſ://img.theapi.app/",
]


@pytest.mark.parametrize(("link", "host", "target"), ALLOWED, ids=[link for link, _, _ in ALLOWED])
def test_a_link_to_an_allowed_host_is_read_as_it_is_meant(link: str, host: str, target: str) -> None:
    destination = GUARD.destination(link)
    assert destination.endpoint == Endpoint(f"https://{host}:443", "https", host, 443)
    assert destination.target == target
    assert target == "/" or target not in repr(destination)  # what signs a link is a secret


@pytest.mark.parametrize("link", [*LOOPBACK, *PRIVATE, *TRICKS], ids=lambda link: ascii(link)[:60])
def test_a_link_to_anywhere_else_is_refused_without_being_repeated(link: str) -> None:
    with pytest.raises(LinkRefused) as caught:
        GUARD.destination(link)
    assert len(str(caught.value)) < 200
    assert "/latest" not in str(caught.value)


def test_the_corpus_is_as_large_as_it_should_be() -> None:
    assert len({*LOOPBACK, *PRIVATE, *TRICKS}) >= 60


@pytest.mark.parametrize("link", [*LOOPBACK, *PRIVATE], ids=lambda link: ascii(link)[:60])
def test_no_spelling_of_an_address_gets_past_a_guard_that_lets_every_name_through(link: str) -> None:
    """Even if an operator's list held the very name: the spelling is refused, or it is its common form."""
    host = link.removeprefix("https://").split("/")[0]
    try:
        destination = AddressGuard([host.strip("[]")], private=False).destination(link)
    except LinkRefused:
        return
    found = destination.endpoint.host
    assert found == host.strip("[]").lower().rstrip(".")
    assert not is_public(found)  # an address, and then refused by what it is, or a name for the resolver


def test_a_guard_on_premises_still_holds_to_its_names() -> None:
    guard = AddressGuard(("*.storage.lan", "10.0.0.5", "fd00::5"), private=True)
    for link, scheme, host, port in (
        ("http://minio.storage.lan:9000/a", "http", "minio.storage.lan", 9000),
        ("http://storage.lan/a", "http", "storage.lan", 80),
        ("https://10.0.0.5:8443/a", "https", "10.0.0.5", 8443),
        ("http://[FD00:0::5]:9000/a", "http", "fd00::5", 9000),
    ):
        endpoint = guard.destination(link).endpoint
        assert (endpoint.scheme, endpoint.host, endpoint.port) == (scheme, host, port)
    for link in (
        "http://10.0.0.6/a",
        "http://0xa000005/a",
        "http://10.5/a",
        "http://storage.lan@10.0.0.6/a",
        "http://[fd00::6]/a",
        "http://img.theapi.app/a",
        "http://storage.lan:0/a",
        "http://storage.lan:65536/a",
        "ftp://storage.lan/a",
    ):
        with pytest.raises(LinkRefused):
            guard.destination(link)


def test_a_guard_without_hosts_lets_nothing_through() -> None:
    for private in (False, True):
        with pytest.raises(LinkRefused):
            AddressGuard((), private).destination("https://img.theapi.app/")


@settings(max_examples=200)
@given(
    st.text(max_size=40), st.sampled_from(["https://{}.theapi.app/", "https://{}/", "https://img.theapi.app{}/", "{}"])
)
def test_whatever_is_read_is_a_host_of_the_list(text: str, shape: str) -> None:
    host = None
    try:
        host = GUARD.destination(shape.format(text)).endpoint.host
    except LinkRefused:
        pass
    if host is not None:
        assert host.isascii()
        assert not set(host) & set("@/\\#?:[]% ")
        assert host == "theapi.app" or host.endswith(".theapi.app") or host == "videos.openai.com"


PUBLIC = ["1.1.1.1", "8.8.8.8", "172.15.255.255", "172.32.0.0", "100.63.255.255", "100.128.0.0", "192.0.1.0"]
PUBLIC += ["11.0.0.0", "126.255.255.255", "128.0.0.0", "169.253.255.255", "223.255.255.255", "198.20.0.0"]
PUBLIC += ["2606:4700::1111", "2001:4860:4860::8888", "2001:200::1", "2a00:1450::1", "2003::1", "2620:0:ccc::2"]

NOT_PUBLIC = ["0.0.0.0", "0.1.2.3", "10.255.255.255", "100.64.0.0", "100.127.255.255", "100.100.100.200"]
NOT_PUBLIC += ["127.0.0.1", "127.255.255.255", "168.63.129.16", "169.254.169.254", "172.16.0.0", "172.31.255.255"]
NOT_PUBLIC += ["192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.255.255", "198.18.0.1", "198.19.255.255"]
NOT_PUBLIC += ["198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255"]
NOT_PUBLIC += ["::", "::1", "::8.8.8.8", "::ffff:8.8.8.8", "::ffff:127.0.0.1", "::ffff:0:8.8.8.8", "100::1"]
NOT_PUBLIC += ["64:ff9b::8.8.8.8", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2001::1", "2001:0:4136:e378::", "2001:20::1"]
NOT_PUBLIC += ["2001:db8::1", "2002:808:808::1", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1"]
NOT_PUBLIC += ["fe80::1%eth0", "fe80::1%2", "febf::1", "fec0::1", "ff02::1", "ff0e::1", "4000::1"]
NOT_PUBLIC += ["", "name", "127.1", "2130706433", "0x7f.0.0.1"]


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_of_the_open_internet(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_addresses_of_anything_else(address: str) -> None:
    assert not is_public(address)


def answering(*addresses: str) -> Resolver:
    async def resolve(host: str, port: int) -> list[Address]:
        return [
            (socket.AF_INET6, (address, port, 0, 0)) if ":" in address else (socket.AF_INET, (address, port))
            for address in addresses
        ]

    return resolve


async def test_a_name_with_public_addresses_alone_resolves() -> None:
    addresses = await GUARD.guarding(answering("1.1.1.1", "2606:4700::1111"))("img.theapi.app", 443)
    assert addresses == [
        (socket.AF_INET, ("1.1.1.1", 443)),
        (socket.AF_INET6, ("2606:4700::1111", 443, 0, 0)),
    ]
    assert await GUARD.guarding(answering())("img.theapi.app", 443) == []


@pytest.mark.parametrize("bad", ["127.0.0.1", "169.254.169.254", "::ffff:10.0.0.1", "fd00:ec2::254"])
async def test_one_bad_address_refuses_the_name(bad: str) -> None:
    for addresses in ((bad,), ("1.1.1.1", bad), (bad, "2606:4700::1111")):
        with pytest.raises(LinkRefused, match=r"has the address .*, not a public one"):
            await GUARD.guarding(answering(*addresses))("img.theapi.app", 443)


async def test_the_systems_own_resolver_is_judged_like_any_other() -> None:
    """It reads 2130706433 and 127.1 as addresses, so what it makes of them is what counts."""
    for spelling in ("127.0.0.1", "127.1", "2130706433", "0x7f000001", "::1", "::ffff:127.0.0.1"):
        with pytest.raises(LinkRefused):
            await GUARD.guarding(system_resolver)(spelling, 443)


async def test_on_premises_every_address_will_do() -> None:
    guard = AddressGuard(("storage.lan",), private=True)
    assert await guard.guarding(answering("10.0.0.5"))("storage.lan", 9000) == [(socket.AF_INET, ("10.0.0.5", 9000))]


# Every public host, and what becomes of a link that is not followed

ANYWHERE = AddressGuard(("*",), private=False)
OURS = Surroundings(
    ports=frozenset({8400, 8401}),
    names=frozenset({"gateway.example.com", "93.184.215.99"}),
    upstreams=frozenset({"api.piapi.ai", "relay.example.net"}),
)


@pytest.mark.parametrize(
    "link",
    [
        *("https://cdn.example.net/a.png", "https://a.b.c.d.example.co.uk/x?sig=%2B", "https://93.184.215.14/a.png"),
        *("https://[2606:4700::1111]/a.png", "https://bücher.example.com/a.png", "https://gone.example/a.png"),
        *("https://img.theapi.app/a.png", "https://cdn.example.net:443/a.png", "https://1e100.net/a"),
    ],
)
def test_any_public_host_is_followed_where_no_list_is_narrower(link: str) -> None:
    assert ANYWHERE.destination(link).endpoint.port == 443


def dangerous(guard: AddressGuard, link: str) -> bool:
    """Whether a link that is not followed may not be handed on either."""
    with pytest.raises(LinkRefused) as caught:
        guard.destination(link)
    return isinstance(caught.value, LinkForbidden)


@pytest.mark.parametrize("guard", [ANYWHERE, GUARD], ids=["anywhere", "listed"])
@pytest.mark.parametrize("link", [*LOOPBACK[:-1], *PRIVATE], ids=lambda link: ascii(link)[:60])
def test_no_spelling_of_a_place_inside_is_followed_or_handed_on(guard: AddressGuard, link: str) -> None:
    """Without a look-up, and whether or not a list would have let it through."""
    assert dangerous(guard, link)
    assert dangerous(guard, link.replace("https:", "http:"))
    assert dangerous(guard, link.replace("/", ":8443/").replace(":8443/:8443/", "//", 1))


@pytest.mark.parametrize(
    "link",
    [
        *(
            "https://printer/",
            "https://nas.local/a.png",
            "https://vault.corp/",
            "https://db.internal/",
            "https://a.lan/",
        ),
        *("https://x.home.arpa/", "https://app.localhost/", "https://kubernetes.default.svc/", "https://Router.HOME./"),
    ],
)
def test_names_that_mean_something_inside_only_are_known_without_a_look_up(link: str) -> None:
    assert dangerous(ANYWHERE, link)


@pytest.mark.parametrize(
    "link",
    [
        *("https://user:pass@cdn.example.net/a.png", "https://token@cdn.example.net/", "https://@cdn.example.net/"),
        *("https://cdn.example.net\\@evil.example/", "https:\\\\cdn.example.net/", "https://cdn.example.net/\r\nx: y"),
        *(
            "ftp://cdn.example.net/a.png",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "data:image/png;base64,iVBORw0KGgo=",
        ),
        *(
            "https://cdn.example.net:0/",
            "https://cdn.example.net:65979/",
            "https://cdn.example.net:443:80/",
            "",
            "https://",
        ),
        *("https://cdn..example.net/", "https://evil.example／.net/", "https://0x7f.1/", "https://[::1].example.net/"),
    ],
    ids=lambda link: ascii(link)[:60],
)
def test_what_could_be_read_in_two_ways_or_is_no_web_address_is_not_handed_on(link: str) -> None:
    assert dangerous(ANYWHERE, link)


@pytest.mark.parametrize(
    ("guard", "link"),
    [
        (GUARD, "https://cdn.example.net/a.png"),
        (GUARD, "https://eviltheapi.app/a.png"),
        (GUARD, "http://cdn.example.net:8080/a.png"),
        (GUARD, "https://93.184.215.14/a.png"),
        (ANYWHERE, "http://cdn.example.net/a.png"),
        (ANYWHERE, "HTTP://cdn.example.net:443/a.png"),
        (ANYWHERE, "https://cdn.example.net:8443/a.png"),
        (ANYWHERE, "https://cdn.example.net:80/a.png"),
        (ANYWHERE, "https://cdn.example.net/my cat.png"),
        (ANYWHERE, " https://cdn.example.net/cat.png"),
        (ANYWHERE, "https://cdn.example.net/" + "a" * 8192),
        (AddressGuard((), private=False), "https://cdn.example.net/a.png"),
    ],
)
def test_what_is_public_and_not_followed_may_be_handed_on(guard: AddressGuard, link: str) -> None:
    """Another host, scheme or port does no harm in the client's hands, and the image behind it is paid for."""
    assert not dangerous(guard, link)


@pytest.mark.parametrize(
    "link", ["https://gateway.example.com/images/a.png", "https://GATEWAY.example.com./x", "https://93.184.215.99/"]
)
@pytest.mark.parametrize("hosts", [("*",), ("gateway.example.com", "93.184.215.99"), ("*.theapi.app",)])
def test_this_gateway_is_never_asked_by_any_of_its_names(hosts: tuple[str, ...], link: str) -> None:
    guard = AddressGuard(hosts, private=False)
    guard.surroundings = OURS
    assert dangerous(guard, link)


@pytest.mark.parametrize("link", ["https://api.piapi.ai/v1/models", "https://Relay.example.net/files/a.png"])
def test_an_upstreams_host_is_asked_only_if_it_is_listed_by_its_name(link: str) -> None:
    """A wildcard does not name it. Its link may be handed on: it serves the image itself, to everybody."""
    for hosts in (("*",), ("*.piapi.ai", "*.example.net"), ("*", "*.piapi.ai", "*.relay.example.net")):
        guard = AddressGuard(hosts, private=False)
        guard.surroundings = OURS
        assert not dangerous(guard, link)
    named = AddressGuard(("*", "api.piapi.ai", "relay.example.net"), private=False)
    named.surroundings = OURS
    assert named.destination(link).endpoint.port == 443


async def test_an_address_of_this_machine_is_never_connected_to_be_it_public_or_not() -> None:
    guard = AddressGuard(("*",), private=False, is_ours=lambda address: address == "93.184.215.14")
    with pytest.raises(LinkForbidden, match="this machine's"):
        await guard.guarding(answering("93.184.215.15", "93.184.215.14"))("cdn.example.net", 443)
    with pytest.raises(LinkForbidden, match="this machine's"):
        guard.destination("https://93.184.215.14/")
    assert await guard.guarding(answering("93.184.215.15"))("cdn.example.net", 443)


async def test_on_premises_the_listeners_of_this_gateway_are_not_asked_either() -> None:
    """By their ports, since everything else on this machine may be: the storage may run on it."""
    guard = AddressGuard(("*",), private=True)
    guard.surroundings = OURS
    for address in ("127.0.0.1", "::1", "127.0.0.7", "0.0.0.0", "::ffff:127.0.0.1"):
        for port in (8400, 8401):
            with pytest.raises(LinkForbidden, match="this gateway"):
                await guard.guarding(answering(address))("localhost", port)
        assert await guard.guarding(answering(address))("localhost", 9000)
    assert await guard.guarding(answering("10.99.99.99"))("storage.lan", 8400)
    for link in ("http://relay.example.net:9000/a.png", "http://10.0.0.5/a.png", "http://nas/a.png"):
        assert guard.destination(link)


def test_which_addresses_are_this_machines() -> None:
    for address in ("127.0.0.1", "127.8.8.8", "::1", "0.0.0.0", "::"):
        assert is_of_this_machine(address)
    for address in ("192.0.2.1", "8.8.8.8", "2001:db8::1", "no address", ""):
        assert not is_of_this_machine(address)
