"""The ADS conversation, without a server: what is answered to whom, and when nothing is."""

from __future__ import annotations

import logging

import grpc
import pytest
from envoy.service.discovery.v3 import ads_pb2_grpc
from envoy.service.discovery.v3.discovery_pb2 import DiscoveryRequest, DiscoveryResponse

from extproc.config.topology import Pool, Replica, Topology
from extproc.control.ads import AggregatedDiscovery, Conversation
from extproc.control.snapshot import CLUSTER_TYPE, ENDPOINT_TYPE, Snapshot

LISTENER_TYPE = "type.googleapis.com/envoy.config.listener.v3.Listener"


def snapshot(*ports: int, pools: tuple[str, ...] = ("p",), health_path: str = "/health") -> Snapshot:
    replicas = tuple(Replica(f"r{port}", "127.0.0.1", port) for port in ports)
    made = {name: Pool(name, replicas, health_path=health_path) for name in pools}
    return Snapshot.of(Topology({}, made, pools[0]), {each.name: (each.host, each.port) for each in replicas})


def ask(type_url: str, *names: str, after: DiscoveryResponse | None = None, error: str = "") -> DiscoveryRequest:
    request = DiscoveryRequest(type_url=type_url, resource_names=names)
    request.node.id = "envoy-1"
    if after is not None:
        request.response_nonce = after.nonce
        request.version_info = "" if error else after.version_info
    if error:
        request.error_detail.message = error
    return request


def connected(first: Snapshot) -> tuple[Conversation, DiscoveryResponse, DiscoveryResponse]:
    """A conversation past its start: clusters and the endpoints of `p` are asked for, sent and acknowledged."""
    conversation = Conversation(first)
    (clusters,) = conversation.on_request(ask(CLUSTER_TYPE))
    assert conversation.on_request(ask(CLUSTER_TYPE, after=clusters)) == []
    (endpoints,) = conversation.on_request(ask(ENDPOINT_TYPE, "p"))
    assert conversation.on_request(ask(ENDPOINT_TYPE, "p", after=endpoints)) == []
    return conversation, clusters, endpoints


def test_equal_content_has_an_equal_version() -> None:
    assert snapshot(1, 2).version == snapshot(1, 2).version
    assert snapshot(1, 2).clusters.version == snapshot(1, 3).clusters.version
    assert snapshot(1, 2).endpoints.version != snapshot(1, 3).endpoints.version


def test_all_clusters_are_sent_and_of_the_endpoints_those_asked_for() -> None:
    conversation = Conversation(snapshot(1, pools=("p", "q")))
    (clusters,) = conversation.on_request(ask(CLUSTER_TYPE))
    assert len(clusters.resources) == 3, "p, q and the default"
    (endpoints,) = conversation.on_request(ask(ENDPOINT_TYPE, "q"))
    assert len(endpoints.resources) == 1


def test_nothing_is_sent_before_there_is_a_snapshot() -> None:
    conversation = Conversation(None)
    assert conversation.on_request(ask(CLUSTER_TYPE)) == []
    (clusters,) = conversation.on_snapshot(snapshot(1))
    assert clusters.type_url == CLUSTER_TYPE


def test_only_the_type_that_changed_is_sent() -> None:
    conversation, _, _ = connected(snapshot(1))
    (pushed,) = conversation.on_snapshot(snapshot(1, 2))
    assert pushed.type_url == ENDPOINT_TYPE
    assert conversation.on_snapshot(snapshot(1, 2)) == []


def test_clusters_come_before_their_endpoints() -> None:
    conversation, _, _ = connected(snapshot(1))
    pushed = conversation.on_snapshot(snapshot(2, health_path="/other"))
    assert [each.type_url for each in pushed] == [CLUSTER_TYPE, ENDPOINT_TYPE]


