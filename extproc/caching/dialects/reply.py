"""What the dialects of replies have in common: how a stream is folded into a reply, and what makes it complete."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import orjson

Json = dict[str, Any]

ABOUT = "kvgate"
"""The field that the gateway adds to replies. It is never stored."""


class Unfit(Exception):
    """A reply that is not to be kept. The message says why and holds nothing of the reply."""


class Fold(Protocol):
    """A stream in the making."""

    held_bytes: int
    """About how many bytes of the reply are held."""

    def take(self, data: bytes) -> None:
        """The next event.

        Raises:
            Unfit: nothing that is worth keeping will come of this stream.
        """
        ...

    def reply(self) -> Json:
        """The blocking form of what was streamed.

        Raises:
            Unfit: the stream did not come to its end.
        """
        ...


class Dialect(Protocol):
    """How one endpoint replies."""

    def fold(self) -> Fold:
        """For a new stream."""
        ...

    def check(self, reply: Json, choices: int) -> None:
        """Looks whether a blocking reply is complete and sound.

        Args:
            choices: how many answers the request wants.

        Raises:
            Unfit: it is not.
        """
        ...

    def unfold(self, reply: Json, include_usage: bool, about: Mapping[str, Any]) -> Iterator[bytes]:
        """The events of a stream that says the same. `about` stands where the reply begins to be built.

        Args:
            include_usage: whether the client asked for it, where the dialect leaves that open.
        """
        ...


def read_event(data: bytes) -> Json:
    """The JSON object of one event.

    Raises:
        Unfit: it is no object, or tells of an error.
    """
    try:
        fields = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise Unfit("an event is not JSON") from None
    if type(fields) is not dict:
        raise Unfit("an event is no object")
    refuse_error(fields)
    return fields


def refuse_error(fields: Json) -> None:
    """Lets pass what tells of no error.

    Raises:
        Unfit: the object tells of one.
    """
    if fields.get("error") or fields.get("object") == "error" or fields.get("type") == "error":
        raise Unfit("the engine reported an error")


def expect(sound: bool, what: str) -> None:
    """Lets pass what is sound.

    Args:
        what: is wrong otherwise.

    Raises:
        Unfit: it is not.
    """
    if not sound:
        raise Unfit(what)


def expect_json(arguments: Any) -> None:
    """Lets pass the arguments of a call that are JSON.

    Raises:
        Unfit: the model got them wrong, or was cut off.
    """
    try:
        orjson.loads(arguments)
    except (orjson.JSONDecodeError, TypeError):
        raise Unfit("the arguments of a tool call are not JSON") from None


def pieces(text: str, most: int = 8, least: int = 32) -> Iterator[str]:
    """A text in at most so many pieces, of at least so many characters but for the last; none for an empty one."""
    size = max(least, -(-len(text) // most))
    return (text[start : start + size] for start in range(0, len(text), size))


class Pieces(list[str]):
    """A string that is still growing: joined once, at the end."""


def grow(into: Json, name: str, piece: str) -> None:
    """Appends to the growing string under a name."""
    held = into.get(name)
    if type(held) is Pieces:
        held.append(piece)
    else:
        into[name] = Pieces([held, piece] if type(held) is str else [piece])


def settle(value: Any) -> Any:
    """The value with its growing strings joined."""
    match value:
        case Pieces():
            return "".join(value)
        case dict():
            return {name: settle(inner) for name, inner in value.items()}
        case list():
            return [settle(inner) for inner in value]
    return value


def merge(into: Json, name: str, value: Any, *, strings_grow: bool) -> None:
    """Takes in a field of a chunk: lists are extended, objects merged, other values replaced; null says nothing new.

    Args:
        strings_grow: whether strings are appended to what was there, as in deltas.
    """
    held = into.get(name)
    if value is None:
        into.setdefault(name, None)
    elif type(value) is str and strings_grow:
        grow(into, name, value)
    elif type(value) is list and type(held) is list:
        held.extend(value)
    elif type(value) is dict:
        inner: Json = held if type(held) is dict else {}
        into[name] = inner
        for key, item in value.items():
            merge(inner, key, item, strings_grow=strings_grow)
    else:
        into[name] = value
