"""What the dashboards are built from: queries that select by variables, panels in the house style, and the grid.

Every panel has a title, a description, a unit and a data source from a variable (the rules of Grafana's dashboard
linter); every query selects by job and instance, and rates are over `$__rate_interval`. A panel with a line or a bar
for each target shows the worst of them only, so that a thousand targets fit.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from grafana_foundation_sdk.builders import bargauge, heatmap, prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as dashboard_builders
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from deploy.rules.states import RANKS
from exporter.verdict.rules import Severity, severity

SOURCE = dashboard.DataSourceRef(type_val="prometheus", uid="${datasource}")
HERE = 'job=~"$job", instance=~"$instance"'
TARGETS = f'{HERE}, target=~"$target"'
COLUMNS = 24
EXPORTER = "${exporter_url:raw}"  # where a browser reaches the exporter: a text box of each dashboard
EXPORTER_URL = "http://127.0.0.1:9497"  # what the box says first
QUANTILES = (("0.5", "p50"), ("0.95", "p95"), ("0.99", "p99"))
BARS = 20  # states and lines that a panel has room for
MINUTE = "1m"  # the shortest interval of panels with rates: probes come every 15 s, so that a rate over less sees none

GREEN, YELLOW, RED, BLUE, GREY = "green", "yellow", "red", "blue", "#6e7079"
COLOURS = {Severity.OK: GREEN, Severity.WARNING: YELLOW, Severity.CRITICAL: RED, Severity.UNKNOWN: GREY}


Panel = bargauge.Panel | heatmap.Panel | stat.Panel | statetimeline.Panel | table.Panel | timeseries.Panel


@dataclass(frozen=True, slots=True)
class Row:
    """Panels side by side, each with its width in columns; wider than the grid, they go on below.

    Without a title it goes on with the row above it, in another height.
    """

    title: str
    height: int
    panels: Sequence[tuple[int, Panel]]


def placed(builder: dashboard_builders.Dashboard, rows: Iterable[Row]) -> dashboard_builders.Dashboard:
    """The dashboard with every row placed: ids from 1, no gap, nothing off the grid."""
    number, top = 1, 0
    for row in rows:
        if row.title:
            head = dashboard_builders.Row(row.title).id(number).grid_pos(dashboard.GridPos(1, COLUMNS, 0, top))
            builder.with_row(head)
            number, top = number + 1, top + 1
        left = 0
        for width, panel in row.panels:
            if left + width > COLUMNS:
                left, top = 0, top + row.height
            builder.with_panel(panel.id(number).grid_pos(dashboard.GridPos(row.height, width, left, top)))
            number, left = number + 1, left + width
        top += row.height
    return builder


def page(uid: str, title: str, description: str, exporter_url: str) -> dashboard_builders.Dashboard:
    """An empty dashboard with the variables, links and annotations that all share."""
    return (
        dashboard_builders.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags(["ibkr"])
        .timezone("browser")
        .time("now-1h", "now")
        .refresh("10s")
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .readonly()  # a change in Grafana would be lost: the files are generated
        .annotation(_alerts())
        .link(
            dashboard_builders.DashboardLink("IBKR")
            .type(dashboard.DashboardLinkType.DASHBOARDS)
            .tags(["ibkr"])
            .keep_time(True)
            .include_vars(True)
        )
        .with_variable(dashboard_builders.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(
            dashboard_builders.TextBoxVariable("exporter_url").label("Exporter's page").default_value(exporter_url)
        )
        .with_variable(chosen("job", "Job", "label_values(ibkr_exporter_build_info, job)", several=True))
        .with_variable(
            chosen(
                "instance", "Exporter", 'label_values(ibkr_exporter_build_info{job=~"$job"}, instance)', several=True
            )
        )
    )


def _alerts() -> dashboard_builders.AnnotationQuery:
    """A mark from the beginning to the end of each page; an alert about the exporter or a fleet has no target."""
    selected = 'job=~"$job|", instance=~"$instance|", target=~"$target|"'
    return (
        dashboard_builders.AnnotationQuery()
        .name("Pages")
        .datasource(SOURCE)
        .enable(True)
        .icon_color("red")
        .expr(f'ALERTS{{{selected}, alertname=~"Ibkr.+", alertstate="firing", severity="critical"}}')
        .title_format("{{alertname}}")
        .text_format("{{target}}")
        .tag_keys("severity")
        .step("15s")
    )


def external(title: str, path: str) -> dashboard_builders.DashboardLink:
    """A link above the panels to a page of the exporter."""
    return (
        dashboard_builders.DashboardLink(title)
        .type(dashboard.DashboardLinkType.LINK)
        .icon("external link")
        .url(EXPORTER + path)
        .target_blank(True)
    )


RUNBOOK = {"title": "Runbook", "url": EXPORTER + "/runbooks/${__value.text}", "targetBlank": True}


def worst(expr: str, by: str, *, lowest: bool = False, count: int = BARS) -> str:
    """Of the series over time those that were worst in the time shown, the same ones from its beginning to its end."""
    pick, over = ("bottomk", "min_over_time") if lowest else ("topk", "max_over_time")
    return f"{expr} and on ({by}) {pick}({count}, {over}({expr}[$__range:$__interval] @ end()))"


def chosen(name: str, label: str, query: str, *, several: bool) -> dashboard_builders.QueryVariable:
    """A variable with the values that Prometheus knows; `several`: more than one, or all."""
    variable = (
        dashboard_builders.QueryVariable(name)
        .label(label)
        .query(query)
        .datasource(SOURCE)
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dashboard.VariableSort.ALPHABETICAL_ASC)
    )
    if several:
        every = dashboard.VariableOption(selected=True, text="All", value="$__all")
        variable = variable.multi(True).include_all(True).all_value(".+").current(every)
    return variable


def over_time(expr: str, legend: str) -> prometheus.Dataquery:
    """A query for a line over time."""
    return prometheus.Dataquery().expr(expr).legend_format(legend).range().datasource(SOURCE)


def now(expr: str, legend: str = "") -> prometheus.Dataquery:
    """A query for the present value."""
    return prometheus.Dataquery().expr(expr).legend_format(legend or "__auto").instant().datasource(SOURCE)


def column(expr: str) -> prometheus.Dataquery:
    """A query whose labels and present value become columns of a table."""
    return prometheus.Dataquery().expr(expr).instant().format(PromQueryFormat.TABLE).datasource(SOURCE)


def verdicts() -> list[dashboard.ValueMapping]:
    """Ranks of verdicts as words in the colour of their severity."""
    return [
        dashboard.ValueMap(
            {
                str(rank): dashboard.ValueMappingResult(
                    text=verdict.value, color=COLOURS[severity(verdict)], index=index
                )
                for index, (verdict, rank) in enumerate(RANKS.items())
            }
        )
    ]


def words(zero: str, one: str, zero_colour: str = RED, one_colour: str = GREEN) -> list[dashboard.ValueMapping]:
    """0 and 1 as words in colour."""
    return [
        dashboard.ValueMap(
            {
                "0": dashboard.ValueMappingResult(text=zero, color=zero_colour, index=0),
                "1": dashboard.ValueMappingResult(text=one, color=one_colour, index=1),
            }
        )
    ]


def steps(*colours: tuple[float | None, str]) -> dashboard_builders.ThresholdsConfig:
    """Colours by value: each from its number on, the first from minus infinity (None)."""
    return (
        dashboard_builders.ThresholdsConfig()
        .mode(dashboard.ThresholdsMode.ABSOLUTE)
        .steps([dashboard.Threshold(value=value, color=colour) for value, colour in colours])
    )


PLAIN = ((None, BLUE),)


def number(title: str, description: str, query: prometheus.Dataquery, unit: str = "short") -> stat.Panel:
    """One number, large."""
    return (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .with_target(query.ref_id("A"))
        .unit(unit)
        .thresholds(steps(*PLAIN))
        .color_mode(common.BigValueColorMode.VALUE)
        .graph_mode(common.BigValueGraphMode.NONE)
        .text_mode(common.BigValueTextMode.VALUE)
        .reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
        .no_value("none")
    )


def lines(title: str, description: str, unit: str, *queries: prometheus.Dataquery) -> timeseries.Panel:
    """Lines over time, with a legend below."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .color_scheme(dashboard_builders.FieldColor().mode(dashboard.FieldColorModeId.PALETTE_CLASSIC))
        .line_width(1)
        .fill_opacity(8)
        .show_points(common.VisibilityMode.AUTO)  # a value between two gaps is a point, or nothing at all
        .legend(
            common_builders.VizLegendOptions()
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(
            common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING)
        )
    )
    for letter, query in zip(ascii_uppercase, queries, strict=False):
        panel.with_target(query.ref_id(letter))
    return panel


