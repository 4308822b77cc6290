"""How hosts are connected to: proxies of the file and of the environment, authorities, certificates."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme

from gateway.config import Config, load
from gateway.config.connections import bypasses
from gateway.core.connection_options import ConnectionOptions, Proxy
from gateway.core.errors import ConfigError

KEYS = {"PIAPI_API_KEY": "one", "BACKUP_API_KEY": "two"}
FILE = "upstreams: {backup: {endpoints: [{url: https://a.example}, {url: https://b.inside.example}]}}\n"


def proxies(config: Config, upstream: str = "backup") -> list[str]:
    """The proxy of each endpoint, ``-`` for none."""
    return [str(one.options.proxy or "-") for one in config.upstreams[upstream].endpoints]


class TestProxies:
    def test_without_a_word_there_is_none_whatever_the_environment_says(self, load_text):
        config = load_text(FILE, {**KEYS, "HTTPS_PROXY": "http://env.example:1"})
        assert proxies(config) == ["-", "-"]
        assert config.outward == ConnectionOptions()
        assert [one for one in config.warnings if "HTTPS_PROXY" in one] == [
            "the environment sets HTTPS_PROXY, which is not used: write `proxy: env` to use it, or `proxy: none`"
        ]
        assert load_text("proxy: none\n", {**KEYS, "HTTPS_PROXY": "http://env.example:1"}).warnings == ()

    def test_the_files_own_is_everybodys(self, load_text):
        config = load_text(FILE + "proxy: http://p.example:3128\n", KEYS)
        assert proxies(config) == ["p.example:3128"] * 2
        assert proxies(config, "piapi") == ["p.example:3128"] * 2
        assert str(config.outward.proxy) == "p.example:3128"

    def test_an_upstream_may_have_another_or_none(self, load_text):
        text = """
            proxy: http://p.example:3128
            upstreams: {piapi: {proxy: none}, backup: {proxy: "http://q.example"}}
            """
        config = load_text(text, KEYS)
        assert (proxies(config), proxies(config, "piapi")) == (["q.example:80"], ["-", "-"])

    def test_images_and_webhooks_follow_the_first_upstream_that_has_one(self, load_text):
        config = load_text("upstreams: {backup: {proxy: 'http://q.example:8'}}\n", KEYS)
        assert str(config.outward.proxy) == "q.example:8"
        assert proxies(config, "piapi") == ["-", "-"]

    def test_hosts_that_need_none_are_left_out(self, load_text):
        config = load_text(FILE + "proxy: http://p.example:3128\nno_proxy: [inside.example]\n", KEYS)
        assert proxies(config) == ["p.example:3128", "-"]
        text = "proxy: http://p.example:3128\nupstreams: {backup: {no_proxy: ['*']}}\n"
        config = load_text(text, KEYS)
        assert (proxies(config), proxies(config, "piapi")) == (["-"], ["p.example:3128"] * 2)

    def test_user_and_password_are_secrets(self, load_text):
        config = load_text("proxy: 'http://ann:p%40ss@p.example:3128'\n", KEYS)
        assert config.outward.proxy == Proxy("p.example", 3128, "Basic YW5uOnBAc3M=")
        assert {"p@ss", "YW5uOnBAc3M="} <= config.secrets
        assert "YW5u" not in repr(config)

    @pytest.mark.parametrize(
        ("environ", "found"),
        [
            ({"HTTPS_PROXY": "http://env.example:1"}, ["env.example:1"] * 2),
            ({"https_proxy": "http://low.example:1", "HTTPS_PROXY": "http://up.example:1"}, ["low.example:1"] * 2),
            ({"ALL_PROXY": "http://all.example:1"}, ["all.example:1"] * 2),
            ({"HTTP_PROXY": "http://plain.example:1"}, ["-", "-"]),
            ({"HTTPS_PROXY": "env.example:1"}, ["env.example:1"] * 2),
            ({"HTTPS_PROXY": "http://env.example:1", "NO_PROXY": "inside.example,x"}, ["env.example:1", "-"]),
            ({"HTTPS_PROXY": "http://env.example:1", "no_proxy": "*"}, ["-", "-"]),
            ({"HTTPS_PROXY": " "}, ["-", "-"]),
            ({}, ["-", "-"]),
        ],
        ids=str,
    )
    def test_env_takes_the_environments(self, load_text, environ, found):
        config = load_text(FILE + "proxy: env\n", {**KEYS, **environ})
        assert proxies(config) == found
        assert config.warnings == ()

    def test_this_machine_is_never_behind_the_environments(self, load_text):
        text = "proxy: env\nupstreams: {backup: {endpoints: [{url: https://127.0.0.1:9}, {url: https://localhost}]}}"
        config = load_text(text, {**KEYS, "HTTPS_PROXY": "http://env.example:1"})
        assert proxies(config) == ["-", "-"]

    @pytest.mark.parametrize(
        "written",
        ["https://p.example", "socks5://p.example:1", "p.example:3128", "http://", "http://p.example/path",
         "http://ann:secret@", "http://p q", "yes", "http://p.example:99999"],
    )  # fmt: skip
    def test_what_is_no_proxy_is_told_without_being_repeated(self, faults, written):
        [line] = faults(f'proxy: "{written}"\n')
        assert line.startswith("config.yaml:1:8: proxy: ")
        assert "http://HOST:PORT" in line
        assert "secret" not in line

    def test_a_wrong_variable_is_named(self, faults):
        lines = faults("proxy: env\n", {**KEYS, "HTTPS_PROXY": "socks5://p.example:1"})
        assert all("the environment variable HTTPS_PROXY: " in line for line in lines)
        assert lines


class TestExceptions:
    @pytest.mark.parametrize(
        ("exception", "host", "port", "direct"),
        [
            ("example.com", "example.com", 443, True),
            (".example.com", "example.com", 443, True),
            ("*.example.com", "a.example.com", 443, True),
            ("example.com", "a.b.example.com", 443, True),
            ("example.com", "badexample.com", 443, False),
            ("Example.COM.", "example.com", 443, True),
            ("example.com:8443", "example.com", 8443, True),
            ("example.com:8443", "example.com", 443, False),
            ("10.0.0.0/8", "10.1.2.3", 443, True),
            ("10.0.0.0/8", "example.com", 443, False),
            ("10.1.2.3", "10.1.2.3", 443, True),
            ("::1", "::1", 443, True),
            ("[::1]:443", "::1", 443, True),
            ("fd00::/8", "fd12::1", 443, True),
            ("*", "anything", 1, True),
            ("", "example.com", 443, False),
            (".", "example.com", 443, False),
        ],
    )
    def test_as_no_proxy_is_commonly_read(self, exception, host, port, direct):
        assert bypasses([exception], host, port) is direct


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority, a certificate and its key, apart and together."""
    folder = tmp_path_factory.mktemp("pem")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    leaf = authority.issue_cert("gateway.example")
    leaf.private_key_and_cert_chain_pem.write_to_path(folder / "both.pem")
    leaf.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    leaf.private_key_pem.write_to_path(folder / "key.pem")
    (folder / "empty.pem").write_text("")
    return folder