def test_a_cluster_that_warms_again_gets_its_endpoints_again() -> None:
    conversation, _, endpoints = connected(snapshot(1))
    (changed,) = conversation.on_snapshot(snapshot(1, health_path="/other"))
    assert conversation.on_request(ask(CLUSTER_TYPE, after=changed)) == []
    # Envoy repeats its latest request: same names, same version, a nonce that it has acknowledged before
    (again,) = conversation.on_request(ask(ENDPOINT_TYPE, "p", after=endpoints))
    assert again.resources == endpoints.resources


def test_a_name_asked_for_while_a_response_is_under_way_is_answered() -> None:
    conversation, _, old = connected(snapshot(1, pools=("p", "q")))
    (latest,) = conversation.on_snapshot(snapshot(2, pools=("p", "q")))
    assert conversation.on_request(ask(ENDPOINT_TYPE, "p", after=old)) == [], "the latest response is on its way"
    (wider,) = conversation.on_request(ask(ENDPOINT_TYPE, "p", "q", after=old))
    assert len(wider.resources) == 2
    assert conversation.on_request(ask(ENDPOINT_TYPE, "p", "q", after=latest)) == []
    assert conversation.on_request(ask(ENDPOINT_TYPE, "p", "q", after=wider)) == []


def test_a_rejection_is_said_once_and_not_answered(caplog: pytest.LogCaptureFixture) -> None:
    conversation, _, _ = connected(snapshot(1))
    (bad,) = conversation.on_snapshot(snapshot(1, health_path="/bad"))
    with caplog.at_level(logging.ERROR, "extproc.control.ads"):
        assert conversation.on_request(ask(CLUSTER_TYPE, after=bad, error="no such policy")) == []
    assert "envoy-1" in caplog.text
    assert "no such policy" in caplog.text
    assert len(caplog.records) == 1
    (better,) = conversation.on_snapshot(snapshot(1, health_path="/good"))
    assert better.version_info != bad.version_info


def test_a_type_that_is_not_served_is_answered_with_nothing_in_it() -> None:
    conversation = Conversation(snapshot(1))
    (empty,) = conversation.on_request(ask(LISTENER_TYPE))
    assert list(empty.resources) == []
    assert conversation.on_request(ask(LISTENER_TYPE, after=empty)) == []


def test_an_envoy_without_clusters_is_sent_no_endpoints() -> None:
    conversation, _, endpoints = connected(snapshot(1))
    (none,) = conversation.on_request(ask(ENDPOINT_TYPE, after=endpoints))
    assert list(none.resources) == []


async def test_many_envoys_follow_and_close_ends_their_streams_cleanly() -> None:
    server = grpc.aio.server()
    ads = AggregatedDiscovery(snapshot(1))
    ads_pb2_grpc.add_AggregatedDiscoveryServiceServicer_to_server(ads, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = ads_pb2_grpc.AggregatedDiscoveryServiceStub(channel)
        streams = [stub.StreamAggregatedResources() for _ in range(5)]
        for stream in streams:
            await stream.write(ask(CLUSTER_TYPE))
            first = await stream.read()
            await stream.write(ask(CLUSTER_TYPE, after=first))
        assert ads.connected == 5
        ads.publish(snapshot(1, health_path="/other"))
        pushed = [await stream.read() for stream in streams]
        assert {each.version_info for each in pushed} == {snapshot(1, health_path="/other").clusters.version}
        streams[0].cancel()
        ads.publish(snapshot(1, health_path="/third"))
        for stream in streams[1:]:
            assert (await stream.read()).type_url == CLUSTER_TYPE
        ads.close()
        for stream in streams[1:]:
            assert await stream.read() is grpc.aio.EOF
            assert await stream.code() is grpc.StatusCode.OK
        assert ads.connected == 0
    await server.stop(None)


@pytest.mark.parametrize(("version", "starts"), [("", 1), ("abc", 0)], ids=["just started", "came back"])
def test_an_envoy_that_starts_is_told_from_one_that_reconnects(version: str, starts: int) -> None:
    told: list[None] = []
    conversation = Conversation(snapshot(1), on_started=lambda: told.append(None))
    for _ in range(2):
        request = ask(CLUSTER_TYPE)
        request.version_info = version
        conversation.on_request(request)
    assert len(told) == starts
