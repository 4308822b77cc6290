"""Everything that is wrong with a file is said at once, each at its place, with words that help."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import load
from gateway.core.errors import ConfigError


def test_all_problems_at_once_sorted_by_place(faults):
    found = faults("""\
        listen: 127.0.0.1:8400
        workrs: 2
        drain: 30
        upstreams:
          piapi:
            endpoints:
              - url: https://api.piapi.ai
              - url: ftp://files.example.com
            keys: ["${NOT_SET}"]
        models:
          gpt-4o:
            targets:
              - {upstream: piapy, price: {input: -1}}
          mine:
            targets:
              - {upstream: backpu}
        keys:
          - {name: alice, key: one, rpm: 0}
          - {name: bob, key: two, team: ops, rpm: 5}
          - {name: bob, key: two, budget: 50/year}
          - {name: bob, key: two}
        listen: 127.0.0.1:9
        """)
    assert found == [
        "config.yaml:2:1: workrs: unknown key; did you mean 'workers'?",
        "config.yaml:3:8: drain: expected a duration with its unit, such as 30s (units: ms, s, m, h, d)",
        "config.yaml:8:14: upstreams.piapi.endpoints[1].url: "
        "expected an http or https URL such as https://api.piapi.ai",
        "config.yaml:9:12: upstreams.piapi.keys[0]: "
        "the environment variable NOT_SET is not set; set it, or write ${NOT_SET:-default}",
        "config.yaml:13:20: models.gpt-4o.targets[0].upstream: there is no such upstream; did you mean 'piapi'?",
        "config.yaml:13:42: models.gpt-4o.targets[0].price.input: expected an amount from 0 to 1000000000 US dollars",
        "config.yaml:16:20: models.mine.targets[0].upstream: there is no such upstream; did you mean 'backup'?",
        "config.yaml:18:34: keys[0].rpm: expected a whole number from 1 up",
        "config.yaml:20:12: keys[2].name: another key has this name; names must differ",
        "config.yaml:20:35: keys[2].budget: "
        "expected AMOUNT/day, /week, /month or /total in US dollars, such as 50/month",
        "config.yaml:21:12: keys[3].name: another key has this name; names must differ",
        "config.yaml:21:22: keys[3].key: another key has the same value; each needs its own",
        "config.yaml:22:1: listen: duplicate key; it is already on line 1",
    ]


class TestTheFileItself:
    def test_it_is_not_there(self, tmp_path):
        missing = tmp_path / "nothing.yaml"
        with pytest.raises(ConfigError) as caught:
            load(missing, {})
        assert caught.value.problems == [f"{missing}:1:1: cannot be read: No such file or directory"]

    def test_it_is_a_directory(self, tmp_path):
        with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
            load(tmp_path, {})

    def test_its_name_is_no_name(self):
        with pytest.raises(ConfigError, match="not a usable path"):
            load(Path("a\0b"), {})

    def test_it_never_ends(self):
        with pytest.raises(ConfigError, match="is larger than"):
            load(Path("/dev/zero"), {})

    def test_it_is_not_utf_8(self, faults):
        assert faults("# é\nstore: ü\xff".encode("latin-1")) == [
            "config.yaml:1:3: not UTF-8 text; save the file as UTF-8"
        ]
        assert faults("# é\nstore: é".encode() + b"\xff") == ["config.yaml:2:9: not UTF-8 text; save the file as UTF-8"]

    def test_a_byte_order_mark_is_fine(self, load_text):
        assert load_text(b"\xef\xbb\xbfdrain: 1s").drain == 1

    def test_it_is_json(self, load_text):
        assert load_text('{\n\t"drain": "5s",\n\t"log": {"level": "error"}\n}').drain == 5


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[1, 2]", "1:1: the file must be a mapping, such as 'listen: 127.0.0.1:8400'"),
        ("just text", "1:1: the file must be a mapping, such as 'listen: 127.0.0.1:8400'"),
        ("log:\n\tlevel: info", "2:1: not valid YAML: while scanning for the next token, "
         "found character that cannot start any token. YAML allows no tab in the indentation: use spaces"),
        ("keys: [${A}]", "1:9: not valid YAML: while parsing a flow sequence, "
         "did not find expected ',' or ']'. Inside [ ] and { }, quote the reference: \"${NAME}\""),
        ("drain: 1s\n  log: x", "2:6: not valid YAML: mapping values are not allowed in this context"),
        ("drain: 1s\n---\ndrain: 2s", "2:1: a second document begins here; the file may hold only one"),
        ('store: "\x07"', "1:9: the character U+0007 is not allowed in YAML"),
        ("log: {level: info, level: debug}", "1:20: log.level: duplicate key; it is already on line 1"),
        ("log:\n  'level': info\n  level: debug", "3:3: log.level: duplicate key; it is already on line 2"),
        ("drain: !!python/name:os.system 1s", "1:8: drain: YAML tags have no meaning here; leave it out"),
        ("log: *nowhere", "1:6: log: no anchor &nowhere is complete above this alias"),
        ("? [a, b]\n: 1", "1:3: a key must be text"),
        ("log: {<<: [1]}", "1:12: log.<<: only mappings can be merged"),
        ("drain: ${DRAIN", "1:8: drain: write ${NAME} or ${NAME:-default}, or $${ for a literal ${"),
        ("admin: 3", "1:8: admin: expected a mapping, such as {name: value}"),
        ("upstreams: [piapi]", "1:12: upstreams: expected a mapping, such as {name: value}"),
        ("keys: {alice: x}", "1:7: keys: expected a list, such as [{name: alice, key: …}]"),
        ("models: {x: }", "1:13: models.x: expected a mapping, such as {name: value}"),
        ("models: {x: {}}", "1:13: models.x.targets: is missing; give it a value"),
        ("models: {x: {targets: []}}", "1:23: models.x.targets: expected at least one entry"),
        ("models: {'a*b': {targets: [{upstream: piapi}]}}",
         "1:10: models.a*b: '*' may only end a model's name, such as gpt-4o*"),
        ("models: {x: {targets: [{upstream: backup, operation: task}]}}",
         "1:54: models.x.targets[0].operation: only an upstream of the dialect piapi has tasks"),
        ("models: {x: {targets: [{upstream: piapi, model: y*}]}}",
         "1:49: models.x.targets[0].model: '*' stands for what the model's own '*' does, but it has none"),
        ("models: {x: {targets: [{upstream: piapi, operation: sing}]}}",
         "1:53: models.x.targets[0].operation: expected chat, messages, responses, embeddings, completions, "
         "moderations, speech, transcriptions, translations, images, images_async or task"),
        ("models: {x: {targets: [{upstream: backup, operation: messages}]}}",
         "1:54: models.x.targets[0].operation: only an upstream of the dialect anthropic has messages"),
        ("{upstreams: {a: {dialect: anthropic, endpoints: [{url: https://a.example}], keys: [k-000000000000]}}, "
         "models: {x: {targets: [{upstream: a, operation: embeddings}]}}}",
         "1:151: models.x.targets[0].operation: an upstream of the dialect anthropic has nothing but messages"),
        ("upstreams: {spare: {dialect: openai}}",
         "1:13: upstreams.spare: an upstream that is not built in needs dialect, endpoints and keys; "
         "add endpoints, keys"),
        ("upstreams: {'a b': {}}",
         '1:13: upstreams."a b": expected a name of 1 to 64 letters, digits, dots, dashes or underscores'),
        ("upstreams: {piapi: {keys: [same, {value: same}]}}",
         "1:42: upstreams.piapi.keys[1].value: this key is in the pool twice; give each one once"),
        ("upstreams: {piapi: {keys: [a, {name: key-1, value: b}]}}",
         "1:38: upstreams.piapi.keys[1].name: another key of this pool has that name; names must differ"),
        ("upstreams: {piapi: {keys: [12345]}}",
         "1:28: upstreams.piapi.keys[0].value: expected text; put it in quotes"),
        ("upstreams: {piapi: {endpoints: [{url: http://a}, {url: http://A:80/}]}}",
         "1:56: upstreams.piapi.endpoints[1].url: this endpoint is listed twice; give each one once"),
        ("upstreams: {piapi: {endpoints: []}}", "1:32: upstreams.piapi.endpoints: expected at least one entry"),
        ("upstreams: {piapi: {tasks: {poll: 20s}}}",
         "1:28: upstreams.piapi.tasks.poll_max: must not be shorter than tasks.poll"),
        ("listen: 0.0.0.0:8400\nauth: none",
         "2:7: auth: 'none' is only allowed while 'listen' is on loopback; write auto or required"),
        ("admin: {listen: 0.0.0.0:8401}",
         "1:8: admin.key: a key is needed, because admin.listen is not on loopback"),
        ("listen: 127.0.0.1:8401", "1:9: listen: listen and admin.listen must be different addresses"),
        ("listen: 0.0.0.0:9\nadmin: {listen: 127.0.0.1:9}",
         "2:17: admin.listen: listen and admin.listen must be different addresses"),
        ("budget_alerts: {webhook: http://127.0.0.1/}",
         "1:16: budget_alerts.secret: a secret is needed to sign what goes to the webhook"),
        ("webhook_secret: abc",
         "1:17: webhook_secret: PiAPI can only call back if images.public_url says where; set it too"),
        ("failover: {breaker: {eject: 10m}}", "1:21: failover.breaker.eject_max: must not be shorter than eject"),
        ("keys: [{name: alice, key: ''}]",
         "1:27: keys[0].key: is empty; a key that lets nobody in must be removed instead"),
        ("keys: [{name: alice}]", "1:8: keys[0].key: is missing; give it a value"),
        ("keys: [{name: other, key: k}]",
         "1:15: keys[0].name: 'other' has a meaning of its own in metrics; choose another"),
        ("admin: {key: 0-both-the-same-0}\nkeys: [{name: alice, key: 0-both-the-same-0}]",
         "2:27: keys[0].key: this is the admin key; a virtual key must differ from it"),
        ("keys: [{name: alice, key: k, models: []}]", "1:38: keys[0].models: expected at least one entry"),
        ("teams: {growth: {}}\nkeys: [{name: alice, key: k, team: grwth}]",
         "2:36: keys[0].team: there is no such team; did you mean 'growth'?"),
        ("models: {x: {targets: [{upstream: backup, operation: images_async}]}}",
         "1:54: models.x.targets[0].operation: only an upstream of the dialect piapi has tasks"),
        ("models: {x: {targets: [{upstream: backup, shutdown: soon}]}}",
         "1:53: models.x.targets[0].shutdown: expected a day, such as 2027-01-14"),
        ("models: {x: {targets: [{upstream: backup, tasks: {a: {fields: {}}}}]}}",
         "1:50: models.x.targets[0].tasks: only a target whose operation is task has task types"),
        ("models: {x: {targets: [{upstream: piapi, operation: task, tasks: {a: {fields: {scale: {}}, ratio: scal}}}]}}",
         "1:70: models.x.targets[0].tasks.a: ratio is 'scal', which is not among its fields; did you mean 'scale'?"),
        ("models: {x: {targets: [{upstream: piapi, operation: task, tasks: {a: {fields: {b: {}}, pictures: [b]}}}]}}",
         "1:70: models.x.targets[0].tasks.a: 'b' takes pictures, so its kind is image or images"),
        ("models: {x: {targets: [{upstream: piapi, operation: task, tasks: {a: {fields: {b: {}}, width: b}}}]}}",
         "1:70: models.x.targets[0].tasks.a: width and height go together"),
        ("models: {x: {targets: [{upstream: piapi, operation: task, tasks: {a: {fields: {}, price: {steps: {n: 1}}}}}]}}",  # noqa: E501
         "1:99: models.x.targets[0].tasks.a.price.steps.n: expected a number above 0"),
        ("'[key]': 1", None),
        ('"a\\nb": 1', None),
    ],
)  # fmt: skip
def test_one_problem_and_its_place(faults, text, problem):
    (found,) = faults(text)
    if problem is None:
        assert found.startswith("config.yaml:1:1: ")
        assert "unknown key; " in found
    else:
        assert found == f"config.yaml:{problem}"


def test_positions_count_characters_not_bytes(faults):
    assert faults("log: {format: text, 'ключ': 1}")[0].startswith("config.yaml:1:21: log.ключ: unknown key")


def test_a_team_needs_no_declaration_until_there_are_any(load_text):
    assert load_text("keys: [{name: alice, key: k, team: growth}]").keys[0].team == "growth"


def test_an_invalid_upstream_is_not_also_called_unknown(faults):
    (found,) = faults("upstreams: {spare: {dialect: openapi}}\nmodels: {x: {targets: [{upstream: spare}]}}")
    assert "spare.dialect: expected piapi, openai or anthropic" in found


class TestTheEnvironment:
    def test_a_bad_value_names_its_variable_but_is_not_shown(self, faults):
        found = faults("", {"PIAPI_API_KEY": "hunter2 hunter2", "BACKUP_BASE_URL": "swordfish"})
        assert [problem.partition(": ")[2] for problem in found] == [
            "upstreams.piapi.keys[0].value: expected a key: visible ASCII characters without blanks, at most 512"
            " (it comes from PIAPI_API_KEY)",
            "upstreams.backup.endpoints[0].url: expected an http or https URL such as https://api.piapi.ai"
            " (it comes from BACKUP_BASE_URL)",
        ]
        assert all(problem.startswith("catalogue.yaml:") for problem in found)

    def test_what_the_file_overrides_is_not_looked_at(self, load_text):
        config = load_text(
            "upstreams: {backup: {endpoints: [{url: 'http://a'}]}}",
            {"BACKUP_BASE_URL": "no URL", "BACKUP_API_KEY": "k"},
        )
        assert config.upstreams["backup"].endpoints[0].url == "http://a"

    def test_an_unset_variable_is_named_once_and_nothing_follows_from_it(self, faults):
        (found,) = faults("admin: {listen: 0.0.0.0:8401, key: '${ADMIN}'}")
        assert found.startswith("config.yaml:1:36: admin.key: the environment variable ADMIN is not set")

    def test_a_comment_is_not_a_use(self, load_text):
        assert load_text("# key: ${NOT_SET}\ndrain: 1s # ${NOT_SET}").drain == 1


def test_no_problem_shows_a_secret(faults):
    found = faults(
        """\
        admin: {key: hunter2 é}
        store: mysql://user:hunter2@host/db
        shared_state: redis:hunter2
        upstreams: {piapi: {endpoints: [{url: "https://u:hunter2@host"}], keys: [{value: hunter2 é}]}}
        keys: [{name: alice, key: "hunter2 é"}, {name: bob, key: "${K}"}, {name: eve, key: "${K}"}]
        """,
        {"K": "hunter2"},
    )
    assert len(found) == 7
    assert "hunter2" not in "\n".join(found)


def test_the_error_carries_no_trace_of_the_values(load_text):
    with pytest.raises(ConfigError) as caught:
        load_text("keys: [{name: alice, key: 'hunter2 hunter2'}]")
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
