"""Fleet: who is up, which verdicts, worst first, and how it came to that."""

from typing import Any

from grafana_foundation_sdk.builders import bargauge
from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as dashboard_builders
from grafana_foundation_sdk.models import common, dashboard

from dashboards import parts
from dashboards.parts import GREEN, HERE, RED, TARGETS, YELLOW, Row

FIRING = 'alertname=~"Ibkr.+", alertstate="firing", severity="critical"'
GAUGES = 12
BURNS = 8  # two lines each
WORST_UP = f"min by (target) (ibkr_up{{{TARGETS}}})"  # a gateway that two exporters watch is one
GATEWAY_LINK = "/d/ibkr-gateway?var-target=${__data.fields.target}&${datasource:queryparam}&${__url_time_range}"

TARGET_LINKS = [
    {"title": "Dashboard of this gateway", "url": GATEWAY_LINK},
    {
        "title": "Page of this gateway at the exporter",
        "url": parts.EXPORTER + "/targets/${__data.fields.target}",
        "targetBlank": True,
    },
]


def build(exporter_url: str = parts.EXPORTER_URL) -> dashboard_builders.Dashboard:
    """The dashboard, ready to be written."""
    builder = parts.page(
        "ibkr-fleet", "IBKR: Fleet", "Every gateway: who is up, the verdicts, worst first.", exporter_url
    )
    builder.link(parts.external("Status page", "/"))
    builder.with_variable(
        parts.chosen("target", "Gateway", f"label_values(ibkr_target_info{{{HERE}}}, target)", several=True)
    )
    return parts.placed(builder, [_present(), _gateways(), _availability(), _exporter(), _discovery()])


def _present() -> Row:
    good_at_zero = ((None, GREEN), (1, RED))
    return Row(
        "Now",
        4,
        [
            (
                4,
                parts.number(
                    "Gateways",
                    "How many gateways are watched.",
                    parts.now(f"count(count by (target) (ibkr_target_info{{{TARGETS}}}))"),
                ),
            ),
            (
                4,
                parts.number(
                    "Up",
                    "A trading program could connect to these now.",
                    parts.now(f"sum({WORST_UP})"),
                ).thresholds(parts.steps((None, GREEN))),
            ),
            (
                4,
                parts.number(
                    "Down",
                    "A trading program could not connect to these now.",
                    parts.now(f"count({WORST_UP} == 0) or vector(0)"),
                ).thresholds(parts.steps(*good_at_zero)),
            ),
            (
                4,
                parts.number(
                    "Not watched",
                    "No recent probe: nothing is known of these, which is not health.",
                    parts.now(f'sum(min by (target) (ibkr_verdict{{{TARGETS}, verdict="unknown"}})) or vector(0)'),
                ).thresholds(parts.steps(*good_at_zero)),
            ),
            (
                4,
                parts.number(
                    "Pages",
                    "Gateways and exporters about which alerts of severity critical fire now: Alertmanager makes one "
                    "message of those about one gateway.",
                    parts.now(f"count(count by (instance, target) (ALERTS{{{HERE}, {FIRING}}})) or vector(0)"),
                ).thresholds(parts.steps(*good_at_zero)),
            ),
            (
                4,
                parts.number(
                    "In a maintenance window",
                    "Gateways inside one of IBKR's reset windows or their own restart window.",
                    parts.now(f"count(max by (target) (ibkr_maintenance_window{{{TARGETS}}}) == 1) or vector(0)"),
                ).thresholds(parts.steps((None, GREEN), (1, YELLOW))),
            ),
        ],
    )


