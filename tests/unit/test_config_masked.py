"""A configuration that is shown has no secret in it."""

from __future__ import annotations

import pytest
import yaml

from extproc.config.masked import MASK, as_yaml
from extproc.config.settings import Operations, Settings

DIGEST = "ab" * 32
SECRETS = ("s3cret-key", "s3cret-upstream", "s3cret-redis", "s3cret-token", "s3cret-embedder", DIGEST)
CONFIG = {
    "operations": {"token": "s3cret-token"},
    "auth": {"enabled": True, "api_keys": [{"key": "s3cret-key"}, {"key_sha256": DIGEST}, {"key_file": "/run/key"}]},
    "ratelimit": {"backend": "redis", "redis_url": "rediss://:s3cret-redis@redis.internal:6379/1"},
    "budget": {"redis_url": "redis://gate:s3cret-redis@redis.internal"},
    "cache": {"redis_url": "redis://h/0?password=s3cret-redis", "semantic": {"api_key": "s3cret-embedder"}},
    "providers": [{"name": "p", "api_key": "s3cret-upstream", "base_url": "http://10.0.0.1:8000"}],
    "models": [{"name": "m", "deployments": [{"provider": "p"}]}],
}


def test_keys_tokens_digests_and_passwords_in_urls_are_masked() -> None:
    shown = as_yaml(Settings.model_validate(CONFIG))
    assert not [secret for secret in SECRETS if secret in shown]
    values = yaml.safe_load(shown)
    assert values["ratelimit"]["redis_url"] == f"rediss://:{MASK}@redis.internal:6379/1"
    assert values["budget"]["redis_url"] == f"redis://gate:{MASK}@redis.internal"
    assert values["cache"]["redis_url"] == f"redis://h/0?password={MASK}"
    assert values["auth"]["api_keys"][1]["key_sha256"] == f"abababab{MASK}"


def test_what_is_no_secret_is_shown() -> None:
    values = yaml.safe_load(as_yaml(Settings.model_validate(CONFIG)))
    assert values["auth"]["api_keys"][2]["key_file"] == "/run/key"
    assert values["providers"][0]["base_url"] == "http://10.0.0.1:8000/"
    assert values["budget"]["reserve_tokens"] == 1024
    assert values["models"][0]["name"] == "m"


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.1", "::", "gateway.internal"])
def test_operations_that_others_can_reach_need_a_token(host: str) -> None:
    with pytest.raises(ValueError, match="set token"):
        Operations(host=host)
    assert Operations(host=host, token="operators").host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.53", "::1", "localhost"])
def test_on_loopback_they_need_none(host: str) -> None:
    assert Operations(host=host).token is None


@pytest.mark.parametrize("token", ["short", "with space", "line\nbreak!", "ümlautümlaut"])
def test_a_token_is_what_a_header_can_hold(token: str) -> None:
    with pytest.raises(ValueError, match="token"):
        Operations(token=token)
