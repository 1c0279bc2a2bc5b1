"""Rows of panels -> the JSON that Grafana takes."""

from __future__ import annotations

from grafana_foundation_sdk.builders import common, dashboard, prometheus, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement, StackingMode, TooltipDisplayMode
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataSourceRef,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from tools.grafana.fleet import CACHE, REPLICAS, ROUTING
from tools.grafana.kv_store import KV_STORE
from tools.grafana.machine import ENVOY, PROCESSOR
from tools.grafana.query import Panel
from tools.grafana.traffic import KNOWN, TENANTS

ROWS = (KNOWN, ROUTING, CACHE, REPLICAS, TENANTS, PROCESSOR, ENVOY, KV_STORE)
_SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
_WIDTH, _HEIGHT = 8, 8
"""Of a panel: three to a row of Grafana's 24 columns."""


def board() -> str:
    """The dashboard as JSON."""
    built = (
        dashboard.Dashboard("KVGate")
        .uid("kvgate")
        .description("Traffic, routing quality, caches, replicas, tenants and Envoy of a KVGate fleet.")
        .tags(["kvgate", "llm", "vllm"])
        .refresh("30s")
        .time("now-1h", "now")
        .timezone("browser")
        .readonly()
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
        .with_variable(_labels("model", "kvgate_routing_decisions_total"))
        .with_variable(_labels("instance", "kvgate_build_info"))
    )
    for row in ROWS:
        built = built.with_row(dashboard.Row(row.title))
        for panel in row.panels:
            built = built.with_panel(_panel(panel))
    return JSONEncoder(sort_keys=True, indent=2).encode(built.build()) + "\n"


def _labels(label: str, metric: str) -> dashboard.QueryVariable:
    """A choice among the values of a label."""
    return (
        dashboard.QueryVariable(label)
        .label(label)
        .datasource(_SOURCE)
        .query(f"label_values({metric}, {label})")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(VariableOption(text="All", value="$__all", selected=True))
    )


def _panel(panel: Panel) -> timeseries.Panel:
    built = (
        timeseries.Panel()
        .title(panel.title)
        .description(panel.description)
        .datasource(_SOURCE)
        .unit(panel.unit)
        .min(0)
        .span(_WIDTH)
        .height(_HEIGHT)
        .line_width(1)
        .fill_opacity(20 if panel.stacked else 5)
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
    )
    if panel.stacked:
        built = built.stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    if panel.most is not None:
        built = built.max(panel.most)
    for number, (expr, legend) in enumerate(panel.queries):
        query = prometheus.Dataquery().expr(expr).legend_format(legend).range().ref_id(chr(ord("A") + number))
        built = built.with_target(query.datasource(_SOURCE))
    return built
