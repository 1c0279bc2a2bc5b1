"""The one gRPC server of the processor, and what it offers. Used by `server.py` alone."""

from __future__ import annotations

from dataclasses import dataclass

import grpc
from envoy.service.accesslog.v3 import als_pb2, als_pb2_grpc
from envoy.service.discovery.v3 import ads_pb2, ads_pb2_grpc
from envoy.service.ext_proc.v3 import external_processor_pb2
from grpc_health.v1 import health as grpc_health
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from extproc.admin.service import SERVICE as ADMIN
from extproc.admin.service import Admin
from extproc.control.ads import AggregatedDiscovery
from extproc.fleet.feeds.access_log import AccessLog
from extproc.gateway.processor import SERVICE as EXT_PROC
from extproc.gateway.processor import ExternalProcessor

WATCHED = ("", EXT_PROC, ADMIN)
"""Services whose health can be asked for; the empty name is that of the server."""


@dataclass(frozen=True, slots=True)
class Services:
    """What the server offers, beside reflection."""

    processor: ExternalProcessor
    access_log: AccessLog
    discovery: AggregatedDiscovery
    health: grpc_health.aio.HealthServicer
    admin: Admin


def grpc_server(services: Services, max_body_bytes: int) -> grpc.aio.Server:
    """A server that listens nowhere yet.

    Args:
        max_body_bytes: of a request that Envoy hands over.
    """
    max_message_bytes = max_body_bytes + (1 << 20)
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", max_message_bytes),
            ("grpc.max_send_message_length", max_message_bytes),
            ("grpc.so_reuseport", 0),  # a second processor on this port is a mistake, not a way to scale
            ("grpc.http2.max_ping_strikes", 0),  # Envoy's keepalive pings are welcome
        ]
    )
    services.processor.add_to(server)
    als_pb2_grpc.add_AccessLogServiceServicer_to_server(services.access_log, server)
    ads_pb2_grpc.add_AggregatedDiscoveryServiceServicer_to_server(services.discovery, server)
    health_pb2_grpc.add_HealthServicer_to_server(services.health, server)
    services.admin.add_to(server)
    names = [
        external_processor_pb2.DESCRIPTOR.services_by_name["ExternalProcessor"].full_name,
        als_pb2.DESCRIPTOR.services_by_name["AccessLogService"].full_name,
        ads_pb2.DESCRIPTOR.services_by_name["AggregatedDiscoveryService"].full_name,
        health_pb2.DESCRIPTOR.services_by_name["Health"].full_name,
        ADMIN,
        reflection.SERVICE_NAME,
    ]
    reflection.enable_server_reflection(names, server)
    return server
