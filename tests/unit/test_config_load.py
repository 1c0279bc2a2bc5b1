"""A file that is right loads; one that is wrong says where, and what was meant."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.config.environment import Unresolved, expand
from extproc.config.errors import ConfigError
from extproc.config.load import load, loads
from extproc.config.settings import Settings

MODEL = """
providers:
  - {name: local, base_url: "http://10.0.0.1:8000/v1"}
models:
  - {name: m, deployments: [{provider: local}]}
"""


def settings(text: str, **env: str) -> Settings:
    return loads(text, env).settings


def faults(text: str, **env: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loads(text, env)
    return str(caught.value).splitlines()


class TestFaults:
    @pytest.mark.parametrize(
        ("text", "fault"),
        [
            ("", "kvgate.yaml: the file is empty"),
            ("# nothing\n", "kvgate.yaml: the file is empty"),
            ("- a\n", "kvgate.yaml:1: must be a mapping of sections, such as server: and models:"),
            ("server:\n  prot: 1\n", 'kvgate.yaml:2: server.prot: unknown key; did you mean "port"?'),
            ("servr: {}\n", 'kvgate.yaml:1: servr: unknown key; did you mean "server"?'),
            ("zzz: 1\n", "kvgate.yaml:1: zzz: unknown key"),
            ("server:\n\n  port: http\n", "kvgate.yaml:3: server.port: must be a whole number"),
            ("server:\n  port: 70000\n", "kvgate.yaml:2: server.port: must be at most 65535"),
            ("server:\n  request_timeout_s: 0\n", "kvgate.yaml:2: server.request_timeout_s: must be more than 0"),
            ("routing:\n  cooldown_s: .inf\n", "kvgate.yaml:2: routing.cooldown_s: must be a finite number"),
            (
                "providers:\n  - name: p\n    replicas: [{url: http://a, weight: .inf}]\n",
                "kvgate.yaml:3: providers[0].replicas[0].weight: must be a finite number",
            ),
            ("providers:\n  - {name: p, metrics_path: load, base_url: http://a}\n",
             "kvgate.yaml:2: providers[0].metrics_path: must match ^(/.*)?$"),
            ("server: 5\n", "kvgate.yaml:1: server: must be a section of keys and values"),
            ("server:\n  tls: {cert: a}\n", "kvgate.yaml:2: server.tls.key: is required"),
            (
                "server:\n  log_level: LOUD\n",
                'kvgate.yaml:2: server.log_level: must be "DEBUG", "INFO", "WARNING" or "ERROR"',
            ),
            (
                "routing:\n  strategy: fastest\n",
                'kvgate.yaml:2: routing.strategy: must be "round_robin", "random", "weighted", "least_busy", '
                '"latency", "cost", "session" or "prefix_kv_aware"',
            ),
            (
                "routing:\n  latency_ewma_alpha: 0\n",
                "kvgate.yaml:2: routing.latency_ewma_alpha: must be more than 0",
            ),
            (
                "routing:\n  latency_ewma_alpha: 1.5\n",
                "kvgate.yaml:2: routing.latency_ewma_alpha: must be at most 1",
            ),
            (
                "routing:\n  session_load_bound: 1\n",
                "kvgate.yaml:2: routing.session_load_bound: must be more than 1",
            ),
            (
                "routing:\n  session_load_bound: .inf\n",
                "kvgate.yaml:2: routing.session_load_bound: must be a finite number",
            ),
            (
                "routing:\n  session_header: ':path'\n",
                "kvgate.yaml:2: routing.session_header: must match ^[A-Za-z0-9_-]+$",
            ),
            ("models: {}\n", "kvgate.yaml:1: models: must be a list"),
            ("models:\n  - {name: m, deployments: []}\n", "kvgate.yaml:2: models[0].deployments: must not be empty"),
            (
                MODEL + "server:\n  port: 1\n  port: 2\n",
                "kvgate.yaml:8: server.port: the key stands twice; the first is on line 7",
            ),
            ("server: {port: 1\n", "kvgate.yaml:2: not valid YAML: expected ',' or '}', but got '<stream end>'"),
            ("a: 1\n---\nb: 2\n", "kvgate.yaml:2: not valid YAML: but found another document"),
            ("a: \x00\n", "kvgate.yaml:1: not valid YAML: a character that YAML does not allow"),
            ("a: " + "[" * 5_000, "kvgate.yaml: nested too deeply"),
            ("server: !vault x\n", "kvgate.yaml:1: server: has a YAML tag that means nothing here"),
            ("server: &s\n  tls: *s\n", "kvgate.yaml:1: server.tls: refers to itself"),
            ("? [a]\n: 1\n", "kvgate.yaml:1: a key must be a word"),
            (
                "providers:\n  - name: p\n    type: openai_compatible\n",
                "kvgate.yaml:2: providers[0]: needs base_url or replicas",
            ),
            (
                "providers:\n  - {name: p, base_url: 'vllm.local'}\n",
                "kvgate.yaml:2: providers[0].base_url: must be a URL such as http://10.0.0.1:8000",
            ),
            (
                "providers:\n  - name: p\n    replicas:\n      - url: http://a\n        wieght: 2\n",
                'kvgate.yaml:5: providers[0].replicas[0].wieght: unknown key; did you mean "weight"?',
            ),
            (
                MODEL + "  - name: n\n    deployments:\n      - provider: locl\n",
                'kvgate.yaml:8: models[1].deployments[0].provider: no provider is named "locl"; did you mean "local"?',
            ),
            (
                MODEL + "  - name: m\n    deployments: [{provider: local}]\n",
                'kvgate.yaml:6: models[1].name: the name "m" is used more than once',
            ),
            (
                "models:\n  - name: m\n    deployments: [{provider: p}]\n    image_tokens: many\n"
                "providers: [{name: p, type: mock}]\n",
                'kvgate.yaml:4: models[0].image_tokens: must be "qwen2_vl", "llava_onevision" or "openai_tiles" '
                "or a whole number",
            ),
            ("server:\n  host: ${HOST}\n", "kvgate.yaml:2: server.host: the environment variable HOST is not set; "
             "set it, or write ${HOST:-default}"),
        ],
    )  # fmt: skip
    def test_a_fault_is_told_with_its_line_and_what_was_meant(self, text: str, fault: str) -> None:
        assert faults(text) == [fault]

    def test_all_faults_are_told_at_once_in_the_order_of_the_file(self) -> None:
        text = MODEL + "server:\n  prot: 1\n  log_level: LOUD\nrouting:\n  prefix_kv_aware:\n    block_sise: 4\n"
        assert [fault.split(": ")[:2] for fault in faults(text)] == [
            ["kvgate.yaml:7", "server.prot"],
            ["kvgate.yaml:8", "server.log_level"],
            ["kvgate.yaml:11", "routing.prefix_kv_aware.block_sise"],
        ]

    def test_a_contradiction_in_the_fleet_is_told_with_its_line(self) -> None:
        text = MODEL + "  - name: n\n    deployments: [{provider: p}]\n"
        text = text.replace("providers:\n", "providers:\n  - {name: p, base_url: 'http://user:pw@h/'}\n")
        assert faults(text) == [
            "kvgate.yaml:3: providers[0]: a URL must not hold credentials, a query or a fragment; "
            "a key belongs in api_key"
        ]

    def test_secrets_never_appear(self) -> None:
        text = (
            "providers:\n  - name: p\n    api_key: [sk-secret]\n    base_url: {x: sk-secret}\n    api_kee: sk-secret\n"
            "auth:\n  enabled: true\n  api_keys: [{key: {a: sk-secret}, rpm: sk-secret}]\n"
            "cache: {redis_url: [sk-secret], ttl_seconds: sk-secret}\nserver: {port: '${SECRET}'}\n"
        )
        said = "\n".join(faults(text, SECRET="sk-secret"))
        assert "providers[0].api_kee" in said
        assert "secret" not in said
        assert "secret" not in "".join(faults("providers: [{name: p, api_key: *sk-secret}]"))
        good = loads(MODEL.replace("name: local", "name: local, api_key: sk-secret"), {})
        assert "secret" not in repr(good)

    def test_a_file_that_cannot_be_read_is_a_fault(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"nowhere.yaml: cannot be read: No such file"):
            load(tmp_path / "nowhere.yaml", {})
        with pytest.raises(ConfigError, match="Is a directory"):
            load(tmp_path, {})
        (tmp_path / "latin.yaml").write_bytes(b"a: \xe9\n")
        with pytest.raises(ConfigError, match="not valid UTF-8 at byte 3"):
            load(tmp_path / "latin.yaml", {})

    @given(st.text(max_size=60) | st.text(alphabet="ab:{}[]-&*<!|>'\"\n #,$?", max_size=30))
    def test_any_text_loads_or_is_a_config_error(self, text: str) -> None:
        try:
            loads(text, {})
        except ConfigError as error:
            assert str(error).startswith("kvgate.yaml")


class TestValues:
    def test_a_file_loads(self, tmp_path: Path) -> None:
        (tmp_path / "kvgate.yaml").write_text(MODEL)
        loaded = load(tmp_path / "kvgate.yaml", {})
        assert loaded.settings.models[0].name == "m"
        assert loaded.warnings == ()

    def test_a_key_without_a_value_keeps_its_default(self) -> None:
        found = settings("server:\n  port:\n  host: ${HOST:-}\nrouting:\nproviders:\n")
        assert found == Settings()

    def test_text_may_be_written_as_a_number_or_a_boolean(self) -> None:
        text = MODEL.replace("name: local", "name: local, api_key: 0123")
        text = text.replace("provider: local", "provider: local, model: 1e3")
        found = settings(text + "envoy:\n  log_level: off\n")
        assert found.providers[0].api_key == "0123"
        assert found.models[0].deployments[0].model == "1e3"
        assert found.envoy.log_level == "off"

    def test_the_session_header_is_named_as_envoy_spells_it(self) -> None:
        assert settings("routing: {strategy: session, session_header: X-Chat-Id}").routing.session_header == "x-chat-id"

    def test_anchors_and_merge_keys_work(self) -> None:
        found = settings(
            "providers:\n  - &a {name: a, base_url: 'http://a', tokens_per_second: 7}\n"
            "  - {<<: *a, name: b}\n  - {name: c, <<: [{base_url: 'http://c'}, *a]}\n"
        )
        assert [(p.name, str(p.base_url), p.tokens_per_second) for p in found.providers] == [
            ("a", "http://a/", 7),
            ("b", "http://a/", 7),
            ("c", "http://c/", 7),
        ]

    def test_a_provider_that_serves_no_model_is_warned_of(self) -> None:
        loaded = loads(MODEL + "  # end\n" + "envoy: {}\n", {})
        assert loaded.warnings == ()
        text = MODEL.replace("providers:\n", "providers:\n  - {name: idle, type: mock}\n")
        assert loads(text, {}).warnings == (
            'kvgate.yaml:3: providers[0]: provider "idle" serves no model; it gets no traffic',
        )


class TestEnvironment:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("${A}", "1"),
            ("x${A}y${A}", "x1y1"),
            ("${B:-2}", "2"),
            ("${EMPTY:-2}", "2"),
            ("${EMPTY}", ""),
            ("${B:-}", ""),
            ("${B:-http://h:80/a-b}", "http://h:80/a-b"),
            ("$${A}", "${A}"),
            ("$A $$ $", "$A $$ $"),
            ("${NESTED}", "${A}"),
        ],
    )
    def test_references_are_replaced(self, text: str, value: str) -> None:
        assert expand(text, {"A": "1", "EMPTY": "", "NESTED": "${A}"}) == value

    @pytest.mark.parametrize("text", ["${", "${}", "${1A}", "${A-b}", "${A", "${A:-${B}}"])
    def test_a_malformed_reference_is_refused(self, text: str) -> None:
        with pytest.raises(Unresolved, match="does not begin"):
            expand(text, {"A": "1"})

    @given(st.text(alphabet=st.characters(exclude_characters="$")))
    def test_text_without_references_stays_as_it_is(self, text: str) -> None:
        assert expand(text, {}) == text

    def test_the_type_is_that_of_the_expanded_text(self) -> None:
        found = settings("server:\n  port: ${PORT:-9000}\nenvoy:\n  concurrency: ${N:-}\n")
        assert (found.server.port, found.envoy.concurrency) == (9000, None)
        assert settings("server:\n  port: ${PORT:-9000}\n", PORT="9001").server.port == 9001

    def test_a_secret_of_digits_stays_text(self) -> None:
        text = MODEL.replace("name: local", "name: local, api_key: $KEY").replace("$KEY", "'${KEY}'")
        assert settings(text, KEY="007").providers[0].api_key == "007"
        block = "providers:\n  - name: p\n    base_url: http://h\n    api_key: ${KEY}\n"
        assert settings(block, KEY="007").providers[0].api_key == "007"

    def test_an_expansion_cannot_bring_in_structure(self) -> None:
        assert settings("server:\n  host: ${H}\n", H="a\nport: 1").server.host == "a\nport: 1"
