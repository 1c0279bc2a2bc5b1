"""Dependencies point downwards only. What is not in this table may not be imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "extproc"

MAY_IMPORT: dict[str, set[str]] = {
    "clock": set(),
    "tuning": set(),
    "api": set(),
    "config": set(),
    "redis_link": {"clock"},
    "tenants": {"api", "clock", "redis_link"},
    "caching": {"prefix", "api", "clock", "redis_link"},
    "metering": {"tenants", "fleet", "config"},
    "telemetry": {"metering", "fleet"},
    "admin": {"api"},
    "prefixed": set(),
    "supervisor": {"prefixed"},
    "programs": {"config", "supervisor"},
    "background": set(),
    "sim": {"clock"},
    "prefix": {"api"},
    "control": {"config", "admin"},
    "fleet": {"prefix", "config", "clock"},
    "routing": {"fleet", "prefix", "config"},
    "gateway": {"routing", "fleet", "metering", "tenants", "caching", "prefix", "api", "config", "clock"},
    "dashboard": set(),
    "operations": {
        *("gateway", "fleet", "metering", "tenants", "caching", "redis_link"),
        *("admin", "dashboard", "config", "clock"),
    },
    "assembly": {"gateway", "fleet", "tenants", "caching", "redis_link", "config", "clock"},
    "recording": {"gateway", "telemetry", "config"},
    "models": {"prefix", "config"},
    "listening": {"gateway", "fleet", "config", "clock"},
    "endpoint": {"admin", "control", "fleet", "gateway"},
    "server": {
        *(
            "assembly",
            "endpoint",
            "listening",
            "models",
            "recording",
            "background",
            "gateway",
            "metering",
            "routing",
            "fleet",
        ),
        *("control", "admin", "operations", "telemetry", "config", "clock"),
    },
    "run": {"config", "control", "programs", "supervisor"},
    "console": {"admin", "config", "control"},
    "cli": {"config", "control", "telemetry", "sim", "tuning", "run", "server", "operations", "console"},
    "__main__": {"cli"},
    "__init__": set(),
}


def part_of(module: str) -> str:
    """`extproc.fleet.state` -> `fleet`; the package itself has no part."""
    return module.split(".")[1] if "." in module else ""


def imports(path: Path) -> Iterator[str]:
    """Parts of the package that a file imports, anywhere in it."""
    package = ["extproc", *path.relative_to(PACKAGE).parent.parts]
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{module}.{alias.name}" for alias in node.names] if module == "extproc" else [module]
        yield from (part_of(name) for name in names if name.startswith("extproc."))


@pytest.mark.parametrize("part", sorted(MAY_IMPORT))
def test_dependencies_point_down(part: str) -> None:
    files = list((PACKAGE / part).rglob("*.py")) or [PACKAGE / f"{part}.py"]
    for path in files:
        found = set(imports(path)) - {part, "__version__"}
        assert found <= MAY_IMPORT[part], f"{path.relative_to(PACKAGE)} imports {found - MAY_IMPORT[part]}"


def test_the_table_is_complete() -> None:
    parts = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert parts == set(MAY_IMPORT)