class TestFiles:
    def written(self, pem: Path, text: str) -> Config:
        (pem / "config.yaml").write_text(text, encoding="utf-8")
        return load(pem / "config.yaml", KEYS)

    def test_paths_are_relative_to_the_file(self, pem):
        config = self.written(pem, "ca_file: ca.pem\nupstreams: {backup: {client_cert: ./both.pem, max_age: 1m}}\n")
        options = config.upstreams["backup"].endpoints[0].options
        assert options.tls.ca_files == (str(pem / "ca.pem"),)
        assert (options.tls.certificate, options.tls.key, options.max_age) == (str(pem / "both.pem"), "", 60)
        assert config.outward.tls.ca_files == config.upstreams["piapi"].endpoints[0].options.tls.ca_files
        assert config.upstreams["piapi"].endpoints[0].options.tls.certificate == ""

    def test_an_upstreams_own_authority_is_trusted_besides_and_by_it_alone(self, pem):
        (pem / "other.pem").write_bytes(trustme.CA().cert_pem.bytes())
        config = self.written(pem, "ca_file: ca.pem\nupstreams: {backup: {ca_file: other.pem}}\n")
        files = {name: config.upstreams[name].endpoints[0].options.tls.ca_files for name in ("piapi", "backup")}
        assert files == {"piapi": (str(pem / "ca.pem"),), "backup": (str(pem / "ca.pem"), str(pem / "other.pem"))}

    def test_a_renewed_file_is_another_set_up(self, pem):
        first = self.written(pem, "ca_file: ca.pem\n")
        assert self.written(pem, "ca_file: ca.pem\n").outward == first.outward
        (pem / "ca.pem").write_bytes(trustme.CA().cert_pem.bytes())
        assert self.written(pem, "ca_file: ca.pem\n").outward != first.outward

    @pytest.mark.parametrize(
        ("text", "place", "said"),
        [
            ("ca_file: gone.pem\n", ":1:10: ca_file: ", "cannot be read: No such file"),
            ("ca_file: empty.pem\n", ":1:10: ca_file: ", "is no PEM file of certificates"),
            ("ca_file: key.pem\n", ":1:10: ca_file: ", "is no PEM file of certificates"),
            ("upstreams: {backup: {ca_file: gone.pem}}\n", "upstreams.backup.ca_file: ", "cannot be read"),
            ("upstreams: {backup: {client_cert: cert.pem}}\n", "upstreams.backup.client_cert: ", "with its key"),
            ("upstreams: {backup: {client_key: key.pem}}\n", "upstreams.backup.client_key: ", "client_cert"),
            ("upstreams: {backup: {client_cert: cert.pem, client_key: gone}}\n", "backup.client_cert: ", "be read"),
        ],
    )
    def test_what_is_wrong_with_a_file_is_told_at_its_place(self, pem, text, place, said):
        with pytest.raises(ConfigError) as caught:
            self.written(pem, text)
        assert len(caught.value.problems) == 1
        assert place in caught.value.problems[0]
        assert said in caught.value.problems[0]

    def test_a_key_apart_from_its_certificate(self, pem):
        config = self.written(pem, "upstreams: {backup: {client_cert: cert.pem, client_key: key.pem}}\n")
        assert config.upstreams["backup"].endpoints[0].options.tls.key == str(pem / "key.pem")


def test_trusted_proxies_are_networks(load_text, faults):
    config = load_text("trusted_proxies: [127.0.0.1, 10.0.0.0/8, 'fd00::/8']\n", KEYS)
    assert [str(one) for one in config.trusted_proxies] == ["127.0.0.1/32", "10.0.0.0/8", "fd00::/8"]
    [line] = faults("trusted_proxies: [10.0.0.1/8]\n", KEYS)
    assert "trusted_proxies[0]: expected an address or a network" in line
