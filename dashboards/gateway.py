"""Gateway: one of them, layer by layer from the outside in, and what we cost it."""

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as dashboard_builders
from grafana_foundation_sdk.builders import heatmap, prometheus
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import heatmap as heatmap_models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from dashboards import parts
from dashboards.parts import BLUE, GREEN, GREY, HERE, RED, TARGETS, YELLOW, Row

STAGES = ("connected", "ready", "time", "accounts", "contract")  # in the order in which they are reached


def build(exporter_url: str = parts.EXPORTER_URL) -> dashboard_builders.Dashboard:
    """The dashboard, ready to be written."""
    builder = parts.page(
        "ibkr-gateway", "IBKR: Gateway", "One gateway: its layers from the outside in, and its times.", exporter_url
    )
    builder.link(parts.external("Page of this gateway", "/targets/${target:percentencode}"))
    builder.with_variable(
        parts.chosen("target", "Gateway", f"label_values(ibkr_target_info{{{HERE}}}, target)", several=False)
    )
    return parts.placed(builder, [_present(), *_layers(), _handshake(), _session(), _clients(), _cost()])


def _present() -> Row:
    return Row(
        "Now",
        4,
        [
            (
                5,
                parts.number(
                    "Verdict",
                    "The one word for the last report. A click opens its runbook.",
                    parts.now(f"max(target:ibkr_verdict:rank{{{TARGETS}}})"),
                )
                .mappings(parts.verdicts())
                .override_by_query("A", parts.styled(links=[parts.RUNBOOK]))
                .color_mode(common.BigValueColorMode.BACKGROUND_SOLID),
            ),
            (
                4,
                parts.number(
                    "For",
                    "How long it has been so.",
                    parts.now(f"time() - max(ibkr_verdict_since_timestamp_seconds{{{TARGETS}}})"),
                    "dtdurations",
                ).decimals(0),
            ),
            (
                3,
                parts.number(
                    "Server version",
                    "The negotiated version of the API.",
                    parts.now(f"max(ibkr_server_version{{{TARGETS}}})"),
                    "none",
                ).decimals(0),
            ),
            (
                3,
                parts.number(
                    "Accounts", "How many accounts it manages.", parts.now(f"max(ibkr_accounts{{{TARGETS}}})")
                ),
            ),
            (
                3,
                parts.number(
                    "Account",
                    "Whether the configured account is among them.",
                    parts.now(f"min(ibkr_account_present{{{TARGETS}}})"),
                ).mappings(parts.words("missing", "present")),
            ),
            (
                3,
                parts.number(
                    "Clock offset",
                    "The gateway's clock minus ours. The API gives whole seconds.",
                    parts.now(f"max(ibkr_server_clock_offset_seconds{{{TARGETS}}})"),
                    "s",
                )
                .decimals(1)
                .thresholds(parts.steps((None, RED), (-3, GREEN), (3, RED))),
            ),
            (
                3,
                parts.number(
                    "Probed",
                    "How long ago the port was last probed. A watched gateway is every fourth interval: each minute.",
                    parts.now(f'time() - max(ibkr_last_probe_timestamp_seconds{{{TARGETS}, layer="port"}})'),
                    "s",
                )
                .decimals(0)
                .thresholds(parts.steps((None, GREEN), (75, YELLOW), (120, RED))),
            ),
        ],
    )


