"""The parts that dashboards are made of, so that all look alike: units, colours, legends, links."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

DATASOURCE_UID: Final = "framemesh-prometheus"
TAG: Final = "framemesh"
SCHEMA_TAG: Final = "generated"
_REFRESH: Final = "10s"  # twice the time between two scrapes
_SINCE: Final = "now-30m"
NODE: Final = 'node=~"$node"'
"""The hosts that were chosen; every query has it."""
RATE: Final = "$__rate_interval"

GOOD, WARN, BAD, QUIET = "green", "orange", "red", "blue"
PanelT = TypeVar("PanelT", timeseries.Panel, stat.Panel, bargauge.Panel, table.Panel, statetimeline.Panel)
Steps = Sequence[tuple[float | None, str]]
"""Colours from these values on; the first has None."""
NEUTRAL: Final[Steps] = ((None, QUIET),)
NONE_IS_GOOD: Final[Steps] = ((None, GOOD), (1, BAD))
FULLNESS: Final[Steps] = ((None, GOOD), (0.8, WARN), (0.9, BAD))
"""Of a share that is used up."""
LATENCY: Final[Steps] = ((None, GOOD), (0.1, WARN), (0.25, BAD))
"""Seconds: what people who talk to one another begin to notice, and what disturbs them."""

STREAM_UID: Final = "framemesh-stream"
_TO_STREAM: Final = f"/d/{STREAM_UID}?var-stream=${{__data.fields.stream}}&${{__url_time_range}}"
_STATE_COLOURS: Final = (
    ("live|running|on|active", GOOD),
    ("connecting|starting|waiting|retrying|reconnecting", WARN),
    ("failed|stalled|frozen", BAD),
)


@dataclass(frozen=True)
class Query:
    """One query of a panel."""

    expr: str
    legend: str = ""
    instant: bool = False


@dataclass(frozen=True)
class Board:
    """One dashboard; `panels` in the order they are read, rows of them titled by text."""

    uid: str
    title: str
    description: str
    panels: tuple["Builder[models.Panel] | str", ...]
    variables: tuple[str, ...] = ()
    """Labels to choose by, besides the node: values of `framemesh_resource_state`'s."""


def datasource() -> models.DataSourceRef:
    return models.DataSourceRef(type_val="prometheus", uid=DATASOURCE_UID)


def lines(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    width: int = 8,
    stacked: bool = False,
    top: float | None = None,
) -> timeseries.Panel:
    """What changes over time, with the last value and the largest one in the legend. `top`: where the axis ends."""
    panel = (
        timeseries.Panel()
        .line_width(1)
        .fill_opacity(30 if stacked else 8)
        .show_points(common_models.VisibilityMode.NEVER)
    )
    panel.legend(
        common.VizLegendOptions()
        .display_mode(common_models.LegendDisplayMode.TABLE)
        .placement(common_models.LegendPlacement.BOTTOM)
        .show_legend(True)
        .calcs(["lastNotNull", "max"])
    )
    panel.tooltip(
        common.VizTooltipOptions().mode(common_models.TooltipDisplayMode.MULTI).sort(common_models.SortOrder.DESCENDING)
    )
    # A name has the same colour in every panel.
    panel.color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
    panel.min(0)
    if top is not None:
        panel.axis_soft_max(top)
    if stacked:
        panel.stacking(common.StackingConfig().mode(common_models.StackingMode.NORMAL).group("A"))
    return _common(panel, title, description, unit, queries, width, 8)


def number(
    title: str, description: str, unit: str, *queries: Query, steps: Steps = NEUTRAL, width: int = 4
) -> stat.Panel:
    """What it is now, with its course behind it."""
    panel = stat.Panel().graph_mode(common_models.BigValueGraphMode.AREA)
    panel.color_mode(common_models.BigValueColorMode.VALUE).reduce_options(_last())
    panel.thresholds(_thresholds(steps)).color_scheme(_by_thresholds())
    return _common(panel, title, description, unit, queries, width, 4)


def bars(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    steps: Steps = NEUTRAL,
    width: int = 8,
    top: float | None = None,
) -> bargauge.Panel:
    """What several of a kind are now, one under the other."""
    panel = bargauge.Panel().orientation(common_models.VizOrientation.HORIZONTAL).reduce_options(_last())
    panel.display_mode(common_models.BarGaugeDisplayMode.BASIC).min(0)
    panel.value_mode(common_models.BarGaugeValueMode.TEXT)
    panel.thresholds(_thresholds(steps)).color_scheme(_by_thresholds())
    if top is not None:
        panel.max(top)
    instant = tuple(Query(query.expr, query.legend, instant=True) for query in queries)
    return _common(panel, title, description, unit, instant, width, 8)


