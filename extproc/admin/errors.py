"""Why an admin call is refused. Whoever raises one of these has changed nothing.

Refused
├── Invalid            INVALID_ARGUMENT
├── NotFound           NOT_FOUND
├── Taken              ALREADY_EXISTS
├── NotNow             FAILED_PRECONDITION
├── Unauthenticated    UNAUTHENTICATED
├── TooMany            RESOURCE_EXHAUSTED
└── Away               UNAVAILABLE
"""

from __future__ import annotations

from typing import ClassVar

import grpc


class Refused(Exception):
    """Its text is for the operator."""

    code: ClassVar[grpc.StatusCode] = grpc.StatusCode.INTERNAL


class Invalid(Refused):
    """A request that cannot be meant."""

    code = grpc.StatusCode.INVALID_ARGUMENT


class NotFound(Refused):
    """What it names is not there."""

    code = grpc.StatusCode.NOT_FOUND


class Taken(Refused):
    """What it would make is there already."""

    code = grpc.StatusCode.ALREADY_EXISTS


class NotNow(Refused):
    """As things stand, it would do harm or nothing."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class Unauthenticated(Refused):
    """It came without the token, or with a wrong one."""

    code = grpc.StatusCode.UNAUTHENTICATED


class TooMany(Refused):
    """Others are asking the same."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED


class Away(Refused):
    """What would have to be asked does not answer."""

    code = grpc.StatusCode.UNAVAILABLE
