"""Counting a request by OpenAI's rules; a word counts as one token here, so that the sums can be followed."""

from __future__ import annotations

from gateway.wire.tokens import count_input, rough_tokens, text_of_request


def words(text: str) -> int:
    return len(text.split())


def test_each_message_costs_three_and_the_answer_is_primed_with_three():
    hello = {"role": "user", "content": "hello there you"}
    assert count_input({"messages": [hello]}, words) == 3 + (3 + 1 + 3)
    assert count_input({"messages": [hello, hello]}, words) == 3 + 2 * (3 + 1 + 3)
    assert count_input({"messages": [{"role": "assistant", "content": None}]}, words) == 3 + (3 + 1)


def test_a_name_costs_one_beside_its_text():
    assert count_input({"messages": [{"role": "user", "name": "ada", "content": "hi"}]}, words) == 3 + (3 + 1 + 1 + 2)


def test_pictures_cost_by_tiles_and_their_bytes_cost_nothing():
    def picture(**detail: str) -> dict:
        return {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A A " * 1000, **detail}}

    for part, tokens in [
        (picture(detail="low"), 85),
        (picture(detail="high"), 765),
        (picture(detail="auto"), 765),
        (picture(), 765),
        ({"type": "file", "file": {"file_data": "a b c"}}, 0),
    ]:
        body = {"messages": [{"role": "user", "content": [part, {"type": "text", "text": "look here"}, part]}]}
        assert count_input(body, words) == 3 + 3 + 1 + 2 + 2 * tokens


def test_every_text_the_model_reads_is_counted():
    body = {
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "no way"}], "refusal": "never"},
            {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "assistant", "function_call": {"name": "g", "arguments": "[]"}},
        ],
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "functions": [],
        "response_format": {"type": "json_object"},
        "metadata": {"not": "read"},
    }
    assert text_of_request(body) == [
        *("system", "be brief", "assistant", "never", "no way"),
        *("assistant", '[{"id":"c","function":{"name":"f","arguments":"{}"}}]'),
        *("assistant", '{"name":"g","arguments":"[]"}'),
        '[{"type":"function","function":{"name":"f"}}]',
        '{"type":"json_object"}',
    ]


def test_a_rough_guess_is_a_quarter_rounded_up():
    assert [rough_tokens(size) for size in (0, 1, 4, 5, 400)] == [0, 1, 1, 2, 100]
