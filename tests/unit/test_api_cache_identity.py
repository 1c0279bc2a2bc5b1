"""What decides which cached blocks a request gets is the gateway's to say, not the client's."""

from __future__ import annotations

import json
from typing import Any

import pytest

from extproc.api.body import parse
from extproc.api.cache_identity import tenant_salt, unknown_uuid, with_engine_uuids, with_salt
from extproc.api.requests import Endpoint

DATA = {"image_url": {"url": "data:image/png;base64,QUJD"}}


def rewritten(*content: Any, endpoint: Endpoint = Endpoint.CHAT_COMPLETIONS) -> tuple[bytes, Any]:
    """The body, and what became of the content's parts."""
    name = "messages" if endpoint is Endpoint.CHAT_COMPLETIONS else "input"
    body = json.dumps({"model": "m", name: [{"role": "user", "content": list(content)}], "seed": 1.0}).encode()
    new = with_engine_uuids(body, parse(endpoint, body), lambda uuid: f"engine's {uuid}")
    return body, body if new is body else json.loads(new)[name][0]["content"]


def test_a_body_without_uuids_is_not_touched() -> None:
    body, new = rewritten("uuid", {"type": "image_url", **DATA})
    assert new is body


@pytest.mark.parametrize(
    "data",
    [
        DATA,
        {"image_url": "https://h/i.png"},
        {"image_url": None, "video_url": {"url": "https://h/v.mp4"}},
        {"input_audio": {"data": "QUJD", "format": "wav"}},
    ],
)
def test_a_uuid_beside_data_is_taken_out(data: dict[str, Any]) -> None:
    part = {"type": next(iter(data)), **data}
    _, (new,) = rewritten({**part, "uuid": "u"})
    assert new == part


@pytest.mark.parametrize("nothing", [None, {"url": None, "detail": "low"}])
def test_a_uuid_alone_becomes_the_engines(nothing: Any) -> None:
    _, (new,) = rewritten({"type": "image_url", "image_url": nothing, "uuid": "u"})
    assert new["uuid"] == "engine's u"


def test_a_uuid_of_another_type_is_read_as_the_engine_reads_it() -> None:
    _, (_, new) = rewritten(
        {"type": "image_url", "uuid": "u", "image_url": None}, {"type": "text", "text": "", "uuid": 7}
    )
    assert new["uuid"] == "engine's 7"


def test_a_null_uuid_is_none() -> None:
    _, (new,) = rewritten({"type": "image_url", **DATA, "uuid": None})
    assert "uuid" not in new


def test_other_parts_messages_and_fields_stay() -> None:
    body = (
        b'{"model":"m", "seed":1.0,"messages":[{"role":"system","content":"uuid"},'
        b'{"role":"user","name":"n","content":[{"type":"text","text":"\\u0075"},'
        b'{"uuid":"u","type":"image_url","image_url":{"url":"data:image/png;base64,QUJD","detail":"low"}}]}]}'
    )
    new = with_engine_uuids(body, parse(Endpoint.CHAT_COMPLETIONS, body), str)
    assert new.startswith(b'{"model":"m", "seed":1.0,"messages":[')
    expected = json.loads(body)
    del expected["messages"][1]["content"][1]["uuid"]
    assert json.loads(new) == expected


def test_a_uuid_is_found_however_it_is_spelled_and_however_often() -> None:
    part = rb'{"type":"image_url","image_url":null,"\u0075uid":"a","uuid":"b"}'
    body = b'{"model":"m","messages":[{"role":"user","content":[' + part + b"]}]}"
    new = with_engine_uuids(body, parse(Endpoint.CHAT_COMPLETIONS, body), lambda uuid: f"engine's {uuid}")
    assert json.loads(new)["messages"][0]["content"] == [{"type": "image_url", "image_url": None, "uuid": "engine's b"}]


def test_responses_are_rewritten_too() -> None:
    part = {"type": "input_image", "image_url": "data:image/png;base64,QUJD"}
    _, new = rewritten({**part, "uuid": "u"}, endpoint=Endpoint.RESPONSES)
    assert new == [part]


def test_tenants_have_salts_of_their_own_which_clients_may_only_divide() -> None:
    salts = {tenant_salt(tenant, salt) for tenant in ("a", "b", "ab") for salt in (None, "x", "bx")}
    assert len(salts) == 9
    assert tenant_salt("a") == tenant_salt("a", "")
    assert all(len(salt) <= 128 and salt.isalnum() for salt in salts)


def test_the_salt_goes_over_the_clients_own() -> None:
    assert json.loads(with_salt(b'{"model":"m","cache_salt":"mine"}', "theirs"))["cache_salt"] == "theirs"
    assert json.loads(with_salt(b'{"model":"m"}', "theirs"))["cache_salt"] == "theirs"


def test_an_unknown_uuid_is_nobodys_name() -> None:
    assert unknown_uuid("a", "u") != unknown_uuid("b", "u")
    assert unknown_uuid("a", "u") != "u"
