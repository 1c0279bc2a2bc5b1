"""Bodies of every dialect -> InferenceRequest, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.api.body import MAX_DEPTH, parse
from extproc.api.errors import BadRequest, GatewayError
from extproc.api.requests import Endpoint, InferenceRequest, Media, Message, Text, TokenIds

CHAT = Endpoint.CHAT_COMPLETIONS
PNG = "data:image/png;base64,iVBORw0KGgo="
VALID: dict[Endpoint, dict[str, Any]] = {
    Endpoint.CHAT_COMPLETIONS: {
        "model": "m",
        "messages": [
            {"role": "system", "content": "be brief"},
            {
                "role": "user",
                "content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": PNG}}],
            },
            {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": {"name": "f"}}]},
        ],
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 5,
        "n": 2,
    },
    Endpoint.COMPLETIONS: {"model": "m", "prompt": ["a", "b"], "max_tokens": 5},
    Endpoint.RESPONSES: {
        "model": "m",
        "instructions": "be brief",
        "input": [
            {"role": "user", "content": [{"type": "input_image", "image_url": PNG}]},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "7"},
        ],
    },
    Endpoint.EMBEDDINGS: {"model": "m", "input": [[1, 2], [3]]},
    Endpoint.MESSAGES: {
        "model": "m",
        "max_tokens": 9,
        "system": [{"type": "text", "text": "be brief"}],
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"}},
                    {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "r"}]},
                ],
            }
        ],
    },
}


def read(endpoint: Endpoint, **fields: Any) -> InferenceRequest:
    return parse(endpoint, orjson.dumps({"model": "m", **fields}))


def chat(**fields: Any) -> InferenceRequest:
    return read(CHAT, **{"messages": [{"role": "user", "content": "hi"}], **fields})


def parts_of(content: Any, role: str = "user", **message: Any) -> tuple[Any, ...]:
    return read(CHAT, messages=[{"role": role, "content": content, **message}]).messages[0].parts


def refusal(endpoint: Endpoint, body: bytes) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        parse(endpoint, body)
    return caught.value


class TestBytes:
    @pytest.mark.parametrize(
        ("body", "says"),
        [
            (b"", "empty"),
            (b"{", "line 1, column 2"),
            (b'{\n"model": nul}', "line 2, column 10"),
            (b'{"model": "\xff"}', "not valid UTF-8 at byte 11"),
            (b'{"model": "m"', "unexpected end"),
            (b'{"a": "\\ud800"}', "surrogate"),
            (b"\xef\xbb\xbf{}", "BOM"),
            (b"[]", "must be a JSON object"),
            (b"null", "must be a JSON object"),
            (b'"secret prompt"', "must be a JSON object"),
        ],
    )
    def test_what_is_not_a_json_object_is_refused_with_its_place(self, body: bytes, says: str) -> None:
        assert says in refusal(CHAT, body).message

    @pytest.mark.parametrize("levels", [MAX_DEPTH, 1_000, 100_000])
    def test_a_deep_body_is_refused(self, levels: int) -> None:
        deep = b'{"model":"m","messages":[{"role":"user","content":"x"}],"x":' + b"[" * levels + b"]" * levels + b"}"
        assert "depth limit" in refusal(CHAT, deep).message or "nested deeper" in refusal(CHAT, deep).message

    def test_a_body_as_deep_as_allowed_is_read(self) -> None:
        levels = MAX_DEPTH - 1
        deep = b'{"model":"m","messages":[{"role":"user","content":"x"}],"x":' + b"[" * levels + b"]" * levels + b"}"
        assert parse(CHAT, deep).model == "m"

    def test_a_wide_body_is_not_a_deep_one(self) -> None:
        assert len(read(CHAT, messages=[{"role": "user", "content": "x"}] * 5_000).messages) == 5_000

    @given(st.binary(max_size=200), st.sampled_from(list(Endpoint)))
    def test_arbitrary_bytes_never_raise_anything_else(self, body: bytes, endpoint: Endpoint) -> None:
        with pytest.raises(GatewayError):
            parse(endpoint, body)


class TestFields:
    @pytest.mark.parametrize(
        ("endpoint", "fields", "param"),
        [
            (CHAT, {"model": None}, "model"),
            (CHAT, {"model": ""}, "model"),
            (CHAT, {"model": 7}, "model"),
            (CHAT, {}, "messages"),
            (CHAT, {"messages": []}, "messages"),
            (CHAT, {"messages": "hi"}, "messages"),
            (CHAT, {"messages": ["hi"]}, "messages[0]"),
            (CHAT, {"messages": [{"content": "hi"}]}, "messages[0].role"),
            (CHAT, {"messages": [{"role": 1, "content": "hi"}]}, "messages[0].role"),
            (CHAT, {"messages": [{"role": "user", "content": 1}]}, "messages[0].content"),
            (CHAT, {"messages": [{"role": "user", "content": {"text": "x"}}]}, "messages[0].content"),
            (CHAT, {"messages": [{"role": "user", "content": [1]}]}, "messages[0].content[0]"),
            (
                CHAT,
                {"messages": [{"role": "user", "content": [{"text": 1, "type": "text"}]}]},
                "messages[0].content[0].text",
            ),
            (CHAT, {"messages": [{"role": "user", "content": [{"type": 5}]}]}, "messages[0].content[0].type"),
            (CHAT, {"messages": [{"role": "user", "content": [{}]}]}, "messages[0].content[0].type"),
            (Endpoint.COMPLETIONS, {}, "prompt"),
            (Endpoint.COMPLETIONS, {"prompt": []}, "prompt"),
            (Endpoint.COMPLETIONS, {"prompt": ["a", 1]}, "prompt"),
            (Endpoint.COMPLETIONS, {"prompt": [True]}, "prompt"),
            (Endpoint.COMPLETIONS, {"prompt": [[1], ["a"]]}, "prompt[1]"),
            (Endpoint.COMPLETIONS, {"prompt_embeds": 5}, "prompt_embeds"),
            (Endpoint.RESPONSES, {}, "input"),
            (Endpoint.RESPONSES, {"input": []}, "input"),
            (Endpoint.RESPONSES, {"input": [5]}, "input[0]"),
            (Endpoint.RESPONSES, {"input": [{"content": "hi"}]}, "input[0].role"),
            (Endpoint.RESPONSES, {"input": "hi", "instructions": ["x"]}, "instructions"),
            (Endpoint.EMBEDDINGS, {}, "input"),
            (Endpoint.EMBEDDINGS, {"input": {"text": "x"}}, "input"),
            (Endpoint.MESSAGES, {}, "messages"),
            (Endpoint.MESSAGES, {"messages": [{"role": "user", "content": "x"}], "system": 5}, "system"),
        ],
    )
    def test_what_is_missing_or_of_the_wrong_type_is_named(
        self, endpoint: Endpoint, fields: dict[str, Any], param: str
    ) -> None:
        error = refusal(endpoint, orjson.dumps({"model": "m", **fields}))
        assert error.param == param
        assert param in error.message

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("n", "three"),
            ("n", True),
            ("n", 0),
            ("n", 1.5),
            ("stream", "yes"),
            ("stream", 1),
            ("max_tokens", "9"),
            ("max_tokens", -1),
            ("max_completion_tokens", []),
        ],
    )
    def test_scalars_that_the_gateway_relies_on_are_checked(self, name: str, value: Any) -> None:
        with pytest.raises(BadRequest) as caught:
            chat(**{name: value})
        assert caught.value.param == name

    def test_what_only_the_engine_judges_is_passed_on(self) -> None:
        request = chat(
            temperature="hot", stream_options=7, user=5, cache_salt=[], top_p=99, odd={"x": 1}, max_tokens=3.0, n=None
        )
        assert (request.user, request.cache_salt, request.stream_usage) == (None, None, False)
        assert (request.max_tokens, request.n) == (3, 1)
        assert request.fields["odd"] == {"x": 1}

    def test_scalars_are_read(self) -> None:
        request = chat(
            stream=True, stream_options={"include_usage": True}, n=3, max_tokens=5, max_completion_tokens=7, user="u",
            cache_salt="s",
        )  # fmt: skip
        assert request.stream and request.stream_usage
        assert (request.n, request.max_tokens, request.user, request.cache_salt) == (3, 7, "u", "s")

    def test_tools_keep_the_clients_key_order(self) -> None:
        body = b'{"model":"m","messages":[{"role":"user","content":"x"}],"tools":[{"z": 1, "a": {"c": 2, "b": 3}}]}'
        assert parse(CHAT, body).tools == '[{"z":1,"a":{"c":2,"b":3}}]'
        assert chat(tools=[]).tools == chat(tools=None).tools == ""

    def test_no_error_repeats_what_the_client_wrote(self) -> None:
        secret = "the patient is called Ada"
        bodies = [
            orjson.dumps({"model": "m", "messages": secret}),
            orjson.dumps({"model": "m", "messages": [{"role": "user", "content": {"text": secret}}]}),
            orjson.dumps({"model": "m", "messages": [{"role": "user", "content": [{"type": [secret]}]}]}),
            b'{"model":"m","messages":"' + secret.encode() + b'\\ud800"}',
            secret.encode(),
        ]
        for body in bodies:
            assert "Ada" not in refusal(CHAT, body).body().decode()


class TestChat:
    def test_a_string_content_is_one_text(self) -> None:
        assert chat().messages == (Message("user", (Text("hi"),)),)

    def test_odd_roles_are_kept(self) -> None:
        assert read(CHAT, messages=[{"role": "critic", "content": "x"}]).messages[0].role == "critic"

    def test_an_assistants_thoughts_words_and_calls_are_read_in_template_order(self) -> None:
        parts = parts_of(
            "ok", "assistant", tool_calls=[{"id": "c1", "function": {"name": "f"}}], reasoning_content="hm"
        )
        assert parts == (Text("hm"), Text("ok"), Text('[{"id":"c1","function":{"name":"f"}}]'))

    def test_content_may_be_null(self) -> None:
        assert parts_of(None, "assistant") == ()

    def test_an_unknown_part_is_the_text_of_its_json(self) -> None:
        assert parts_of([{"type": "hologram", "z": 1, "a": [2]}]) == (Text('{"type":"hologram","z":1,"a":[2]}'),)

    @given(st.lists(st.one_of(st.text(), st.integers(0, 9)), max_size=12))
    def test_the_order_of_parts_is_kept(self, items: list[str | int]) -> None:
        content = [
            {"type": "text", "text": item}
            if isinstance(item, str)
            else {"type": "image_url", "image_url": {"url": f"http://host/{item}"}}
            for item in items
        ]
        seen = [part.text if isinstance(part, Text) else int(part.url[-1]) for part in parts_of(content)]
        assert seen == items


class TestCompletions:
    @pytest.mark.parametrize(
        ("prompt", "first", "batch"),
        [
            ("a", Text("a"), ()),
            (["a", "b"], Text("a"), (Text("b"),)),
            ([1, 2], TokenIds((1, 2)), ()),
            ([[1, 2], [3]], TokenIds((1, 2)), (TokenIds((3,)),)),
            ("", Text(""), ()),
        ],
    )
    @pytest.mark.parametrize(("endpoint", "field"), [(Endpoint.COMPLETIONS, "prompt"), (Endpoint.EMBEDDINGS, "input")])
    def test_the_first_prompt_is_the_message_and_the_rest_the_batch(
        self, endpoint: Endpoint, field: str, prompt: Any, first: Any, batch: Any
    ) -> None:
        request = read(endpoint, **{field: prompt})
        assert request.messages == (Message("", (first,)),)
        assert request.batch == batch

    def test_prompt_embeds_stand_before_the_prompts(self) -> None:
        assert read(Endpoint.COMPLETIONS, prompt_embeds="QUJD").messages[0].parts == (Text("QUJD"),)
        both = read(Endpoint.COMPLETIONS, prompt_embeds=["QUJD"], prompt="a")
        assert (both.messages[0].parts, both.batch) == ((Text("QUJD"),), (Text("a"),))

    def test_embeddings_take_chat_messages(self) -> None:
        request = read(Endpoint.EMBEDDINGS, messages=[{"role": "user", "content": [{"type": "text", "text": "x"}]}])
        assert request.messages == (Message("user", (Text("x"),)),)


class TestResponses:
    def test_instructions_are_the_system_message(self) -> None:
        request = read(Endpoint.RESPONSES, instructions="be brief", input="hi", max_output_tokens=4, stream=True)
        assert request.messages == (Message("system", (Text("be brief"),)), Message("user", (Text("hi"),)))
        assert (request.max_tokens, request.stream, request.stream_usage) == (4, True, True)

    def test_items_become_messages_in_order(self) -> None:
        call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
        shot = [{"type": "input_text", "text": "see"}, {"type": "input_image", "image_url": "https://h/i.png"}]
        thought = {"type": "reasoning", "id": "r", "summary": []}
        request = read(
            Endpoint.RESPONSES,
            input=[
                {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"}]},
                {"role": "assistant", "content": [{"type": "output_text", "text": "b"}]},
                thought,
                call,
                {"type": "function_call_output", "call_id": "c", "output": shot},
            ],
        )
        assert [message.role for message in request.messages] == ["user", "assistant", "assistant", "assistant", "tool"]
        assert request.messages[3].parts == (Text(json.dumps(call, separators=(",", ":"))),)
        envelope, text, image = request.messages[4].parts
        assert envelope == Text('{"type":"function_call_output","call_id":"c"}')
        assert (text, image) == (Text("see"), Media("image", url="https://h/i.png", param="input[4].output[1]"))


class TestAnthropic:
    def test_system_stands_first_and_the_user_is_in_the_metadata(self) -> None:
        request = read(
            Endpoint.MESSAGES,
            system=[{"type": "text", "text": "be brief"}],
            messages=[{"role": "user", "content": "hi"}],
            metadata={"user_id": "u"},
            max_tokens=3,
        )
        assert request.messages == (Message("system", (Text("be brief"),)), Message("user", (Text("hi"),)))
        assert (request.user, request.max_tokens) == ("u", 3)

    def test_a_tool_result_may_hold_images(self) -> None:
        image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}}
        use = {"type": "tool_use", "id": "t", "name": "look", "input": {}}
        request = read(
            Endpoint.MESSAGES,
            messages=[
                {"role": "assistant", "content": [use]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [image]}]},
            ],
        )
        assert request.messages[0].parts == (Text('{"type":"tool_use","id":"t","name":"look","input":{}}'),)
        assert request.messages[1].parts == (
            Text('{"type":"tool_result","tool_use_id":"t"}'),
            Media("image", base64="QUJD", param="messages[1].content[0].content[0]"),
        )

    @pytest.mark.parametrize(
        ("source", "expected"),
        [
            (
                {"type": "url", "url": "https://h/x.pdf"},
                Media("image", url="https://h/x.pdf", param="messages[0].content[0]"),
            ),
            ({"type": "base64", "data": "QUJD"}, Media("image", base64="QUJD", param="messages[0].content[0]")),
            ({"type": "file", "file_id": "f1"}, Media("image", uuid="f1", param="messages[0].content[0]")),
            ({"type": "text", "data": "page"}, Text("page")),
            ({"type": "content", "content": "page"}, Text("page")),
        ],
    )
    def test_sources_of_documents(self, source: dict[str, Any], expected: Any) -> None:
        message = {"role": "user", "content": [{"type": "document", "source": source}]}
        assert read(Endpoint.MESSAGES, messages=[message]).messages[0].parts == (expected,)

    @pytest.mark.parametrize("source", [None, {"type": "base64"}, {"type": "base64", "data": ""}, {"type": "url"}])
    def test_a_source_without_its_data_is_refused(self, source: Any) -> None:
        message = {"role": "user", "content": [{"type": "image", "source": source}]}
        with pytest.raises(BadRequest, match=r"messages\[0\]\.content\[0\]\.source"):
            read(Endpoint.MESSAGES, messages=[message])


_KEYS = st.sampled_from(
    [
        "type",
        "text",
        "role",
        "content",
        "image_url",
        "url",
        "source",
        "data",
        "uuid",
        "input_audio",
        "output",
        "n",
        "stream",
    ]
)
_SCALARS = st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False, allow_infinity=False) | st.text()
JSON = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS | st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


class TestMutations:
    """One value anywhere in a valid body replaced by any JSON: an InferenceRequest or a GatewayError, nothing else."""

    @given(st.sampled_from(list(Endpoint)), st.data())
    def test_a_mutated_body_is_read_or_refused(self, endpoint: Endpoint, data: st.DataObject) -> None:
        body = json.loads(json.dumps(VALID[endpoint]))
        node: Any = body
        while True:
            key = data.draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
            if not isinstance(node[key], dict | list) or not node[key] or data.draw(st.booleans()):
                break
            node = node[key]
        node[key] = data.draw(JSON)
        try:
            request = parse(endpoint, json.dumps(body).encode())
        except GatewayError as error:
            assert error.status == 400
            assert json.loads(error.body())["error"]["message"]
        else:
            assert request.model
            assert request.messages

    @pytest.mark.parametrize("endpoint", Endpoint)
    def test_the_unmutated_bodies_are_read(self, endpoint: Endpoint) -> None:
        assert parse(endpoint, orjson.dumps(VALID[endpoint])).endpoint is endpoint
