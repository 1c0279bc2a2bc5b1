"""Paths, methods, and the list of models."""

from __future__ import annotations

import json

import pytest

from extproc.api.errors import MethodNotAllowed, ModelNotFound, UnknownPath
from extproc.api.models import model_list, one_model
from extproc.api.paths import OneModel, Options, Page, Route, match
from extproc.api.requests import Endpoint


@pytest.mark.parametrize(
    ("method", "path", "route"),
    [
        ("POST", "/v1/chat/completions", Endpoint.CHAT_COMPLETIONS),
        ("POST", "/v1/messages?beta=true", Endpoint.MESSAGES),
        ("GET", "/v1/models", Page.MODELS),
        ("HEAD", "/v1/models", Page.MODELS),
        ("GET", "/readyz", Page.READYZ),
        ("GET", "/v1/models/m", OneModel("m")),
        ("GET", "/v1/models/Qwen/Qwen2-VL", OneModel("Qwen/Qwen2-VL")),
        ("GET", "/v1/models/Qwen%2FQwen2-VL?x=1", OneModel("Qwen/Qwen2-VL")),
        ("OPTIONS", "/v1/embeddings", Options("POST, OPTIONS")),
        ("OPTIONS", "/v1/models", Options("GET, HEAD, OPTIONS")),
    ],
)
def test_paths_are_recognised(method: str, path: str, route: Route) -> None:
    assert match(method, path) == route


@pytest.mark.parametrize(
    "path",
    ["/", "", "/v1", "/v1/chat/completions/", "/v1/models/", "//v1/models", "/v1/Models", "/v1/files?a=/v1/models"],
)
def test_unknown_paths_are_not_found(path: str) -> None:
    with pytest.raises(UnknownPath) as caught:
        match("GET", path)
    assert caught.value.status == 404


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/v1/chat/completions", "POST, OPTIONS"),
        ("HEAD", "/v1/responses", "POST, OPTIONS"),
        ("POST", "/v1/models", "GET, HEAD, OPTIONS"),
        ("DELETE", "/v1/models/m", "GET, HEAD, OPTIONS"),
        ("BREW", "/readyz", "GET, HEAD, OPTIONS"),
        ("", "/readyz", "GET, HEAD, OPTIONS"),
        ("post", "/v1/responses", "POST, OPTIONS"),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(method: str, path: str, allow: str) -> None:
    with pytest.raises(MethodNotAllowed) as caught:
        match(method, path)
    assert caught.value.status == 405
    assert caught.value.headers == (("allow", allow),)


def test_models_are_listed_as_openai_lists_them() -> None:
    reply = json.loads(model_list(["b", "a"], created=7))
    assert reply["object"] == "list"
    assert reply["data"][0] == {"id": "b", "object": "model", "created": 7, "owned_by": "kvgate"}
    assert [model["id"] for model in reply["data"]] == ["b", "a"]


def test_one_model_is_shown_or_not_found() -> None:
    assert json.loads(one_model(["a"], "a", created=7))["id"] == "a"
    with pytest.raises(ModelNotFound):
        one_model(["a"], "b", created=7)
