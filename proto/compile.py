"""Compiles the .proto files of this folder into `extproc`: messages, their types for mypy, gRPC stubs, and the OpenAPI
document of what Envoy makes of them.

Run it by `make proto`, which uses the oldest compiler that the dependencies allow: what it writes works with any newer
protobuf. The imported definitions of Google's come from the modules of `xds-protos`; nothing of them is copied here.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from google.api import annotations_pb2, httpbody_pb2
from google.protobuf import struct_pb2
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import protoc

PROTO = Path(__file__).parent
sys.path.insert(0, str(PROTO))

from openapi import openapi  # noqa: E402 - beside this file

ADMIN = "kvgate/admin/v1/admin.proto"


def compile_admin(*options: str) -> None:
    """Calls protoc on admin.proto.

    Raises:
        RuntimeError: protoc has said why, on stderr.
    """
    known = FileDescriptorSet()
    for module in (annotations_pb2, httpbody_pb2, struct_pb2):
        _add(module.DESCRIPTOR, known)
    with tempfile.TemporaryDirectory() as folder:
        imports = Path(folder) / "imports.binpb"
        imports.write_bytes(known.SerializeToString())
        if protoc.main(["protoc", f"--descriptor_set_in={imports}", f"-I{PROTO}", *options, ADMIN]):
            raise RuntimeError(f"{ADMIN} does not compile")


def _add(file: FileDescriptor, known: FileDescriptorSet) -> None:
    """Adds a file to a set, behind those that it imports."""
    for imported in file.dependencies:
        _add(imported, known)
    if file.name not in {each.name for each in known.file}:
        file.CopyToProto(known.file.add())


def main(package: Path) -> None:
    """Writes the modules of the admin API below `package`/admin/v1."""
    target = package / "admin" / "v1"
    with tempfile.TemporaryDirectory() as folder:
        compile_admin(f"--python_out={folder}", f"--pyi_out={folder}", f"--grpc_python_out={folder}")
        for made in (Path(folder) / ADMIN).parent.iterdir():
            text = made.read_text("utf-8").replace("from kvgate.admin.v1 import", "from extproc.admin.v1 import")
            (target / made.name).write_text(text, "utf-8")
    (target / "openapi.json").write_text(document(), "utf-8")


def document() -> str:
    """The OpenAPI document."""
    with tempfile.TemporaryDirectory() as folder:
        compiled = Path(folder) / "admin.binpb"
        compile_admin(f"--descriptor_set_out={compiled}", "--include_source_info")
        (file,) = FileDescriptorSet.FromString(compiled.read_bytes()).file
    return openapi(file)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