def states(
    title: str, description: str, mappings: list[dashboard.ValueMapping], *queries: prometheus.Dataquery
) -> statetimeline.Panel:
    """One bar a series, coloured by state over time; equal neighbours merged."""
    panel = (
        statetimeline.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit("short")
        .mappings(mappings)
        .thresholds(steps((None, GREY)))
        .color_scheme(dashboard_builders.FieldColor().mode(dashboard.FieldColorModeId.THRESHOLDS))
        .merge_values(True)
        .show_value(common.VisibilityMode.AUTO)
        .row_height(0.8)
        .line_width(0)
        .fill_opacity(85)
        .legend(
            common_builders.VizLegendOptions()
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
            .show_legend(False)
        )
    )
    for letter, query in zip(ascii_uppercase, queries, strict=False):
        panel.with_target(query.ref_id(letter))
    return panel


def rows_of(title: str, description: str, *columns: prometheus.Dataquery) -> table.Panel:
    """A table whose rows are the label sets that the queries share."""
    panel = (
        table.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit("short")
        .show_header(True)
        .filterable(False)
        .with_transformation(dashboard.DataTransformerConfig(id_val="merge", options={}))
    )
    for letter, query in zip(ascii_uppercase, columns, strict=False):
        panel.with_target(query.ref_id(letter))
    return panel


def arranged(order: Sequence[tuple[str, str]], hidden: Sequence[str]) -> dashboard.DataTransformerConfig:
    """The table's columns in this order, each (name, title), without the hidden ones."""
    return dashboard.DataTransformerConfig(
        id_val="organize",
        options={
            "excludeByName": dict.fromkeys(hidden, True),
            "indexByName": {name: index for index, (name, _) in enumerate(order)},
            "renameByName": {name: title for name, title in order if name != title},
        },
    )


def matrix(row: str, column: str) -> dashboard.DataTransformerConfig:
    """A table with a row for each value of one label and a column for each value of another."""
    options: dict[str, object] = {"rowField": row, "columnField": column, "valueField": "Value"}
    return dashboard.DataTransformerConfig(id_val="groupingToMatrix", options=options)


def styled(**properties: object) -> list[dashboard.DynamicConfigValue]:
    """Overrides for one column; `custom_width` stands for `custom.width`."""
    return [
        dashboard.DynamicConfigValue(id_val=name.replace("custom_", "custom."), value=value)
        for name, value in properties.items()
    ]