def _layers() -> list[Row]:
    layers = parts.states(
        "Layers, from the outside in",
        "What answered at the last probe. A layer behind one that failed is not probed, and has no bar.",
        parts.words("failed", "ok"),
        parts.over_time(f"max(ibkr_port_open{{{TARGETS}}})", "port"),
        parts.over_time(f"max(ibkr_handshake_success{{{TARGETS}}})", "handshake"),
        parts.over_time(f"max(ibkr_session_success{{{TARGETS}}})", "session"),
        parts.over_time(f"max(ibkr_download_success{{{TARGETS}}})", "download"),
        parts.over_time(f"max(ibkr_watch_connected{{{TARGETS}}})", "watch"),
        parts.over_time(f"max(ibkr_upstream_connected{{{TARGETS}}})", "IBKR's servers"),
        parts.over_time(f"max by (client) (ibkr_client_success{{{TARGETS}}})", "{{client}}"),
    )
    verdict = parts.states(
        "Verdict over time",
        "The verdicts of this gateway, in the colour of their severity.",
        parts.verdicts(),
        parts.over_time(f"max(target:ibkr_verdict:rank{{{TARGETS}}})", "verdict"),
    )
    windows = parts.states(
        "Maintenance windows",
        "IBKR's reset windows explain lost servers, farms and slowness; its own restart a closed port or a silent API "
        "too. The weekly login explains nothing: someone must log in.",
        parts.words("outside", "inside", GREY, BLUE),
        parts.over_time(f"max by (window) (ibkr_maintenance_window{{{TARGETS}}})", "{{window}}"),
    )
    return [Row("Layers", 4, [(24, verdict)]), Row("", 8, [(14, layers), (10, windows)])]


def _handshake() -> Row:
    buckets = f"sum by (le) (rate(ibkr_handshake_duration_seconds_bucket{{{TARGETS}}}[$__rate_interval]))"
    connects = f"sum by (le) (rate(ibkr_port_connect_duration_seconds_bucket{{{TARGETS}}}[$__rate_interval]))"
    heat = (
        heatmap.Panel()
        .title("Handshake times")
        .description("How many handshakes took how long. Only those that succeeded.")
        .datasource(parts.SOURCE)
        .with_target(
            prometheus.Dataquery()
            .expr(f"sum by (le) (increase(ibkr_handshake_duration_seconds_bucket{{{TARGETS}}}[$__rate_interval]))")
            .ref_id("A")
            .legend_format("{{le}}")
            .range()
            .format(PromQueryFormat.HEATMAP)
            .datasource(parts.SOURCE)
        )
        .unit("short")
        .interval(parts.MINUTE)
        .calculate(False)
        .y_axis(heatmap.YAxisConfig().unit("s").axis_placement(common.AxisPlacement.LEFT))
        .cell_values(heatmap.CellValues().unit("short"))
        .cell_gap(1)
        .color(
            heatmap.HeatmapColorOptions()
            .mode(heatmap_models.HeatmapColorMode.SCHEME)
            .scheme("Blues")
            .steps(32)
            .reverse(False)
        )
        .show_legend()
        .tooltip(heatmap.HeatmapTooltip().mode(common.TooltipDisplayMode.SINGLE))
    )
    quantiles = (
        parts.lines(
            "Handshake and connect, quantiles",
            "By the kernel's receive stamps: the exporter's own load is not in them.",
            "s",
            *(
                parts.over_time(f"histogram_quantile({q}, {series})", f"{what}, {name}")
                for what, series in (("handshake", buckets), ("connect", connects))
                for q, name in parts.QUANTILES
            ),
        )
        .interval(parts.MINUTE)
        .min(0)
    )
    last = parts.lines(
        "Last handshake",
        "Each handshake as it was.",
        "s",
        parts.over_time(f"max(ibkr_handshake_last_duration_seconds{{{TARGETS}}})", "handshake"),
    ).min(0)
    return Row("Handshake", 8, [(9, heat), (9, quantiles), (6, last)])