def rows(
    title: str, description: str, *queries: Query, width: int = 12, hidden: Sequence[str] = (), to_stream: bool = False
) -> table.Panel:
    """A table of the series that there are; their labels are its columns, without those that are `hidden`.

    `to_stream`: a row leads to the dashboard of its stream.
    """
    panel = table.Panel().show_header(True)
    panel.with_transformation(
        models.DataTransformerConfig(
            id_val="organize",
            options={"excludeByName": dict.fromkeys(("Time", "Value", "__name__", "instance", *hidden), True)},
        )
    )
    if to_stream:
        panel.data_links([dashboard.DashboardLink("Stream ${__data.fields.stream}").url(_TO_STREAM)])
    instant = tuple(Query(query.expr, query.legend, instant=True) for query in queries)
    return _common(panel, title, description, "short", instant, width, 8, tables=True)


def states(title: str, description: str, *queries: Query, width: int = 12) -> statetimeline.Panel:
    """Since when, and when until: a bar for as long as a series is there."""
    panel = statetimeline.Panel().show_value(common_models.VisibilityMode.NEVER).row_height(0.8).merge_values(True)
    panel.legend(
        common.VizLegendOptions()
        .display_mode(common_models.LegendDisplayMode.LIST)
        .placement(common_models.LegendPlacement.BOTTOM)
        .show_legend(False)
        .calcs([])
    )
    panel.thresholds(_thresholds(((None, BAD), (1, QUIET)))).color_scheme(_by_thresholds())
    for words, colour in _STATE_COLOURS:
        fixed = models.DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": colour})
        panel.override_by_regexp(f"/ ({words})$/", [fixed])
    return _common(panel, title, description, "none", queries, width, 8)


def build(board: Board) -> models.Dashboard:
    """The dashboard, its panels placed from left to right."""
    builder = dashboard.Dashboard(board.title).uid(board.uid).description(board.description).tags([TAG, SCHEMA_TAG])
    builder.refresh(_REFRESH).time(_SINCE, "now").timezone("browser").tooltip(models.DashboardCursorSync.CROSSHAIR)
    builder.readonly().link(
        dashboard.DashboardLink("framemesh")
        .type(models.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(False)
        .keep_time(True)
        .include_vars(True)
    )
    builder.with_variable(
        _variable("node", "Host", "label_values(framemesh_info, node)")
        .include_all(True)
        .multi(True)
        .all_value(".*")
        .current(models.VariableOption(text="All", value="$__all"))
    )
    for label in board.variables:
        query = f'label_values(framemesh_resource_state{{{NODE}, {label}!=""}}, {label})'
        builder.with_variable(_variable(label, label.capitalize(), query))
    for panel in board.panels:
        if isinstance(panel, str):
            builder.with_row(dashboard.Row(panel))
        else:
            builder.with_panel(panel)
    built = builder.build()
    for number_, placed in enumerate(built.panels or [], start=1):
        placed.id_val = number_
    return built


def _variable(name: str, label: str, query: str) -> dashboard.QueryVariable:
    variable = dashboard.QueryVariable(name).label(label).query(query).datasource(datasource())
    return variable.refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(models.VariableSort.ALPHABETICAL_ASC)


def _common(
    panel: PanelT,
    title: str,
    description: str,
    unit: str,
    queries: Sequence[Query],
    width: int,
    height: int,
    *,
    tables: bool = False,
) -> PanelT:
    panel.title(title).description(description).unit(unit).span(width).height(height).datasource(datasource())
    for query in queries:
        target = (
            prometheus.Dataquery().expr(query.expr).legend_format(query.legend or "__auto").datasource(datasource())
        )
        target.ref_id(chr(ord("A") + queries.index(query)))
        if query.instant:
            target.instant()
        else:
            target.range()
        if tables:
            target.format(PromQueryFormat.TABLE)
        panel.with_target(target)
    return panel


def _last() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"]).values(False)


def _by_thresholds() -> dashboard.FieldColor:
    return dashboard.FieldColor().mode(models.FieldColorModeId.THRESHOLDS)


def _thresholds(steps: Steps) -> dashboard.ThresholdsConfig:
    return (
        dashboard.ThresholdsConfig()
        .mode(models.ThresholdsMode.ABSOLUTE)
        .steps([models.Threshold(value=value, color=colour) for value, colour in steps])
    )
