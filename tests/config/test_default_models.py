"""The default route of models without an entry, and the default models of requests without one."""

from __future__ import annotations

import pytest

from gateway.config import Config

KEYS = {"PIAPI_API_KEY": "p-1", "BACKUP_API_KEY": "b-1"}


def names(config: Config) -> list[str]:
    return [upstream.name for upstream in config.default_route]


class TestTheDefaultRoute:
    def test_is_piapi_then_the_backup(self, load_text):
        assert names(load_text("", KEYS)) == ["piapi", "backup"]
        assert names(load_text("default_route:\n", KEYS)) == ["piapi", "backup"]

    def test_leaves_out_who_has_no_key(self, load_text):
        assert names(load_text("", {"BACKUP_API_KEY": "b-1"})) == ["backup"]
        assert names(load_text("")) == []

    def test_is_in_the_order_of_the_file(self, load_text):
        mine = "upstreams: {mine: {dialect: openai, endpoints: [{url: 'https://mine.example'}], keys: [k]}}\n"
        assert names(load_text(mine + "default_route: [mine, backup]", KEYS)) == ["mine", "backup"]
        assert names(load_text("default_route: []", KEYS)) == []

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            (
                "default_route: [piapi, bakcup]",
                "1:24: default_route[1]: there is no such upstream; did you mean 'backup'?",
            ),
            ("default_route: [piapi, piapi]", "1:24: default_route[1]: is named twice; each upstream is asked once"),
            ("default_route: piapi", "1:16: default_route: expected a list, such as [a, b]"),
            ("default_route: [1]", "1:17: default_route[0]: "),
        ],
    )
    def test_is_of_upstreams_that_exist(self, faults, text, problem):
        [found] = faults(text, KEYS)
        assert found.startswith(f"config.yaml:{problem}")

    def test_of_a_broken_upstream_only_that_is_told(self, faults):
        [found] = faults("upstreams: {mine: {dialect: openai}}\ndefault_route: [mine]", KEYS)
        assert ": upstreams.mine: " in found
        [found] = faults("upstreams: {mine: {dialect: none}}\ndefault_route: [mine]", KEYS)
        assert ": upstreams.mine.dialect: " in found


class TestDefaultModels:
    def test_are_none_unless_set(self, load_text):
        assert load_text("").default_models == {}
        assert load_text("default_models: {chat: '', images: ''}").default_models == {}

    def test_are_of_the_catalogue_or_the_file_by_any_of_their_names(self, load_text):
        text = """
            models: {our-*: {targets: [{upstream: piapi}]}}
            default_models: {chat: openai/gpt-4o, images: gpt-4o-image-preview, embeddings: our-embedding}
        """
        assert load_text(text).default_models == {
            "chat": "openai/gpt-4o",
            "images": "gpt-4o-image-preview",
            "embeddings": "our-embedding",
        }

    def test_of_chat_may_be_one_that_is_relayed(self, load_text):
        assert load_text("default_models: {chat: gpt-7-nova, embeddings: text-embedding-9}").default_models["chat"]

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            (
                "default_models: {images: gpt-image-22}",
                "1:26: default_models.images: there is no such model; did you mean 'gpt-image-2'?",
            ),
            ("default_models:\n  images: gpt-4o", "2:11: default_models.images: 'gpt-4o' makes no images"),
            (
                "default_models: {chat: gpt-4oo}\ndefault_route: []",
                "1:24: default_models.chat: there is no such model, and default_route relays none; "
                "did you mean 'gpt-4o'?",
            ),
            (
                "default_models: {chat: 'gpt-*'}",
                "1:24: default_models.chat: expected one model's name, so without a '*'",
            ),
            ("default_models: {chat: 'a b'}", "1:24: default_models.chat: expected a model's name"),
            ("default_models: {chats: gpt-4o}", "1:18: default_models.chats: unknown key; did you mean 'chat'?"),
            ("default_models: gpt-4o", "1:17: default_models: expected a mapping"),
        ],
    )
    def test_must_be_there(self, faults, text, problem):
        [found] = faults(text, KEYS)
        assert found.startswith(f"config.yaml:{problem}")
