"""Images are known by the name that vLLM gives them. The expected names were taken from vLLM 0.32 itself."""

from __future__ import annotations

import json
from base64 import b64decode
from pathlib import Path

import pytest

from extproc.api.body import parse
from extproc.api.requests import Endpoint, Media
from extproc.prefix.client_uuids import ClientUuids
from extproc.prefix.engine_identity import identifier, is_rgb
from extproc.prefix.media import Identities, identify

TAKEN = json.loads((Path(__file__).parent / "engine_image_names.json").read_text())
MODEL = "/m/x"
PNG = TAKEN["png RGB"]["image"]


@pytest.mark.parametrize("name", sorted(TAKEN))
def test_an_image_has_the_engines_name(name: str) -> None:
    found = identify(Media("image", base64=TAKEN[name]["image"]))
    assert found.image_hash is not None
    assert identifier(found.image_hash, MODEL) == TAKEN[name]["identifier"]


def test_the_name_depends_on_the_model() -> None:
    image_hash = identify(Media("image", base64=PNG)).image_hash
    assert image_hash is not None
    assert identifier(image_hash, "/m/y") != identifier(image_hash, MODEL) == TAKEN["png RGB"]["identifier"]


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"BM" + bytes(60), b"II*\0", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP"),
        *(b"\xff\xd8\xff", b"\xff\xd8\xff\xe0\0\0" * 9),
    ],
)
def test_of_a_header_that_does_not_tell_nothing_is_said(content: bytes) -> None:
    assert is_rgb(content) is None


@pytest.mark.parametrize("name", sorted(TAKEN))
def test_a_cut_off_image_does_no_harm(name: str) -> None:
    content = b64decode(TAKEN[name]["image"])
    for length in range(min(len(content), 400)):
        assert is_rgb(content[:length]) in (None, True, False)


def test_an_image_that_the_engine_may_turn_has_no_size_to_learn_from() -> None:
    turned = {name for name in TAKEN if identify(Media("image", base64=TAKEN[name]["image"])).may_be_turned}
    assert turned == {"png exif6", "webp exif"}


def test_bytes_are_decoded_once_for_all_who_ask() -> None:
    media, identities = Media("image", base64=PNG), Identities()
    assert identities.of(media) is identities.of(media)


def test_the_same_bytes_under_a_uuid_are_the_same_image() -> None:
    named, plain = identify(Media("image", base64=PNG, uuid="u")), identify(Media("image", base64=PNG))
    assert named.digest == plain.digest
    assert named.image_hash and plain.image_hash
    assert named.image_hash.digest() == plain.image_hash.digest()


def learned(uuids: ClientUuids, tenant: str, uuid: str, image: str = PNG) -> None:
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}, "uuid": uuid}
    body = {"model": "m", "messages": [{"role": "user", "content": [part]}]}
    uuids.learn(parse(Endpoint.CHAT_COMPLETIONS, json.dumps(body).encode()), tenant, MODEL, Identities())


def test_a_uuid_stands_for_the_bytes_that_its_tenant_sent_with_it_last() -> None:
    uuids = ClientUuids()
    learned(uuids, "a", "u")
    assert uuids.engine_uuid("a", MODEL, "u") == TAKEN["png RGB"]["identifier"]
    learned(uuids, "a", "u", TAKEN["jpeg RGB"]["image"])
    assert uuids.engine_uuid("a", MODEL, "u") == TAKEN["jpeg RGB"]["identifier"]


def test_a_uuid_means_nothing_to_other_tenants_models_or_uuids() -> None:
    uuids = ClientUuids()
    learned(uuids, "a", "u")
    known = uuids.engine_uuid("a", MODEL, "u")
    assert known not in {
        uuids.engine_uuid("b", MODEL, "u"),
        uuids.engine_uuid("a", "/m/y", "u"),
        uuids.engine_uuid("a", MODEL, known),
    }


def test_a_uuid_of_bytes_without_a_known_name_is_forgotten() -> None:
    uuids = ClientUuids()
    learned(uuids, "a", "u")
    learned(uuids, "a", "u", "QUJD")
    assert uuids.engine_uuid("a", MODEL, "u").startswith("unknown-")


def test_the_uuids_remembered_are_bounded_and_what_is_used_stays() -> None:
    uuids = ClientUuids(max_uuids=2)
    learned(uuids, "a", "one")
    learned(uuids, "a", "two")
    uuids.engine_uuid("a", MODEL, "one")
    learned(uuids, "a", "three")
    assert uuids.engine_uuid("a", MODEL, "two").startswith("unknown-")
    assert not uuids.engine_uuid("a", MODEL, "one").startswith("unknown-")
