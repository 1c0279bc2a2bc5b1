"""The Helm chart, rendered and linted by Helm itself, and what comes of it, against Kubernetes' own schemas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from extproc.config.load import loads
from extproc.config.settings import Settings

helm_python = pytest.importorskip("helm_python")
kubernetes_validate = pytest.importorskip("kubernetes_validate")

from tools.kubernetes_manifests import CHART, FOLDER, manifests, render  # noqa: E402

ENV = {"KVGATE_OPERATIONS_TOKEN": "only-for-tests"}
OLDEST, NEWEST = "1.27", "1.37"
EXPOSED = {"exposed": True, "tokenSecret": {"name": "kvgate-token"}}
CASES: Mapping[str, Mapping[str, Any]] = {
    "defaults": {},
    "all": {
        "operations": {**EXPOSED, "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}}},
        "networkPolicy": {
            "enabled": True,
            "operationsFrom": [{"namespaceSelector": {}}],
            "apiFrom": [{"podSelector": {}}],
        },
        "gateway": {
            "autoscaling": {"enabled": True},
            "tls": {"secretName": "kvgate-tls"},
            "envFromSecrets": ["keys"],
            "restartOnConfigChange": True,
            "tolerations": [{"key": "a", "operator": "Exists"}],
            "service": {"type": "LoadBalancer", "annotations": {"a": "b"}},
        },
        "vllm": {
            "replicas": 3,
            "maxModelLen": 32768,
            "extraArgs": ["--enforce-eager"],
            "huggingFaceTokenSecret": {"name": "hf"},
            "modelVolume": {"size": "", "storageClassName": ""},
            "servedModelName": "small",
            "nodeSelector": {"gpu": "yes"},
        },
        "lmcache": {
            "enabled": True,
            "cacheTokens": 4_000_000,
            "l2Redis": {"host": "redis", "cacheTokens": 12_000_000},
            "hostIPC": False,
        },
        "imagePullSecrets": [{"name": "registry"}],
    },
    "node's LMCache": {"lmcache": {"enabled": True}},
    "an own fleet": {
        "vllm": {"enabled": False},
        "config": {
            "providers": [{"name": "mine", "replicas": ["http://10.0.0.1:8000"]}],
            "models": [{"name": "m", "deployments": [{"provider": "mine"}]}],
        },
    },
}


def resources(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    texts = [text for name, text in render(values).items() if name != "NOTES"]
    return [each for text in texts for each in yaml.safe_load_all(text) if each]


def one(found: list[dict[str, Any]], kind: str, name: str = "kvgate") -> dict[str, Any]:
    (resource,) = [each for each in found if each["kind"] == kind and each["metadata"]["name"] == name]
    return resource


def configuration(found: list[dict[str, Any]]) -> Settings:
    loaded = loads(one(found, "ConfigMap")["data"]["kvgate.yaml"], ENV)
    assert not loaded.warnings
    return loaded.settings


def pods(found: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for each in found:
        if "template" in each.get("spec", {}):
            yield each["spec"]["template"]


def test_helm_lint_finds_no_error() -> None:
    verdict = helm_python.lint(str(CHART))
    assert not verdict["errors"]
    assert [each["error"] for each in verdict["messages"]] == ["icon is recommended"]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_every_resource_is_valid_for_kubernetes(case: str, version: str) -> None:
    for resource in resources(CASES[case]):
        if resource["kind"] != "ServiceMonitor":  # not Kubernetes' own
            kubernetes_validate.validate(resource, version, strict=True)


@pytest.mark.parametrize(("host", "tokens"), [("redis", 12_000_000), ("", None)])
def test_the_gateway_is_told_of_the_store_behind_lmcache_if_there_is_one(host: str, tokens: int | None) -> None:
    given = {"enabled": True, "cacheTokens": 4_000_000, "l2Redis": {"host": host, "cacheTokens": 12_000_000}}
    (provider,) = configuration(resources({"lmcache": given})).providers
    assert (provider.host_cache_tokens, provider.remote_cache_tokens) == (4_000_000, tokens)


@pytest.mark.parametrize("case", CASES)
def test_the_configuration_in_the_chart_loads(case: str) -> None:
    settings = configuration(resources(CASES[case]))
    assert settings.models and settings.providers


def test_probes_and_ports_are_those_of_the_configuration() -> None:
    found = resources(CASES["all"])
    settings = configuration(found)
    (container,) = one(found, "Deployment")["spec"]["template"]["spec"]["containers"]
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert settings.server.tls is not None
    assert ports == {
        "http": settings.server.port,
        "https": settings.server.tls.port,
        "operations": settings.operations.port,
    }
    paths = {probe: container[probe]["httpGet"]["path"] for probe in ("livenessProbe", "readinessProbe")}
    assert paths == {"livenessProbe": "/healthz", "readinessProbe": "/readyz"}


def test_a_gateway_pod_has_the_time_that_stopping_may_take() -> None:
    found = resources({})
    pod = one(found, "Deployment")["spec"]["template"]["spec"]
    drain_s = configuration(found).processor.drain_timeout_s
    assert pod["terminationGracePeriodSeconds"] >= 5 + 2 * drain_s + 15


def test_each_replica_is_named_as_its_pod_is() -> None:
    found = resources(CASES["all"])
    stateful = one(found, "StatefulSet", "kvgate-vllm")
    assert stateful["spec"]["serviceName"] == one(found, "Service", "kvgate-vllm")["metadata"]["name"]
    assert [str(each.url) for each in configuration(found).providers[0].replicas] == [
        f"http://kvgate-vllm-{number}.kvgate-vllm.kvgate.svc:8000/" for number in range(3)
    ]


def test_vllm_is_told_to_cache_prefixes_and_to_say_so() -> None:
    (container,) = one(resources({}), "StatefulSet", "kvgate-vllm")["spec"]["template"]["spec"]["containers"]
    assert {"--enable-prefix-caching", "--enable-prompt-tokens-details"} <= set(container["args"])


@pytest.mark.parametrize("case", CASES)
def test_selectors_find_their_pods(case: str) -> None:
    found = resources(CASES[case])
    labels = [pod["metadata"]["labels"] for pod in pods(found)]
    for each in found:
        spec = each.get("spec", {})
        selector = spec.get("selector") or spec.get("podSelector")
        if each["kind"] in ("Deployment", "StatefulSet", "DaemonSet", "PodDisruptionBudget", "NetworkPolicy"):
            selector = selector["matchLabels"]
        elif each["kind"] != "Service":
            continue
        assert any(selector.items() <= pod.items() for pod in labels), (each["kind"], each["metadata"]["name"])


def test_another_version_of_the_chart_restarts_no_pod() -> None:
    for pod in pods(resources(CASES["all"])):
        assert not any("chart" in label or "version" in label for label in pod["metadata"]["labels"])


@pytest.mark.parametrize("case", CASES)
def test_the_gateway_has_no_rights_and_nowhere_to_write(case: str) -> None:
    pod = one(resources(CASES[case]), "Deployment")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    context = pod["containers"][0]["securityContext"]
    assert context["readOnlyRootFilesystem"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}


def test_the_operations_listener_stays_on_loopback_unless_it_has_a_token() -> None:
    assert configuration(resources({})).operations.host == "127.0.0.1"
    with pytest.raises(helm_python.HelmError, match="tokenSecret"):
        render({"operations": {"exposed": True}})
    operations = configuration(resources({"operations": EXPOSED})).operations
    assert (operations.host, operations.token) == ("0.0.0.0", ENV["KVGATE_OPERATIONS_TOKEN"])


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"gatway": {}}, "gatway"),
        ({"gateway": {"replicas": "two"}}, "replicas"),
        ({"config": {"server": {"port": 9000}}}, "config.server.port"),
        ({"operations": {"serviceMonitor": {"enabled": True}}}, "operations.exposed"),
    ],
)
def test_values_that_make_no_sense_are_refused_by_name(values: dict[str, Any], complaint: str) -> None:
    with pytest.raises(helm_python.HelmError, match=complaint):
        render(values)


def test_the_plain_manifests_are_what_the_chart_renders() -> None:
    assert {path.name: path.read_text() for path in FOLDER.glob("*.yaml")} == manifests(), "run `make manifests`"


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.yaml")))
def test_the_plain_manifests_are_valid_for_kubernetes(name: str) -> None:
    for resource in yaml.safe_load_all((FOLDER / name).read_text()):
        kubernetes_validate.validate(resource, NEWEST, strict=True)