def _gateways() -> Row:
    by = "max by (target)"  # of two exporters that watch one gateway the worse word counts
    worst_first = (
        parts.rows_of(
            "Worst first",
            "Every gateway with its verdict. The name leads to its dashboard and its page at the exporter, the verdict "
            "to its runbook.",
            parts.column(f"{by} (target:ibkr_verdict:rank{{{TARGETS}}})"),
            parts.column(f"time() - max by (target) (ibkr_verdict_since_timestamp_seconds{{{TARGETS}}})"),
            parts.column(f"max by (target, host, port, mode) (ibkr_target_info{{{TARGETS}}})"),
            parts.column(f"max by (target) (ibkr_handshake_last_duration_seconds{{{TARGETS}}})"),
            parts.column(f"max by (target) (ibkr_server_version{{{TARGETS}}})"),
            parts.column(f"avg by (target) (target:ibkr_availability:ratio1d{{{TARGETS}}})"),
        )
        .with_transformation(
            parts.arranged(
                [
                    ("target", "target"),
                    ("Value #A", "verdict"),
                    ("Value #B", "for"),
                    ("mode", "mode"),
                    ("host", "host"),
                    ("port", "port"),
                    ("Value #D", "handshake"),
                    ("Value #E", "server version"),
                    ("Value #F", "available, 24 h"),
                ],
                hidden=["Time", "Value #C"],
            )
        )
        .sort_by([common_builders.TableSortByFieldState().display_name("verdict").desc(True)])
        .override_by_name(
            "verdict",
            parts.styled(
                mappings=parts.verdicts(),
                custom_cellOptions={"type": "color-background", "mode": "basic"},
                custom_align="left",
                custom_width=210,
                links=[parts.RUNBOOK],
            ),
        )
        .override_by_name("port", parts.styled(unit="string"))
        .override_by_name("for", parts.styled(unit="dtdurations", decimals=0))
        .override_by_name("handshake", parts.styled(unit="s", decimals=1))
        .override_by_name("server version", parts.styled(decimals=0))
        .override_by_name("available, 24 h", parts.styled(unit="percentunit", decimals=1))
        .override_by_name("target", parts.styled(links=TARGET_LINKS, custom_width=210, custom_filterable=True))
    )
    timeline = parts.states(
        f"Verdicts over time, worst {parts.BARS}",
        "One bar for each gateway. Grey: not probed recently. No bar: the exporter was not scraped.",
        parts.verdicts(),
        parts.over_time(parts.worst(f"{by} (target:ibkr_verdict:rank{{{TARGETS}}})", "target"), "{{target}}"),
    ).show_value(common.VisibilityMode.NEVER)
    return Row("Gateways", 15, [(24, worst_first), (24, timeline)])


def _availability() -> Row:
    budget = parts.steps((None, RED), (0, YELLOW), (0.5, GREEN))
    ratio = parts.steps((None, RED), (0.99, YELLOW), (0.995, GREEN))
    trading = (
        "in New York's trading hours (9:30 to 16:00, Monday to Friday). Times in which nothing was known do not count."
    )
    left = "Of the 0.5 % of trading hours that the objective of 99.5 % lets fail. Below 0 it is missed."
    panels: list[tuple[int, parts.Panel]] = []
    connects = "a trading program could connect"
    for title, short, meaning, availability, spent in (
        ("Available", "available", connects, "target:ibkr_availability", "target:ibkr_error_budget"),
        (
            "With IBKR's servers",
            "with IBKR's servers",
            f"{connects} and the gateway had IBKR's servers",
            "target:ibkr_servers_availability",
            "target:ibkr_servers_budget",
        ),
    ):
        panels += [
            (
                8,
                _bars(
                    f"{title} in trading hours, 30 days, worst {GAUGES}",
                    f"How much of the time {meaning}, {trading}",
                    f"bottomk({GAUGES}, avg by (target) ({availability}_trading:ratio30d{{{TARGETS}}}))",
                    ratio,
                ),
            ),
            (
                8,
                _bars(
                    f"Error budget left ({short}), 30 days, worst {GAUGES}",
                    left,
                    f"bottomk({GAUGES}, avg by (target) ({spent}:remaining_ratio30d{{{TARGETS}}}))",
                    budget,
                ).min(-1),
            ),
            (
                8,
                parts.lines(
                    f"Error budget burn ({short}), worst {BURNS}",
                    "How fast the budget went in the last hour and day, in trading hours. Above 1 is too fast.",
                    "short",
                    *(
                        parts.over_time(
                            parts.worst(
                                f"avg by (target) ({spent}:burn_rate{span}{{{TARGETS}}})", "target", count=BURNS
                            ),
                            f"{{{{target}}}}, {span}",
                        )
                        for span in ("1h", "1d")
                    ),
                )
                .no_value("no trading hours in view")
                .min(0),
            ),
        ]
    hour = parts.worst(f"avg by (target) (target:ibkr_availability:ratio1h{{{TARGETS}}})", "target", lowest=True)
    last_hour = parts.lines(
        f"Available in the last hour, worst {parts.BARS}",
        "The part of the last hour in which a trading program could connect.",
        "percentunit",
        parts.over_time(hour, "{{target}}"),
    )
    return Row("Availability", 9, [*panels, (24, last_hour.min(0).max(1))])


