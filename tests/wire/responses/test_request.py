"""Requests of the Responses API as chats: what is carried over, what is refused by name, what is noted."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.core.errors import ClientError
from gateway.wire.responses.request import chat_document, read_request

IMAGE = "data:image/png;base64,AAAA"
CUSTOM: dict[str, Any] = {
    "type": "custom",
    "name": "patch",
    "format": {"type": "grammar", "syntax": "lark", "definition": "x"},
}


def chat(**fields: Any) -> dict[str, Any]:
    """A request with these fields, as a chat."""
    request = read_request({"model": "gpt-4o", "input": "Hi", **fields})
    return chat_document(request, [], request.items).body


def messages(*items: Any, **fields: Any) -> list[Any]:
    found: list[Any] = chat(input=list(items), **fields)["messages"]
    return found


def ignored(**fields: Any) -> list[str]:
    request = read_request({"model": "gpt-4o", "input": "Hi", **fields})
    return chat_document(request, [], request.items).ignored


def refused(**fields: Any) -> tuple[int, str | None, str | None]:
    with pytest.raises(ClientError) as error:
        chat(**fields)
    return error.value.status, error.value.code, error.value.param


class TestFields:
    def test_those_that_a_chat_has_pass_as_they_came_and_so_do_new_ones(self) -> None:
        same = {
            "temperature": 0.1,
            "top_p": 0.2,
            "service_tier": "flex",
            "prompt_cache_key": "k",
            "prompt_cache_retention": "24h",
            "safety_identifier": "s",
            "user": "u",
            "newer_than_this": {"a": [1]},
        }
        assert chat(**same) == {"model": "gpt-4o", **same, "messages": [{"role": "user", "content": "Hi"}]}

    def test_those_with_another_name_in_a_chat(self) -> None:
        form = {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True, "description": None}
        document = chat(
            max_output_tokens=9,
            reasoning={"effort": "low"},
            text={"verbosity": "low", "format": form},
            top_logprobs=2,
        )
        assert document["max_completion_tokens"] == 9
        assert document["reasoning_effort"] == "low"
        assert document["verbosity"] == "low"
        schema = {"name": "n", "schema": {"type": "object"}, "strict": True}
        assert document["response_format"] == {"type": "json_schema", "json_schema": schema}
        assert (document["logprobs"], document["top_logprobs"]) == (True, 2)
        assert chat(text={"format": {"type": "json_object"}})["response_format"] == {"type": "json_object"}
        assert "response_format" not in chat(text={"format": {"type": "text"}})
        assert chat(include=["message.output_text.logprobs"])["logprobs"] is True

    def test_those_that_are_the_gateways_do_not_pass(self) -> None:
        document = chat(store=True, metadata={"a": "b"}, include=[], truncation="disabled", background=False, n=1)
        assert document.keys() == {"model", "messages"}

    @pytest.mark.parametrize(
        ("fields", "told"),
        [
            ({"model": None}, (400, "missing_required_parameter", "model")),
            ({"model": 7}, (400, "invalid_type", "model")),
            ({"input": None}, (400, "missing_required_parameter", "input")),
            ({"input": []}, (400, "missing_required_parameter", "input")),
            ({"input": 7}, (400, "invalid_type", "input")),
            ({"stream": "yes"}, (400, "invalid_type", "stream")),
            ({"max_output_tokens": 0}, (400, "invalid_value", "max_output_tokens")),
            ({"top_logprobs": 21}, (400, "invalid_value", "top_logprobs")),
            ({"include": "all"}, (400, "invalid_type", "include")),
            ({"truncation": "some"}, (400, "invalid_value", "truncation")),
            ({"prompt": {"id": "pmpt_1"}}, (400, "unsupported_parameter", "prompt")),
            ({"conversation": "conv_1"}, (404, "conversation_not_found", "conversation")),
            ({"conversation": {"id": "conv_1"}}, (404, "conversation_not_found", "conversation")),
            ({"conversation": 1}, (400, "unsupported_parameter", "conversation")),
            ({"messages": []}, (400, "unsupported_parameter", "messages")),
            ({"n": 2}, (400, "unsupported_parameter", "n")),
            ({"background": True, "store": False}, (400, "invalid_value", "background")),
            ({"reasoning": {"budget": 3}}, (400, "unsupported_parameter", "reasoning.budget")),
            ({"text": {"format": {}}}, (400, "missing_required_parameter", "text.format.type")),
            ({"text": {"format": {"type": "json_schema"}}}, (400, "missing_required_parameter", "text.format.name")),
            ({"tools": {}}, (400, "invalid_type", "tools")),
            ({"tools": [{}]}, (400, "missing_required_parameter", "tools[0].type")),
            ({"tools": [{"type": "function"}]}, (400, "missing_required_parameter", "tools[0].name")),
            *(
                (
                    {"tools": [{"type": "function", "name": "f"}, {"type": kind}]},
                    (400, "unsupported_tool", "tools[1].type"),
                )
                for kind in ("web_search", "web_search_preview_2025_03_11", "file_search", "code_interpreter", "mcp")
            ),
            ({"tools": [{"type": "computer_use_preview"}]}, (400, "unsupported_tool", "tools[0].type")),
            (
                {"tools": [{"type": "image_generation", "partial_images": 9}]},
                (400, "invalid_value", "tools[0].partial_images"),
            ),
            (
                {"tools": [{"type": "image_generation", "input_image_mask": {"file_id": ""}}]},
                (400, "invalid_value", "tools[0].input_image_mask"),
            ),
            ({"tools": [CUSTOM]}, (400, "unsupported_value", "tools[0].format")),
            ({"tools": 5}, (400, "invalid_type", "tools")),
            ({"tools": [5]}, (400, "invalid_type", "tools[0]")),
            ({"tool_choice": 5}, (400, "invalid_type", "tool_choice")),
            ({"input": [{"role": "user", "content": "x", "type": []}]}, (400, "invalid_type", "input[0].type")),
            (
                {"input": [{"type": "function_call_output", "call_id": [], "output": "x"}]},
                (400, "invalid_type", "input[0].call_id"),
            ),
            (
                {"input": [{"type": "function_call", "call_id": {}, "name": "f", "arguments": "", "status": "failed"}]},
                (400, "invalid_type", "input[0].call_id"),
            ),
            ({"tool_choice": {"type": "web_search"}}, (400, "unsupported_tool", "tool_choice.type")),
            ({"tool_choice": {"type": "function"}}, (400, "missing_required_parameter", "tool_choice.name")),
            ({"text": {"newer": 1}}, (400, "unsupported_parameter", "text.newer")),
            ({"reasoning": {"newer": 1}}, (400, "unsupported_parameter", "reasoning.newer")),
        ],
        ids=str,
    )
    def test_what_cannot_be_is_refused_by_name(self, fields: dict[str, Any], told: tuple[int, str, str]) -> None:
        assert refused(**fields) == told

    def test_words_newer_than_this_gateway_are_the_upstreams_to_judge(self) -> None:
        tool = {"type": "function", "name": "f", "parameters": {}}
        assert chat(tools=[tool], tool_choice="when_sure")["tool_choice"] == "when_sure"
        assert "response_format" not in chat(text={"format": {"type": "text"}})
        newer = {"type": "text", "newer": 1}
        assert chat(text={"format": newer})["response_format"] == newer
        allowed = {"type": "allowed_tools", "mode": "when_sure", "tools": [{"type": "function", "name": "f"}]}
        assert chat(tools=[tool], tool_choice=allowed)["tool_choice"] == "when_sure"
        odd = {"type": "message", "role": "user", "content": "x", "status": ["odd"]}
        assert chat(input=[odd])["messages"] == [{"role": "user", "content": "x"}]

    def test_what_has_no_effect_is_named(self) -> None:
        assert ignored() == []
        assert ignored(
            truncation="auto",
            max_tool_calls=3,
            include=["reasoning.encrypted_content", "message.output_text.logprobs"],
            stream_options={"include_obfuscation": True},
            context_management=[{"type": "compaction"}],
        ) == [
            *("context_management", "max_tool_calls", "include reasoning.encrypted_content", "truncation"),
            "stream_options.include_obfuscation",
        ]
        assert ignored(stream_options={"newer": 1}) == ["stream_options.newer"]

    def test_fields_of_items_that_a_chat_has_no_place_for_are_named(self) -> None:
        call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
        output = {"type": "function_call_output", "call_id": "c", "output": "x"}
        assert ignored(input=[{**call, "newer": 1}, {**output, "newest": 2, "absent": None}]) == [
            *("input newer", "input newest"),
        ]
        answered = {"type": "message", "id": "msg_1", "status": "completed", "phase": "final_answer"}
        told = {**answered, "role": "assistant", "content": [{"type": "output_text", "text": "a", "annotations": []}]}
        assert ignored(input=[{**call, "id": "fc_1", "status": "completed"}, output, told]) == []

    def test_the_answer_repeats_what_was_asked(self) -> None:
        request = read_request(
            {
                "model": "gpt-4o",
                "input": "Hi",
                "tools": [{"type": "function", "name": "f"}],
                "store": False,
                "top_p": 0.5,
            }
        )
        assert request.asked["tools"] == [
            {"type": "function", "name": "f", "description": None, "parameters": None, "strict": None}
        ]
        assert (request.asked["store"], request.asked["top_p"], request.store) == (False, 0.5, False)
        assert read_request({"model": "gpt-4o", "input": "Hi"}, keeps=False).store is False


class TestTools:
    def test_functions_and_custom_tools(self) -> None:
        function = {
            "type": "function",
            "name": "f",
            "description": "d",
            "parameters": {"type": "object"},
            "strict": None,
        }
        document = chat(model="gpt-5.1", tools=[function, CUSTOM], parallel_tool_calls=False)
        assert document["tools"] == [
            {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}},
            {
                "type": "custom",
                "custom": {
                    "name": "patch",
                    "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "x"}},
                },
            },
        ]
        assert document["parallel_tool_calls"] is False

    @pytest.mark.parametrize("model", ["claude-sonnet-4", "openai/gpt-4.1", "o3", "o4-mini", "deepseek-chat", "gpt-4o"])
    def test_a_grammar_is_refused_where_the_model_cannot_write_by_it(self, model: str) -> None:
        assert refused(model=model, tools=[CUSTOM]) == (400, "unsupported_value", "tools[0].format")

    def test_a_choice(self) -> None:
        tools = [{"type": "function", "name": name} for name in ("f", "g")]
        assert chat(tools=tools, tool_choice="required")["tool_choice"] == "required"
        named = chat(tools=tools, tool_choice={"type": "function", "name": "g"})["tool_choice"]
        assert named == {"type": "function", "function": {"name": "g"}}
        spaced = [{"type": "namespace", "name": "crm", "tools": tools}]
        choice = {"type": "function", "name": "g", "namespace": "crm", "newer": 1}
        assert chat(tools=spaced, tool_choice=choice)["tool_choice"] == {
            **named,
            "function": {"name": "crm__g"},
            "newer": 1,
        }
        allowed = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "g"}]}
        document = chat(tools=tools, tool_choice=allowed)
        assert (document["tool_choice"], [tool["function"]["name"] for tool in document["tools"]]) == (
            "required",
            ["g"],
        )

    def test_without_tools_there_is_no_choice(self) -> None:
        assert chat(tools=[], tool_choice="auto", parallel_tool_calls=True).keys() == {"model", "messages"}


class TestItems:
    def test_messages(self) -> None:
        assert messages(
            {"role": "system", "content": "s"},
            {"role": "developer", "content": [{"type": "input_text", "text": "d"}]},
            {
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}],
            },
            {
                "type": "message",
                "id": "msg_1",
                "status": "completed",
                "role": "assistant",
                "content": [
                    {"type": "output_text", "text": "x", "annotations": []},
                    {"type": "output_text", "text": "y"},
                ],
            },
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
            instructions="i",
        ) == [
            {"role": "system", "content": "i"},
            {"role": "system", "content": "s"},
            {"role": "developer", "content": "d"},
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            {"role": "assistant", "content": "xy"},
            {"role": "assistant", "content": None, "refusal": "no"},
        ]

    def test_a_model_that_is_not_openais_knows_no_developer(self) -> None:
        assert messages({"role": "developer", "content": "d"}, model="claude-opus-4")[0]["role"] == "system"

    def test_pictures_files_and_parts_that_are_newer(self) -> None:
        [message] = messages(
            {
                "role": "user",
                "content": [
                    {"type": "input_image", "image_url": IMAGE, "detail": "high"},
                    {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA"},
                    {"type": "input_file", "file_url": "https://example.com/docs/b.pdf?x=1"},
                    {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
                    {"type": "input_smell", "smell": "rose"},
                ],
            }
        )
        assert message["content"] == [
            {"type": "image_url", "image_url": {"url": IMAGE, "detail": "high"}},
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA", "filename": "a.pdf"}},
            {"type": "file", "file": {"file_data": "https://example.com/docs/b.pdf?x=1", "filename": "b.pdf"}},
            {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
            {"type": "input_smell", "smell": "rose"},
        ]

    def test_calls_in_a_row_are_one_message_and_outputs_stand_behind_it_wherever_they_came(self) -> None:
        def call(id: str) -> dict[str, Any]:
            return {"type": "function_call", "call_id": id, "name": "f", "arguments": "{}"}

        def output(id: str) -> dict[str, Any]:
            return {"type": "function_call_output", "call_id": id, "output": f"of {id}"}

        said = {"role": "assistant", "content": "I look."}
        found = messages(
            said,
            call("a"),
            call("b"),
            {"role": "user", "content": "and?"},
            output("b"),
            output("a"),
            call("c"),
            output("c"),
        )
        assert [message["role"] for message in found] == ["assistant", "tool", "tool", "user", "assistant", "tool"]
        assert [one["id"] for one in found[0]["tool_calls"]] == ["a", "b"]
        assert found[0]["content"] == "I look."
        assert [message["tool_call_id"] for message in found if message["role"] == "tool"] == ["b", "a", "c"]

    def test_what_was_said_between_a_call_and_its_output_joins_the_call(self) -> None:
        found = messages(
            {"type": "custom_tool_call", "call_id": "a", "name": "p", "input": "x"},
            {"role": "assistant", "content": "Wait."},
            {"type": "custom_tool_call_output", "call_id": "a", "output": "y"},
        )
        assert found == [
            {
                "role": "assistant",
                "content": "Wait.",
                "tool_calls": [{"id": "a", "type": "custom", "custom": {"name": "p", "input": "x"}}],
            },
            {"role": "tool", "tool_call_id": "a", "content": "y"},
        ]

    def test_a_picture_in_an_output_is_shown_behind_all_outputs(self) -> None:
        found = messages(
            {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"},
            {"type": "function_call", "call_id": "b", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "a", "output": [{"type": "input_image", "image_url": IMAGE}]},
            {"type": "function_call_output", "call_id": "b", "output": [{"type": "input_text", "text": "t"}]},
        )
        assert [message["role"] for message in found] == ["assistant", "tool", "tool", "user"]
        assert found[3]["content"][1] == {"type": "image_url", "image_url": {"url": IMAGE}}

    def test_thoughts_go_back_only_to_models_whose_chats_take_them(self) -> None:
        items = (
            {"role": "user", "content": "q"},
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "x"},
            {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"},
        )
        assert "reasoning_content" not in messages(*items)[1]
        assert messages(*items, model="deepseek-reasoner")[1]["reasoning_content"] == "hm"
        assert ignored(input=list(items)) == ["input reasoning items"]
        assert ignored(input=list(items), model="deepseek-reasoner") == []

    @pytest.mark.parametrize(
        ("item", "told"),
        [
            ("text", (400, "invalid_type", "input[0]")),
            ({}, (400, "missing_required_parameter", "input[0].type")),
            ({"type": "item_reference"}, (400, "missing_required_parameter", "input[0].id")),
            ({"type": "image_generation_call"}, (400, "missing_required_parameter", "input[0].result")),
            ({"type": 7}, (400, "invalid_type", "input[0].type")),
            ({"type": "web_search_call", "id": "ws_1"}, (400, "unsupported_value", "input[0].type")),
            ({"type": "local_shell_call"}, (400, "unsupported_value", "input[0].type")),
            ({"role": "narrator", "content": "x"}, (400, "invalid_value", "input[0].role")),
            ({"type": "message", "content": "x"}, (400, "missing_required_parameter", "input[0].role")),
            ({"role": "user"}, (400, "missing_required_parameter", "input[0].content")),
            ({"role": "user", "content": 7}, (400, "invalid_type", "input[0].content")),
            ({"role": "user", "content": [7]}, (400, "invalid_type", "input[0].content[0]")),
            ({"role": "user", "content": [{}]}, (400, "missing_required_parameter", "input[0].content[0].type")),
            (
                {"role": "user", "content": [{"type": "input_text"}]},
                (400, "missing_required_parameter", "input[0].content[0].text"),
            ),
            (
                {"role": "user", "content": [{"type": "input_image"}]},
                (400, "missing_required_parameter", "input[0].content[0].image_url"),
            ),
            (
                {"role": "user", "content": [{"type": "input_file"}]},
                (400, "missing_required_parameter", "input[0].content[0].file_data"),
            ),
            ({"type": "function_call", "name": "f"}, (400, "missing_required_parameter", "input[0].arguments")),
            ({"type": "function_call_output", "output": "x"}, (400, "missing_required_parameter", "input[0].call_id")),
            ({"type": "function_call_output", "call_id": "a"}, (400, "missing_required_parameter", "input[0].output")),
            (
                {"type": "compaction", "encrypted_content": "gAAAA"},
                (400, "invalid_value", "input[0].encrypted_content"),
            ),
        ],
        ids=str,
    )
    def test_one_that_cannot_be_is_refused_by_its_path(self, item: Any, told: tuple[int, str, str]) -> None:
        assert refused(input=[item]) == told
