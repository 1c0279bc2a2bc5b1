"""The `programs` section says in which order, and is told at once when it cannot."""

from __future__ import annotations

import pytest

from extproc.config.load import loads
from extproc.config.masked import as_yaml
from extproc.config.programs import Program, levels
from extproc.config.settings import Settings


def settings(programs: str) -> Settings:
    return loads(f"programs:\n{programs}", {}).settings


def test_numbers_are_words_of_a_command() -> None:
    (program,) = settings("  - {name: a, command: [engine, --port, 8000], env: {CORE: 0}}").programs
    assert program.command == ("engine", "--port", "8000")
    assert program.env == {"CORE": "0"}


def test_levels_follow_after() -> None:
    redis, lmcache = program("redis"), program("lmcache", "redis")
    first, second = program("vllm-0", "lmcache"), program("vllm-1", "lmcache", "redis")
    assert levels([second, lmcache, first, redis]) == ((redis,), (lmcache,), (second, first))


@pytest.mark.parametrize(
    ("programs", "complaint"),
    [
        ("  - {name: a, command: [x], after: [b]}", "'a' comes after 'b', which is no program"),
        ("  - {name: a, command: [x], after: [a]}", "each of these waits for another of them: a"),
        (
            "  - {name: a, command: [x], after: [b]}\n  - {name: b, command: [x], after: [a]}",
            "each of these waits for another of them: a, b",
        ),
        ("  - {name: a, command: [x]}\n  - {name: a, command: [y]}", "the name 'a' is used more than once"),
        ("  - {name: a, command: []}", "programs[0].command"),
        ("  - {name: a, command: [x], ready_url: 'localhost:80'}", "needs http://, https:// or tcp://host:port"),
        ("  - {name: a, command: [x], ready_url: 'tcp://localhost'}", "needs a host and a port"),
        ("  - {name: a, command: [x], env: {'A=B': 1}}", "programs[0].env"),
    ],
)
def test_what_cannot_be_run_is_told(programs: str, complaint: str) -> None:
    with pytest.raises(ValueError) as told:
        settings(programs)
    assert complaint in str(told.value)


def test_the_values_of_variables_are_not_shown() -> None:
    shown = as_yaml(settings("  - {name: a, command: [x], env: {HF_TOKEN: hf_abcdef}}"))
    assert "hf_abcdef" not in shown
    assert "HF_TOKEN" in shown


def program(name: str, *after: str) -> Program:
    return Program(name=name, command=("x",), after=after)
