"""The settings of precise mode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from extproc.config.build import build
from extproc.config.settings import Settings
from tests.unit.tiny_model import write_folder


def settings(index: str = "precise", **model: Any) -> Settings:
    return Settings.model_validate(
        {
            "routing": {"prefix_index": index},
            "providers": [{"name": "v", "base_url": "http://h:8000"}],
            "models": [{"name": "m", "deployments": [{"provider": "v"}], **model}],
        }
    )


def test_a_model_has_the_tokenizer_in_its_folder(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    model = build(settings(tokenizer=str(folder))).models["m"]
    assert (model.tokenizer, model.engine_path) == (folder, str(folder))


def test_the_engine_may_know_the_model_by_another_path(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    model = build(settings(tokenizer=str(folder), engine_path="llava-hf/llava")).models["m"]
    assert (model.tokenizer, model.engine_path) == (folder, "llava-hf/llava")


def test_without_a_tokenizer_tokens_are_estimated() -> None:
    model = build(settings("inferred")).models["m"]
    assert (model.tokenizer, model.engine_path) == (None, "")


def test_precise_mode_needs_a_tokenizer() -> None:
    with pytest.raises(ValueError, match="no model has a tokenizer"):
        settings()


def test_a_folder_without_a_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no tokenizer\.json"):
        settings(tokenizer=str(tmp_path))
    with pytest.raises(ValueError, match=r"nowhere is not a folder"):
        settings(tokenizer=str(tmp_path / "nowhere"))
