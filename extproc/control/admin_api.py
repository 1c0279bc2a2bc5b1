"""What Envoy must know of the admin API to offer it as HTTP and JSON: its definition, and all that it imports."""

from __future__ import annotations

from base64 import b64encode
from functools import lru_cache

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from extproc.admin.v1 import admin_pb2


@lru_cache(maxsize=1)
def admin_api() -> str:
    """A `google.protobuf.FileDescriptorSet`, base64, as YAML takes bytes."""
    files = FileDescriptorSet()
    _add(admin_pb2.DESCRIPTOR, files)
    return b64encode(files.SerializeToString()).decode()


def _add(file: FileDescriptor, files: FileDescriptorSet) -> None:
    """Adds a file, behind those that it imports."""
    for imported in file.dependencies:
        _add(imported, files)
    if file.name not in {each.name for each in files.file}:
        file.CopyToProto(files.file.add())
