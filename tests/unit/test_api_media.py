"""Images, sounds and videos in a body."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from extproc.api.body import parse
from extproc.api.errors import BadRequest
from extproc.api.requests import Endpoint, Media, Part, Text

AT = "messages[0].content[0]"


def part(**fields: Any) -> Part:
    body = {"model": "m", "messages": [{"role": "user", "content": [fields]}]}
    (only,) = parse(Endpoint.CHAT_COMPLETIONS, orjson.dumps(body)).messages[0].parts
    return only


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}, Media("image", base64="QUJD")),
        ({"type": "image_url", "image_url": "data:image/png;base64,QUJD"}, Media("image", base64="QUJD")),
        ({"type": "image_url", "image_url": "DATA:image/png;charset=x;BASE64,QUJD"}, Media("image", base64="QUJD")),
        ({"type": "image_url", "image_url": "data:;base64,QU,D"}, Media("image", base64="QU,D")),
        (
            {"type": "image_url", "image_url": {"url": "https://h/i.png", "detail": "low"}},
            Media("image", url="https://h/i.png", detail="low"),
        ),
        ({"type": "image_url", "image_url": {"url": "file:///i.png"}}, Media("image", url="file:///i.png")),
        (
            {"type": "image_url", "image_url": {"url": "https://h/i.png"}, "uuid": "u"},
            Media("image", url="https://h/i.png", uuid="u"),
        ),
        ({"type": "image_url", "image_url": None, "uuid": "u"}, Media("image", uuid="u")),
        ({"image_url": {"url": "https://h/i.png"}}, Media("image", url="https://h/i.png")),
        (
            {"type": "input_image", "image_url": "https://h/i.png", "detail": "high"},
            Media("image", url="https://h/i.png", detail="high"),
        ),
        ({"type": "input_image", "file_id": "file-1"}, Media("image", uuid="file-1")),
        ({"type": "image_embeds", "image_embeds": "QUJD"}, Media("image", base64="QUJD")),
        ({"type": "image_embeds", "image_embeds": {"image_embeds": "QUJD", "g": "x"}}, Media("image", base64="QUJD")),
        ({"type": "image_embeds", "image_embeds": None, "uuid": "u"}, Media("image", uuid="u")),
        ({"type": "input_audio", "input_audio": {"data": "QUJD", "format": "wav"}}, Media("audio", base64="QUJD")),
        ({"type": "input_audio", "input_audio": None, "uuid": "u"}, Media("audio", uuid="u")),
        ({"type": "audio_url", "audio_url": {"url": "data:audio/wav;base64,QUJD"}}, Media("audio", base64="QUJD")),
        ({"type": "video_url", "video_url": {"url": "https://h/v.mp4"}}, Media("video", url="https://h/v.mp4")),
    ],
)  # fmt: skip
def test_media_is_recognised(fields: dict[str, Any], expected: Media) -> None:
    found = part(**fields)
    assert found == Media(expected.kind, expected.base64, expected.url, expected.uuid, expected.detail, param=AT)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"type": "image_url", "image_url": {"url": "data:image/png,%89PNG"}}, "image_url.url"),
        ({"type": "image_url", "image_url": "data:image/png;base64"}, "image_url"),
        ({"type": "image_url", "image_url": "data:" + "A" * 100_000 + ",QUJD"}, "image_url"),
        ({"type": "image_url", "image_url": "data:image/png;base64,"}, "image_url"),
        ({"type": "image_url", "image_url": None}, "image_url"),
        ({"type": "image_url", "image_url": {"url": 5}}, "image_url.url"),
        ({"type": "image_url", "image_url": {}}, "image_url.url"),
        ({"type": "image_url", "image_url": [1]}, "image_url"),
        ({"type": "image_url"}, "image_url"),
        ({"type": "input_audio", "input_audio": "QUJD"}, "input_audio"),
        ({"type": "input_audio", "input_audio": {"format": "wav"}}, "input_audio.data"),
        ({"type": "video_url", "video_url": {"url": None}}, "video_url.url"),
    ],
)
def test_malformed_media_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        part(**fields)
    assert caught.value.param == f"{AT}.{param}"
    assert len(caught.value.message) < 200


def test_a_tensor_in_a_shape_unknown_here_is_left_to_the_engine() -> None:
    assert part(type="image_embeds", image_embeds={"x": "y"}) == Text(
        '{"type":"image_embeds","image_embeds":{"x":"y"}}'
    )
