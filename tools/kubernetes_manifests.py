"""deploy/kubernetes/, rendered from the Helm chart by Helm itself: `make manifests`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import helm_python

ROOT = Path(__file__).parents[1]
CHART = ROOT / "deploy" / "helm" / "kvgate"
FOLDER = ROOT / "deploy" / "kubernetes"
NAME = NAMESPACE = "kvgate"
_OF_HELM = ("app.kubernetes.io/managed-by: Helm", "helm.sh/chart: ")
_HEADER = "# Rendered from deploy/helm/kvgate by `make manifests`; change it there.\n"

_VLLM = ("vllm", "poddisruptionbudget-vllm", "networkpolicy-vllm")
FILES: Mapping[str, tuple[Mapping[str, Any], tuple[str, ...]]] = {
    "gateway.yaml": (
        {},
        ("serviceaccount", "configmap", "service", "deployment", "poddisruptionbudget", "networkpolicy"),
    ),
    "vllm.yaml": ({}, _VLLM),
    "vllm-with-lmcache.yaml": ({"lmcache": {"enabled": True}}, (*_VLLM, "lmcache", "networkpolicy-lmcache")),
}
"""File -> values other than the chart's own, and its templates. Apply one of the vLLM files."""
_BASE: Mapping[str, Any] = {"networkPolicy": {"enabled": True}}


def render(values: Mapping[str, Any]) -> dict[str, str]:
    """Template, by its bare name -> what Helm makes of it.

    Raises:
        helm_python.HelmError: the chart or the values are wrong.
    """
    with helm_python.Chart.load(CHART) as chart:
        rendered = chart.render(values=dict(values), name=NAME, namespace=NAMESPACE)
    return {Path(path).stem: text for path, text in rendered.items()}


def manifests() -> dict[str, str]:
    """File -> its text, without what only Helm has a use for."""
    files = {"namespace.yaml": f"{_HEADER}apiVersion: v1\nkind: Namespace\nmetadata: {{name: {NAMESPACE}}}\n"}
    for file, (values, templates) in FILES.items():
        rendered = render({**_BASE, **values})
        files[file] = _HEADER + "---\n".join(_plain(rendered[name]) for name in templates)
    return files


def _plain(text: str) -> str:
    lines = [line.rstrip() for line in text.strip().splitlines()]
    return "\n".join(line for line in lines if not line.strip().startswith(_OF_HELM)) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the files; with --check only says whether they are up to date: status 0 they are, 1 they are not."""
    parser = argparse.ArgumentParser(prog="python -m tools.kubernetes_manifests", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 if a file is out of date")
    arguments = parser.parse_args(argv)
    stale = []
    for name, text in manifests().items():
        path = FOLDER / name
        if path.exists() and path.read_text("utf-8") == text:
            continue
        stale.append(name)
        if not arguments.check:
            FOLDER.mkdir(exist_ok=True)
            path.write_text(text, "utf-8")
    if stale and arguments.check:
        sys.stderr.write(f"out of date: {', '.join(stale)}; run `make manifests`\n")
    return int(bool(stale) and arguments.check)


if __name__ == "__main__":
    sys.exit(main())
