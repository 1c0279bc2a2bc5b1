"""Which part of the API a request line names."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from urllib.parse import unquote

from .errors import MethodNotAllowed, UnknownPath
from .requests import Endpoint


class Page(Enum):
    """What the gateway answers by itself, by path."""

    MODELS = "/v1/models"
    READYZ = "/readyz"


@dataclass(frozen=True, slots=True)
class OneModel:
    """GET /v1/models/{id}; an id may hold slashes, escaped or not."""

    model: str


@dataclass(frozen=True, slots=True)
class Options:
    """OPTIONS on a path that exists: to be answered 204 with an `allow` header."""

    allow: str


Route = Endpoint | Page | OneModel | Options

_POSTS: dict[str, Endpoint] = {endpoint.value: endpoint for endpoint in Endpoint}
_GETS: dict[str, Page] = {page.value: page for page in Page}
_ONE_MODEL = Page.MODELS.value + "/"
_GET = "GET, HEAD, OPTIONS"
_POST = "POST, OPTIONS"


def match(method: str, path: str) -> Route:
    """What `path` is. The query is ignored; as with OpenAI, a trailing slash makes another path. HEAD counts as GET.

    Raises:
        UnknownPath: nothing is there.
        MethodNotAllowed: something is, but not for this method.
    """
    path = path.partition("?")[0]
    route = _route(path)
    allow = _POST if isinstance(route, Endpoint) else _GET
    if method not in allow.split(", "):
        raise MethodNotAllowed(method, path, allow)
    return Options(allow) if method == "OPTIONS" else route


def _route(path: str) -> Endpoint | Page | OneModel:
    route = _POSTS.get(path) or _GETS.get(path)
    if route is not None:
        return route
    if path.startswith(_ONE_MODEL) and not path.endswith("/"):
        return OneModel(unquote(path[len(_ONE_MODEL) :]))
    raise UnknownPath(path)
