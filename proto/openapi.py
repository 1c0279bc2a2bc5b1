"""The compiled definition of the admin API, comments included -> an OpenAPI 3.1 document.

What a field is follows https://protobuf.dev/programming-guides/json/; paths, parameters and bodies follow the comments
of google/api/http.proto.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from google.api import annotations_pb2
from google.api.http_pb2 import HttpRule
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    MethodDescriptorProto,
)

_SCALARS: dict[int, dict[str, Any]] = {
    FieldDescriptorProto.TYPE_DOUBLE: {"type": "number"},
    FieldDescriptorProto.TYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptorProto.TYPE_UINT32: {"type": "integer", "format": "uint32"},
    FieldDescriptorProto.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptorProto.TYPE_STRING: {"type": "string"},
}
_STRUCT, _BODY = ".google.protobuf.Struct", ".google.api.HttpBody"
_IN_PATH = re.compile(r"\{(\w+)(?:=[^}]*)?\}")
_VERBS = ("get", "post", "put", "delete", "patch")
_MESSAGES_AT, _SERVICES_AT, _MEMBERS_AT = (
    4,
    6,
    2,
)  # field numbers of descriptor.proto, of which comments' places are made
_TAGS = (
    ("Overview", "How the gateway is, and what it has done.", ("GetStatus", "GetStats", "Metrics")),
    (
        "Decisions",
        "Why requests go where they go.",
        ("Explain", "ListDecisions", "GetDecision", "GetIndex", "DumpIndex"),
    ),
    ("Replicas", "The fleet, and changes to it.", ("Replica",)),
    ("Tenants and caches", "Who asks, and which answers are kept.", ("Tenant", "Cache")),
    ("Configuration", "What is in force, and the file.", ("Config",)),
    ("Pages", "For browsers.", ("GetOpenApi", "GetDocs", "GetDashboard")),
)


def openapi(file: FileDescriptorProto) -> str:
    """The document as JSON, indented, with a line break at its end.

    Args:
        file: with its source info.
    """
    comments = {tuple(place.path): _unwrapped(place.leading_comments) for place in file.source_code_info.location}
    messages = {f".{file.package}.{message.name}": (index, message) for index, message in enumerate(file.message_type)}
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": "KVGate admin API",
            "version": file.package.rpartition(".")[2],
            "description": "What an operator can ask of a running gateway and change in it. A call that fails has "
            "changed nothing. Changes to replicas lie over the configuration file: they stay when the file is read "
            "again, and are gone at the next start.",
        },
        "tags": [{"name": name, "description": text} for name, text, _ in _TAGS],
        "paths": _paths(file, comments, messages),
        "components": {
            "schemas": {
                "Error": _ERROR,
                **{message.name: _schema(index, message, comments) for index, message in messages.values()
                   if not message.name.endswith("Request") or message.field},
            },
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "operations.token"}},
        },
        "security": [{"token": []}, {}],
    }  # fmt: skip
    return json.dumps(document, indent=1) + "\n"


_ERROR = {
    "type": "object",
    "description": "Why a call was refused.",
    "properties": {
        "code": {"type": "integer", "description": "the gRPC status"},
        "message": {"type": "string"},
    },
}
Comments = dict[tuple[int, ...], str]
Messages = dict[str, tuple[int, DescriptorProto]]


def _paths(file: FileDescriptorProto, comments: Comments, messages: Messages) -> dict[str, Any]:
    paths: dict[str, Any] = {}
    (service,) = file.service
    for index, method in enumerate(service.method):
        text = comments.get((_SERVICES_AT, 0, _MEMBERS_AT, index), "")
        rule: HttpRule = method.options.Extensions[annotations_pb2.http]
        for turn, binding in enumerate([rule, *rule.additional_bindings]):
            verb = binding.WhichOneof("pattern")
            assert verb in _VERBS
            path = getattr(binding, verb)
            operation = _operation(method, text, path, binding.body, comments, messages)
            operation["operationId"] += str(turn + 1) if turn else ""
            paths.setdefault(_IN_PATH.sub(r"{\1}", path), {})[verb] = operation
    return paths


def _operation(
    method: MethodDescriptorProto, text: str, path: str, body: str, comments: Comments, messages: Messages
) -> dict[str, Any]:
    summary = re.split(r"(?<=\.)\s", text, maxsplit=1)[0]
    index, request = messages[method.input_type]
    in_path = set(_IN_PATH.findall(path))
    parameters, content = [], {}
    for number, field in enumerate(request.field):
        about = {**_type(field), **_described(comments, index, number)}
        if field.name in in_path:
            parameters.append({"name": field.name, "in": "path", "required": True, **_parameter(about)})
        elif field.name == body:
            content = {"application/json": {"schema": about}}
        elif not body or body != "*":
            parameters.append({"name": field.name, "in": "query", **_parameter(about)})
        else:
            content.setdefault("application/json", {"schema": {"type": "object", "properties": {}}})
            content["application/json"]["schema"]["properties"][field.name] = about
    operation: dict[str, Any] = {
        "operationId": method.name,
        "tags": [_tag(method.name)],
        "summary": summary.rstrip("."),
        "description": text,
        "responses": {
            "200": {"description": "Done.", "content": _answer(method)},
            "default": {
                "description": "Refused; nothing has changed.",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
            },
        },
    }
    if parameters:
        operation["parameters"] = parameters
    if body:
        operation["requestBody"] = {"content": content or {"application/json": {"schema": {"type": "object"}}}}
    return operation


def _answer(method: MethodDescriptorProto) -> dict[str, Any]:
    if method.output_type == _BODY:
        kinds = {"Metrics": "text/plain", "GetOpenApi": "application/json", "GetDocs": "text/html"}
        return {kinds.get(method.name, "*/*"): {"schema": {"type": "string"}}}
    kind = "application/x-ndjson" if method.server_streaming else "application/json"
    return {kind: {"schema": _reference(method.output_type)}}


def _schema(index: int, message: DescriptorProto, comments: Comments) -> dict[str, Any]:
    maps = {f".{nested.name}": nested for nested in message.nested_type if nested.options.map_entry}
    schema: dict[str, Any] = {"type": "object", "properties": {}}
    if text := comments.get((_MESSAGES_AT, index)):
        schema["description"] = text
    for number, field in enumerate(message.field):
        entry = maps.get("." + field.type_name.rpartition(".")[2])
        if entry is not None:
            about: dict[str, Any] = {"type": "object", "additionalProperties": _type(entry.field[1])}
        else:
            about = _type(field)
        schema["properties"][field.name] = {**about, **_described(comments, index, number)}
    return schema


def _type(field: FieldDescriptorProto) -> dict[str, Any]:
    if field.type == FieldDescriptorProto.TYPE_MESSAGE:
        one = {"type": "object"} if field.type_name in (_STRUCT, _BODY) else _reference(field.type_name)
    else:
        one = _SCALARS[field.type]
    repeated = field.label == FieldDescriptorProto.LABEL_REPEATED
    return {"type": "array", "items": one} if repeated else dict(one)


def _reference(type_name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{type_name.rpartition('.')[2]}"}


def _described(comments: Comments, message: int, field: int) -> dict[str, str]:
    text = comments.get((_MESSAGES_AT, message, _MEMBERS_AT, field), "")
    return {"description": text} if text else {}


def _parameter(about: dict[str, Any]) -> dict[str, Any]:
    schema = {key: value for key, value in about.items() if key != "description"}
    return {"schema": schema, **({"description": about["description"]} if "description" in about else {})}


def _tag(method: str) -> str:
    for name, _, words in _TAGS:
        if method in words or any(word in method for word in words):
            return name
    raise LookupError(f"{method} has no place in the document: see _TAGS")


def _unwrapped(comment: str) -> str:
    return "\n\n".join(_paragraphs(comment))


def _paragraphs(comment: str) -> Iterator[str]:
    for paragraph in comment.strip().split("\n\n"):
        yield " ".join(line.strip() for line in paragraph.splitlines())