def _bars(title: str, description: str, expr: str, colours: dashboard_builders.ThresholdsConfig) -> bargauge.Panel:
    return (
        bargauge.Panel()
        .title(title)
        .description(description)
        .datasource(parts.SOURCE)
        .with_target(parts.now(expr, "{{target}}").ref_id("A"))
        .unit("percentunit")
        .decimals(1)
        .min(0)
        .max(1)
        .thresholds(colours)
        .color_scheme(dashboard_builders.FieldColor().mode(dashboard.FieldColorModeId.THRESHOLDS))
        .orientation(common.VizOrientation.HORIZONTAL)
        .display_mode(common.BarGaugeDisplayMode.BASIC)
        .reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
        .no_value("no trading hours yet")
    )


def _exporter() -> Row:
    return Row(
        "The exporter itself",
        7,
        [
            (
                6,
                parts.lines(
                    "Probes",
                    "Probes a second by layer, all gateways together.",
                    "reqps",
                    parts.over_time(
                        f"sum by (layer) (rate(ibkr_probes_total{{{TARGETS}}}[$__rate_interval]))", "{{layer}}"
                    ),
                )
                .interval(parts.MINUTE)
                .min(0),
            ),
            (
                6,
                parts.lines(
                    "How late probes start",
                    "The exporter's own load: no gateway's.",
                    "s",
                    *(
                        parts.over_time(
                            f"histogram_quantile({q}, sum by (le) "
                            f"(rate(ibkr_exporter_probe_lag_seconds_bucket{{{HERE}}}[$__rate_interval])))",
                            name,
                        )
                        for q, name in parts.QUANTILES
                    ),
                )
                .interval(parts.MINUTE)
                .min(0),
            ),
            (
                4,
                parts.number(
                    "Skipped probes",
                    "In the last hour: the probe before had not ended when these were due.",
                    parts.now(f"sum(increase(ibkr_exporter_ticks_skipped_total{{{HERE}}}[1h]))"),
                )
                .decimals(0)
                .thresholds(parts.steps((None, GREEN), (1, YELLOW))),
            ),
            (
                3,
                parts.number(
                    "Configuration",
                    "Whether the last reload worked. If not, the former configuration is in use.",
                    parts.now(f"min(ibkr_exporter_config_last_reload_successful{{{HERE}}})"),
                ).mappings(parts.words("refused", "in use")),
            ),
            (
                3,
                parts.number(
                    "Loaded",
                    "How long ago the configuration in use was loaded.",
                    parts.now(f"time() - min(ibkr_exporter_config_last_reload_success_timestamp_seconds{{{HERE}}})"),
                    "dtdurations",
                ).decimals(0),
            ),
            (
                2,
                parts.number(
                    "Memory",
                    "Resident memory of the exporter's own process.",
                    parts.now(f"max(process_resident_memory_bytes{{{HERE}}})"),
                    "bytes",
                )
                .decimals(0)
                .thresholds(parts.steps((None, GREEN), (150e6, YELLOW), (500e6, RED))),
            ),
        ],
    )


def _discovery() -> Row:
    def figure(
        title: str, description: str, expr: str, unit: str = "short", *, bad: float | None = None
    ) -> tuple[int, Any]:
        legend = "p95" if expr.startswith("histogram_quantile(0.95") else ""
        panel = parts.number(title, description, parts.now(f"{expr} or vector(0)", legend), unit).decimals(0)
        return 4, panel if bad is None else panel.thresholds(parts.steps((None, GREEN), (bad, YELLOW)))

    age = f"max(time() - ibkr_sd_last_refresh_success_timestamp_seconds{{{HERE}}})"
    buckets = f"sum by (le) (rate(ibkr_sd_refresh_duration_seconds_bucket{{{HERE}}}[1h]))"
    return Row(
        "Discovery",
        4,
        [
            figure("Discovered", "Targets from files and URLs.", f"sum(ibkr_sd_discovered_targets{{{HERE}}})"),
            figure(
                "Left out", "Discovered targets that cannot be used.", f"sum(ibkr_sd_rejected_targets{{{HERE}}})", bad=1
            ),
            figure(
                "Failing sources",
                "Their last good lists are in use.",
                f"count(ibkr_sd_last_refresh_successful{{{HERE}}} == 0)",
                bad=1,
            ),
            figure(
                "Failed refreshes",
                "In the last hour.",
                f"sum(increase(ibkr_sd_refresh_failures_total{{{HERE}}}[1h]))",
                bad=1,
            ),
            figure("Oldest list", "How long ago the oldest list was refreshed.", age, "dtdurations"),
            figure("Refresh", "How long one takes, in the last hour.", f"histogram_quantile(0.95, {buckets})", "s"),
        ],
    )
