"""Which ids a request names, by field and place, and which texts are none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gateway.wire.named_ids as named_ids
from gateway.wire.named_ids import ids_in_chat, ids_in_fields, tasks_in


def chat(*messages: dict[str, Any], **fields: Any) -> list[tuple[str, str, str]]:
    hello = {"role": "user", "content": "Hello"}
    return [tuple(one) for one in ids_in_chat({"model": "m", "messages": [*messages] or [hello], **fields})]


def part(**part: Any) -> list[tuple[str, str, str]]:
    return chat({"role": "user", "content": [{"type": "text", "text": "Look"}, part]})


AT = "messages[0].content[1]"


@pytest.mark.parametrize(
    ("given", "kind", "param"),
    [
        ({"type": "file", "file": {"file_id": "file-1"}}, "file", f"{AT}.file.file_id"),
        ({"type": "file", "file": {"file_id": "f", "file_data": "data:x;base64,QQ=="}}, "file", f"{AT}.file.file_id"),
        ({"type": "file", "file": {"id": "file-abc123"}}, "file", f"{AT}.file.id"),
        ({"type": "input_file", "file_id": "file-1"}, "file", f"{AT}.file_id"),
        ({"type": "input_image", "file_id": "file-1"}, "file", f"{AT}.file_id"),
        ({"type": "image_file", "image_file": {"file_id": "file-1"}}, "file", f"{AT}.image_file.file_id"),
        ({"type": "image_url", "image_url": {"url": "file-abc123"}}, "file", f"{AT}.image_url.url"),
        ({"type": "image_url", "image_url": "file-abc123"}, "file", f"{AT}.image_url"),
        ({"type": "document", "source": {"type": "file", "file_id": "f"}}, "file", f"{AT}.source.file_id"),
        ({"type": "container_upload", "file_id": "f"}, "file", f"{AT}.file_id"),
        ({"type": "tool_result", "content": [{"type": "x", "file_id": "f"}]}, "file", f"{AT}.content[0].file_id"),
        ({"type": "newer", "deep": [[{"er": {"fileId": 7}}]]}, "file", f"{AT}.deep[0][0].er.fileId"),
        ({"file_data": {"file_uri": "files/abc-1"}}, "file", f"{AT}.file_data.file_uri"),
        ({"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/a"}}, "file",
         f"{AT}.fileData.fileUri"),
        ({"type": "input_audio", "input_audio": {"id": "audio_1"}}, "audio", f"{AT}.input_audio.id"),
        ({"type": "item_reference", "id": "msg_1"}, "item", f"{AT}.id"),
    ],
)  # fmt: skip
def test_an_id_in_a_part_is_found_wherever_it_stands(given, kind, param):
    assert [(one[0], one[2]) for one in part(**given)] == [(kind, param)]


@pytest.mark.parametrize(
    ("fields", "kind", "param"),
    [
        ({"previous_response_id": "resp_1"}, "response", "previous_response_id"),
        ({"previousResponseId": "resp_1"}, "response", "previousResponseId"),
        ({"conversation": "conv_1"}, "conversation", "conversation"),
        ({"conversation": {"id": "conv_1"}}, "conversation", "conversation.id"),
        ({"thread_id": "thread_1"}, "thread", "thread_id"),
        ({"container": "cntr_1"}, "container", "container"),
        ({"container": {"type": "auto", "file_ids": ["f"]}}, "file", "container.file_ids[0]"),
        ({"file_ids": ["f"]}, "file", "file_ids[0]"),
        ({"tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]}, "vector_store",
         "tools[0].vector_store_ids[0]"),
        ({"tools": [{"type": "code_interpreter", "container": "cntr_1"}]}, "container", "tools[0].container"),
        ({"tools": [{"type": "image_generation", "input_image_mask": {"file_id": "f"}}]}, "file",
         "tools[0].input_image_mask.file_id"),
        ({"tool_resources": {"file_search": {"vector_store_ids": ["vs_1"]}}}, "vector_store",
         "tool_resources.file_search.vector_store_ids[0]"),
        ({"input": [{"type": "image_generation_call", "id": "ig_1"}]}, "item", "input[0].id"),
        ({"input": [{"id": "msg_1"}]}, "item", "input[0].id"),
        ({"input": [{"role": "user"}, {"type": None, "id": "msg_1"}]}, "item", "input[1].id"),
        ({"input": [{"type": "reasoning", "id": "rs_1", "summary": []}]}, "item", "input[0].id"),
        ({"input": [{"type": "file_search_call", "id": "fs_1", "results": None}]}, "item", "input[0].id"),
        ({"attachments": [{"file_id": "f"}]}, "file", "attachments[0].file_id"),
        ({"extra_body": {"google": {"cached_content": "cachedContents/1"}}}, "cache",
         "extra_body.google.cached_content"),
        ({"prediction": {"content": [{"type": "file", "file_id": "f"}]}}, "file", "prediction.content[0].file_id"),
    ],
)  # fmt: skip
def test_an_id_in_a_field_is_found(fields, kind, param):
    assert [(one[0], one[2]) for one in chat(**fields)] == [(kind, param)]


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "audio": {"id": "audio_1"}},
        {"role": "assistant", "content": None, "audio": {"id": "audio_1"}},
        {"content": "no role, two fields", "audio": {"id": "audio_1"}},
    ],
)
def test_a_sound_of_an_earlier_answer_is_found(message):
    assert [(one[0], one[1]) for one in chat(message)] == [("audio", "audio_1")]


@pytest.mark.parametrize(
    "fields",
    [
        {"user": "file-abc123", "metadata": {"file_id": "mine", "conversation": "mine"}},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"properties": {
            "file_id": {"type": "string", "default": "file-abc123"}}, "example": {"file_id": "x"}}}}]},
        {"tools": [{"type": "custom", "name": "f", "input_schema": {"examples": [{"file_id": "x"}]}}]},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"const": {"file_id": "x"}}}}},
        {"container": "auto", "conversation": None, "previous_response_id": "", "file_ids": []},
        {"tool_choice": {"type": "function", "function": {"name": "thread_id"}}},
        {"stop": ["file_id"], "prompt_cache_key": "conv_1"},
        {"audio": {"voice": "alloy", "format": "wav"}, "modalities": ["text", "audio"]},
        {"input": [{"role": "user", "id": "msg_1", "content": "x"}, {"type": "function_call", "id": "fc_1"}]},
        {"input": [{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "QUJD"}]},
        {"input": [{"type": "reasoning", "id": "rs_1", "content": [{"type": "reasoning_text", "text": "x"}]}]},
        {"input": [{"type": "function_call_output", "output": [{"id": "of a client's own"}]}]},
    ],
)  # fmt: skip
def test_what_is_the_clients_own_is_none(fields):
    assert chat(**fields) == []


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": "file-abc123 and file_id: file-abc123"},
        {"role": "user", "content": [{"type": "text", "text": "file-abc123"}]},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a.example/file-abc123"}}]},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,file"}}]},
        {"role": "user", "content": [{"type": "file", "file": {"filename": "file-abc123", "file_data": "data:,"}}]},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"file_id": "x"}'}}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {"file_id": "x"}}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "file_id=x"},
        {"role": "assistant", "id": "msg_1", "content": "an interface keeps its own ids"},
        {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "QUJD", "format": "wav"}}]},
    ],
)  # fmt: skip
def test_what_people_and_tools_write_is_none(message):
    assert chat(message) == []


def test_an_order_for_images_is_read_by_field_and_place():
    fields = {
        "prompt": "file-abc123",
        "image": "file-abc123",
        "images": [{"file_id": "f"}, {"image_url": "https://a.example/a.png"}],
        "mask": {"file_id": "f"},
        "reference_images": ["file-abc123"],
        "metadata": {"file_id": "mine"},
    }
    found = [(one.kind, one.param) for one in ids_in_fields(fields)]
    assert found == [("file", name) for name in ("image", "images[0].file_id", "mask.file_id", "reference_images")]


def test_a_tasks_input_names_the_tasks_before_it():
    given = {"prompt": "task_id", "origin_task_id": "a", "more": [{"parentTaskId": "b"}], "task_ids": ["c", ""], "n": 1}
    assert {one.id for one in tasks_in(given)} == {"a", "b", "c"}


def test_a_deep_message_is_walked_without_recursion():
    value: Any = {"file_id": "f"}
    for _ in range(5000):
        value = [value]
    assert len(part(type="x", deep=value)) == 1


def test_a_long_name_is_not_written_again_for_each_item_below_it():
    """A hundred thousand lists below a name of a megabyte would take a hundred gigabytes."""
    found = list(ids_in_chat({"messages": [{"x" * 1_000_000: [[]] * 100_000, "file_id": "file-1"}]}))
    assert [named.id for named in found] == ["file-1"]


def test_a_type_of_any_kind_is_looked_at():
    assert part(type=["item_reference"], id="x") == part(type={}, id="x") == []


NAMES = st.sampled_from(
    [
        *("file_id", "fileIds", "id", "type", "input", "name", "image_url", "uri", "audio", "file", "tool_calls"),
        *("function", "content", "text", "x", "tools", "messages", "container", "conversation", "extra_body"),
    ]
)
VALUES = st.recursive(
    st.sampled_from(["file-abcd", "item_reference", "x", "", "auto", 7, None, "https://x/v1beta/files/abc"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
MESSAGES = st.dictionaries(NAMES | st.just("role"), VALUES, max_size=4)


@given(st.lists(MESSAGES, min_size=1, max_size=3), st.dictionaries(NAMES, VALUES, max_size=4))
def test_nothing_is_passed_over_that_names_something(messages, fields):
    body = {**fields, "messages": messages}
    quick = sorted(ids_in_chat(body))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(named_ids, "_has_names", lambda _: True)
        assert sorted(ids_in_chat(body)) == quick
