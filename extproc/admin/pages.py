"""What the operations listener serves to browsers and scrapers: bodies that are not JSON messages."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from google.api.httpbody_pb2 import HttpBody

from extproc.admin.errors import NotFound
from extproc.admin.parts import Asset

_HERE = Path(__file__).parent


def metrics(page: bytes) -> HttpBody:
    """In Prometheus' text format."""
    return HttpBody(content_type="text/plain; version=0.0.4; charset=utf-8", data=page)


@cache
def openapi() -> HttpBody:
    """The API as an OpenAPI document; `make proto` writes it."""
    return HttpBody(content_type="application/json", data=(_HERE / "v1" / "openapi.json").read_bytes())


@cache
def docs() -> HttpBody:
    """A page that shows that document."""
    return HttpBody(content_type="text/html; charset=utf-8", data=(_HERE / "docs.html").read_bytes())


def dashboard(asset: Asset, path: str) -> HttpBody:
    """A file of the dashboard.

    Raises:
        NotFound: there is none of that name.
    """
    found = asset(path)
    if found is None:
        raise NotFound("There is nothing at this path.")
    content_type, content = found
    return HttpBody(content_type=content_type, data=content)
