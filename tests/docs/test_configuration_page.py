"""docs/configuration.md says what the settings model says."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from extproc.config.section import Section
from extproc.config.settings import Settings
from tools.config_reference import PAGE, describe, page, parts
from tools.config_words import DESCRIPTIONS, EXAMPLES


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text("utf-8") == page(), "run `make docs`"


def test_every_setting_is_described() -> None:
    assert not [setting.key for part in parts() for setting in part.settings if not setting.description]


def test_every_section_has_an_example() -> None:
    assert {part.key for part in parts() if part.key} == set(EXAMPLES)


def test_nothing_is_described_that_describes_itself_or_is_no_more() -> None:
    keys = {setting.key for part in parts() for setting in part.settings}
    assert set(DESCRIPTIONS) <= keys
    told_twice = [each.key for part in parts() for each in part.settings if each.told_twice]
    assert not told_twice, "the model says it by now: remove it from tools/config_words.py"


def test_types_are_said_as_a_reader_of_yaml_would() -> None:
    class Example(Section):
        port: Annotated[int, Field(ge=1, le=65535)] = 1
        kinds: tuple[Literal["a", "b"], ...] = ()
        limit: PositiveInt | None = None

    said = {name: describe(field.annotation, field.metadata) for name, field in Example.model_fields.items()}
    assert said == {"port": "integer, >= 1, <= 65535", "kinds": "list of `a`, `b`", "limit": "integer, > 0"}


def test_every_top_level_section_is_there() -> None:
    tops = {part.key.split(".")[0].removesuffix("[]") for part in parts() if part.key}
    assert tops == set(Settings.model_fields)
