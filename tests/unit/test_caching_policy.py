"""Which requests are cached, and what a client may say about it."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.api.requests import Endpoint
from extproc.caching.directives import Directives
from extproc.caching.policy import Verdict, judge
from tests.unit.caching_replies import CHAT, COMPLETIONS, EMBEDDINGS, MESSAGES, RESPONSES, Json, ask, look

NONE = Directives()
FORCE = Directives(force=True)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", NONE),
        ("no-store", Directives(no_store=True)),
        ("No-Cache", Directives(no_cache=True)),
        ("max-age=60", Directives(max_age_s=60)),
        ('max-age="60"', Directives(max_age_s=60)),
        ("max-age=60, max-age=5", Directives(max_age_s=5)),
        ("max-age=soon", Directives(max_age_s=0)),
        ("max-age=-1", Directives(max_age_s=0)),
        ("max-age", Directives(max_age_s=0)),
        ("max-age=" + "9" * 400, Directives(max_age_s=0)),
        (" force ,max-age = 3", Directives(max_age_s=3, force=True)),
        ("only-if-cached, private, x=y,,", NONE),
        ("no-storeforce", NONE),
    ],
)
def test_directives_are_read_as_in_cache_control(header: str, expected: Directives) -> None:
    assert Directives.parse(header) == expected


@pytest.mark.parametrize(
    ("endpoint", "fields", "cached"),
    [
        (CHAT, {}, False),
        (CHAT, {"temperature": 0}, True),
        (CHAT, {"temperature": 0.0}, True),
        (CHAT, {"temperature": 0.1}, False),
        (CHAT, {"temperature": False}, False),
        (CHAT, {"temperature": "0"}, False),
        (CHAT, {"temperature": 1, "seed": 0}, True),
        (CHAT, {"seed": -1}, False),  # no seed, as vLLM reads it
        (CHAT, {"seed": None}, False),
        (COMPLETIONS, {"seed": 3}, True),
        (EMBEDDINGS, {}, True),
        (RESPONSES, {"temperature": 0}, True),
        (RESPONSES, {"seed": 3}, False),
        (MESSAGES, {"temperature": 0}, True),
        (MESSAGES, {"seed": 3}, False),
    ],
)
def test_only_deterministic_requests_are_cached_by_default(endpoint: Endpoint, fields: Json, cached: bool) -> None:
    request = ask(endpoint, **fields)
    assert judge(request, NONE).why_not == (None if cached else "sampled")
    assert judge(request, NONE, "all").why_not is None
    assert judge(request, FORCE).why_not is None


def test_what_each_directive_allows() -> None:
    request = ask(temperature=0)
    assert judge(request, NONE) == Verdict(use=True, keep=True)
    assert judge(request, Directives(no_store=True)) == Verdict(use=False, keep=False, why_not="no_store")
    assert judge(request, Directives(no_store=True, force=True)).why_not == "no_store"
    assert judge(request, Directives(no_cache=True)) == Verdict(use=False, keep=True)
    assert judge(request, Directives(max_age_s=9)) == Verdict(use=True, keep=True, max_age_s=9)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "https://h/i.png"}},
        {"type": "image_url", "image_url": {"url": "file:///i.png"}},
        {"type": "image_url", "image_url": None, "uuid": "u"},
        {"type": "image_url", "image_url": "data:image/png;base64,QUJD", "uuid": "u"},
        {"type": "video_url", "video_url": {"url": "http://h/v.mp4"}},
        {"type": "file", "file": {"file_id": "file-1"}},
    ],
)
def test_media_that_are_not_seen_are_cached_only_by_force(part: Json) -> None:
    assert judge(look(part, temperature=0), NONE, "all").why_not == "unseen_media"
    assert judge(look(part, temperature=0), FORCE).why_not is None


@pytest.mark.parametrize(
    "part", [{"type": "input_file", "file_url": "https://h/f.pdf"}, {"type": "input_image", "file_id": "file-1"}]
)
@pytest.mark.parametrize("item", ["message", "function_call_output"])
def test_files_of_the_responses_api_are_not_seen_either(part: Json, item: str) -> None:
    turn = (
        {"role": "user", "content": [part]} if item == "message" else {"type": item, "call_id": "c", "output": [part]}
    )
    assert judge(ask(RESPONSES, input=[turn], temperature=0), NONE).why_not == "unseen_media"


def test_anthropic_sources_by_address_or_name_are_not_seen() -> None:
    for source in ({"type": "url", "url": "https://h/i.png"}, {"type": "file", "file_id": "f"}):
        messages = [{"role": "user", "content": [{"type": "image", "source": source}]}]
        assert judge(ask(MESSAGES, messages=messages, temperature=0), NONE).why_not == "unseen_media"


def test_media_whose_bytes_are_in_the_body_are_cached() -> None:
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}
    assert judge(look(part, temperature=0), NONE).why_not is None


@pytest.mark.parametrize(
    ("endpoint", "fields"),
    [
        (RESPONSES, {"previous_response_id": "resp_1"}),
        (RESPONSES, {"conversation": "conv_1"}),
        (RESPONSES, {"background": True}),
        (RESPONSES, {"store": True}),
        (RESPONSES, {"prompt": {"id": "pmpt_1"}}),
        (RESPONSES, {"input": [{"type": "item_reference", "id": "msg_1"}]}),
        (MESSAGES, {"container": "c_1"}),
        (CHAT, {"kv_transfer_params": {"do_remote_decode": True}}),
        (COMPLETIONS, {"kv_transfer_params": {"do_remote_decode": True}}),
    ],
)
def test_state_that_the_engine_keeps_is_never_cached_not_even_by_force(endpoint: Endpoint, fields: Json) -> None:
    assert judge(ask(endpoint, temperature=0, **fields), FORCE, "all").why_not == "engine_state"


def test_a_response_that_is_not_kept_by_the_engine_is_cached() -> None:
    assert judge(ask(RESPONSES, temperature=0, store=False, background=False), NONE).why_not is None
    assert judge(ask(CHAT, temperature=0, store=True), NONE).why_not is None


@pytest.mark.parametrize(
    ("endpoint", "tool", "cached"),
    [
        (CHAT, {"type": "function", "function": {"name": "f"}}, True),
        (RESPONSES, {"type": "function", "name": "f"}, True),
        (RESPONSES, {"type": "custom", "name": "f"}, True),
        (RESPONSES, {"type": "web_search_preview"}, False),
        (RESPONSES, {"type": "mcp", "server_url": "https://h"}, False),
        (RESPONSES, {"type": "code_interpreter"}, False),
        (RESPONSES, "web_search", False),
        (MESSAGES, {"name": "f", "input_schema": {}}, True),
        (MESSAGES, {"type": "web_search_20250305", "name": "web_search"}, False),
    ],
)
def test_tools_that_the_engine_runs_are_never_cached(endpoint: Endpoint, tool: Any, cached: bool) -> None:
    assert judge(ask(endpoint, temperature=0, tools=[tool]), FORCE).why_not == (None if cached else "server_tools")


def test_a_chat_that_searches_the_web_is_never_cached() -> None:
    assert judge(ask(temperature=0, web_search_options={"search_context_size": "low"}), FORCE).why_not == "server_tools"