def _session() -> Row:
    stages = parts.lines(
        "Session, by stage",
        "How long each step of the session took: from startApi to the first answered request.",
        "s",
        parts.over_time(f"max by (stage) (ibkr_session_stage_duration_seconds{{{TARGETS}}})", "{{stage}}"),
    ).min(0)
    farms = parts.states(
        "Data farms",
        "IBKR's market data, historical data and security definition farms, as the gateway announces them.",
        parts.words("down", "connected"),
        parts.over_time(f"max by (kind, farm) (ibkr_farm_connected{{{TARGETS}}})", "{{kind}} {{farm}}"),
    ).show_value(common.VisibilityMode.NEVER)
    login = parts.states(
        "Login",
        "The phase of the login, from the gateway's own launcher log, where it is mounted.",
        parts.words("no", "yes", GREY, BLUE),
        parts.over_time(f"max by (phase) (ibkr_login_phase{{{TARGETS}}})", "{{phase}}"),
    ).show_value(common.VisibilityMode.NEVER)
    download = parts.lines(
        "Account download, by request",
        "How long each request was answered to its end, on targets with `download: true`.",
        "s",
        parts.over_time(f"max by (request) (ibkr_download_duration_seconds{{{TARGETS}}})", "{{request}}"),
    ).min(0)
    settings = parts.lines(
        "Gateway settings",
        "The gateway's API settings, as it reports them, on targets with `settings: true`: 1 is on, 0 is off.",
        "none",
        parts.over_time(f"max by (setting) (ibkr_setting{{{TARGETS}}})", "{{setting}}"),
    )
    return Row("Session", 8, [(5, stages), (5, download), (5, farms), (5, login), (4, settings)])


def _clients() -> Row:
    side_by_side = (
        parts.rows_of(
            "Clients side by side",
            "For each client library the seconds that each stage of its last probe took. A stage not reached is empty.",
            parts.column(f"max by (client, stage) (ibkr_client_last_duration_seconds{{{TARGETS}}})"),
        )
        .with_transformation(parts.matrix("client", "stage"))
        .with_transformation(
            parts.arranged([("client\\stage", "client"), *((name, name) for name in STAGES)], hidden=[])
        )
        .unit("s")
        .decimals(1)
        .no_value("no client is configured")
    )
    durations = (
        parts.lines(
            "Client probes, p95",
            "The whole probe of a client without the import of its library.",
            "s",
            parts.over_time(
                "histogram_quantile(0.95, sum by (le, client) "
                f"(rate(ibkr_client_duration_seconds_bucket{{{TARGETS}}}[$__rate_interval])))",
                "{{client}}",
            ),
        )
        .interval("5m")
        .min(0)
    )
    return Row("Client libraries", 8, [(14, side_by_side), (10, durations)])


def _cost() -> Row:
    rate = "[$__rate_interval]"
    return Row(
        "What we cost it",
        8,
        [
            (
                8,
                parts.lines(
                    "Connections opened",
                    "TCP connections a minute that the exporter opened to this gateway. A watched gateway sees fewer.",
                    "cpm",
                    parts.over_time(f"60 * sum(rate(ibkr_connections_opened_total{{{TARGETS}}}{rate}))", "connections"),
                )
                .interval(parts.MINUTE)
                .min(0),
            ),
            (
                8,
                parts.lines(
                    "Failed probes by outcome",
                    "Probes a minute that did not end well, by layer and outcome.",
                    "cpm",
                    parts.over_time(
                        f"60 * sum by (layer, outcome) (rate(ibkr_probe_failures_total{{{TARGETS}}}{rate})) > 0",
                        "{{layer}} {{outcome}}",
                    ),
                )
                .interval(parts.MINUTE)
                .no_value("none failed")
                .min(0),
            ),
            (
                8,
                parts.lines(
                    "Client id conflicts",
                    "How often error 326 was seen in a minute: another program uses one of our reserved client ids.",
                    "short",
                    parts.over_time(f"sum(increase(ibkr_client_id_conflicts_total{{{TARGETS}}}{rate}))", "error 326"),
                )
                .interval(parts.MINUTE)
                .decimals(0)
                .min(0)
                .legend(common_builders.VizLegendOptions().show_legend(False).placement(common.LegendPlacement.BOTTOM)),
            ),
        ],
    )
