"""What was changed while the gateway ran, laid over what the file says."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.config.build import build
from extproc.config.errors import ConfigError
from extproc.config.overlay import Addition, Overlay
from extproc.config.providers import Replica
from extproc.config.settings import Settings
from extproc.config.topology import Replica as Placed


def settings(*providers: dict[str, Any]) -> Settings:
    listed = providers or ({"name": "p", "replicas": [url("a", 1), url("b", 2)]},)
    models = [{"name": "m", "deployments": [{"provider": each["name"]} for each in listed]}]
    return Settings.model_validate({"providers": listed, "models": models})


def url(name: str, port: int) -> dict[str, Any]:
    return {"name": name, "url": f"http://10.0.0.1:{port}"}


def addition(name: str, port: int, provider: str = "p") -> Addition:
    return Addition(provider, Replica.model_validate(url(name, port)))


def replicas(overlay: Overlay, under: Settings | None = None) -> dict[str, Placed]:
    return build(overlay.over(under or settings())).replicas


def test_nothing_changed_is_the_file_itself() -> None:
    file = settings()
    assert Overlay().over(file) is file
    assert not Overlay()


def test_replicas_are_added_removed_drained_and_weighed() -> None:
    overlay = Overlay().with_added(addition("c", 3)).with_removed("a").with_draining("b", True).with_weight("c", 2.5)
    found = replicas(overlay)
    assert set(found) == {"b", "c"}
    assert (found["b"].draining, found["c"].weight, found["c"].port) == (True, 2.5, 3)
    assert list(overlay.sentences()) == [
        "c was added to provider p (http://10.0.0.1:3/)",
        "a was removed",
        "b drains",
        "c has weight 2.5",
    ]


def test_a_provider_of_one_address_and_mocks_without_any_keep_their_names_and_ports() -> None:
    file = settings(
        {"name": "one", "base_url": "http://10.0.0.9:9000/v1"},
        {"name": "mock-1", "type": "mock"},
        {"name": "mock-2", "type": "mock"},
    )
    before = build(file).replicas
    assert replicas(Overlay().with_weight("mock-1", 1.0), file) == before
    assert replicas(Overlay().with_draining("one", True), file)["one"].draining


def test_what_is_removed_after_it_was_added_leaves_no_trace() -> None:
    overlay = Overlay().with_added(addition("c", 3)).with_weight("c", 2.0).with_removed("c")
    assert not overlay


def test_what_the_file_says_anyway_is_no_change() -> None:
    file = settings()
    overlay = Overlay().with_draining("a", True).with_draining("a", False).with_weight("b", 1.0).less(file)
    assert not overlay
    kept = Overlay().with_weight("b", 2.0).with_weight("nobody", 1.0).less(file)
    assert dict(kept.weights) == {"b": 2.0, "nobody": 1.0}


def test_a_removed_replica_can_be_added_again_elsewhere() -> None:
    overlay = Overlay().with_removed("a").with_added(addition("a", 7))
    assert replicas(overlay)["a"].port == 7


def test_a_file_that_has_by_now_what_was_added_is_not_contradicted() -> None:
    overlay = Overlay().with_added(addition("b", 2))
    assert set(replicas(overlay)) == {"a", "b"}


@pytest.mark.parametrize(
    ("overlay", "says"),
    [
        (Overlay().with_added(addition("b", 7)), "remove that one first"),
        (Overlay().with_removed("a").with_removed("b"), "no replica left"),
    ],
)
def test_a_contradiction_is_an_error_that_says_what_to_do(overlay: Overlay, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        overlay.over(settings())


def test_names_that_nobody_has_change_nothing() -> None:
    overlay = (
        Overlay().with_draining("x", True).with_weight("y", 2.0).with_removed("z").with_added(addition("c", 3, "q"))
    )
    assert replicas(overlay.with_added(addition("c", 3, "no provider"))) == replicas(Overlay())
