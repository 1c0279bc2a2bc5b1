"""Every configuration that the documentation shows is one that the gateway would take."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from extproc.config.load import loads
from extproc.config.settings import Settings

from .pages import ROOT, Fence, fences, pages


class AnyVariable(dict[str, str]):
    """An environment in which everything is set."""

    def __missing__(self, name: str) -> str:
        return f"redis://{name.lower()}:6379" if name.endswith("URL") else f"value-of-{name.lower()}"

    def get(self, name: str, default: object = None) -> str:  # type: ignore[override]
        return self[name]


def configurations() -> Iterator[Fence]:
    for path in pages():
        for fence in fences(path):
            if fence.kind in ("yaml", "yml"):
                yield fence


def named(fence: Fence) -> str:
    return f"{fence.path.relative_to(ROOT).as_posix()}:{fence.line}"


@pytest.mark.parametrize("fence", list(configurations()), ids=named)
def test_an_example_loads_without_a_warning(fence: Fence, tmp_path: Path) -> None:
    text = with_key_files(fence.text, tmp_path)
    keys = set(yaml.safe_load(text))
    assert keys <= set(Settings.model_fields), "not a kvgate.yaml: give the block another language"
    if "models" in keys and "providers" not in keys:
        text += "providers: [{name: vllm, replicas: [http://10.0.0.1:8000]}]\n"
    assert not [warning for warning in loads(text, AnyVariable()).warnings if "serves no model" not in warning]


def with_key_files(text: str, folder: Path) -> str:
    """The same with the files that it names made."""
    for path in re.findall(r"key_file: ([^,}\s]+)", text):
        key = folder / Path(path).name
        key.write_text("a-key-of-its-own\n")
        text = text.replace(path, str(key))
    return text


def test_there_are_examples() -> None:
    assert len(list(configurations())) > 15
