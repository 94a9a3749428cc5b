"""Libraries: each library and its version against each gateway."""

from grafana_foundation_sdk.builders import dashboard as dashboard_builders
from grafana_foundation_sdk.models import common

from dashboards import parts
from dashboards.parts import HERE, TARGETS, YELLOW, Row


def build(exporter_url: str = parts.EXPORTER_URL) -> dashboard_builders.Dashboard:
    """The dashboard, ready to be written."""
    builder = parts.page(
        "ibkr-libraries", "IBKR: Libraries", "Is it TWS or my library? Each client against each gateway.", exporter_url
    )
    builder.link(parts.external("Status page", "/"))
    builder.with_variable(
        parts.chosen("target", "Gateway", f"label_values(ibkr_target_info{{{HERE}}}, target)", several=True)
    ).with_variable(parts.chosen("client", "Client", f"label_values(ibkr_client_info{{{HERE}}}, client)", several=True))
    return parts.placed(builder, [_installed(), _against(), _times()])


CLIENTS = f'{HERE}, client=~"$client"'
BOTH = f'{TARGETS}, client=~"$client"'


def _installed() -> Row:
    table = (
        parts.rows_of(
            "What is tested",
            "The clients as installed: library, version, interpreter, and whether it can be used at all.",
            parts.column(f"max by (client, library, version, python) (ibkr_client_info{{{CLIENTS}}})"),
            parts.column(f"min by (client) (ibkr_client_usable{{{CLIENTS}}})"),
            parts.column(f"avg by (client) (ibkr_client_success{{{BOTH}}})"),
        )
        .with_transformation(
            parts.arranged(
                [
                    ("client", "client"),
                    ("library", "library"),
                    ("version", "version"),
                    ("python", "python"),
                    ("Value #B", "usable"),
                    ("Value #C", "connects"),
                ],
                hidden=["Time", "Value #A"],
            )
        )
        .override_by_name(
            "usable",
            parts.styled(mappings=parts.words("no", "yes"), custom_cellOptions={"type": "color-text"}),
        )
        .override_by_name("connects", parts.styled(unit="percentunit", decimals=0))
    )
    servers = (
        parts.rows_of(
            "Server versions",
            "The negotiated version of each gateway. A library that fails with one version only is a hint.",
            parts.column(
                f"max by (target, release) (ibkr_server_version{{{TARGETS}}}"
                f" * on (job, instance, target) group_left (release) ibkr_server_release_info{{{TARGETS}}})"
            ),
            parts.column(f"max by (target, mode) (ibkr_target_info{{{TARGETS}}})"),
        )
        .with_transformation(
            parts.arranged(
                [
                    ("target", "gateway"),
                    ("mode", "mode"),
                    ("Value #A", "server version"),
                    ("release", "API release"),
                ],
                hidden=["Time", "Value #B"],
            )
        )
        .decimals(0)
    )
    return Row("Installed", 8, [(15, table), (9, servers)])


def _against() -> Row:
    matrix = (
        parts.rows_of(
            "Library against gateway",
            "Whether each client was answered by each gateway at its last probe.",
            parts.column(f"max by (client, target) (ibkr_client_success{{{BOTH}}})"),
        )
        .with_transformation(parts.matrix("target", "client"))
        .with_transformation(parts.arranged([("target\\client", "gateway")], hidden=[]))
        .override_by_name("gateway", parts.styled(custom_cellOptions={"type": "auto"}))
        .mappings(parts.words("fails", "works"))
        .cell_options(common.TableColoredBackgroundCellOptions(mode=common.TableCellBackgroundDisplayMode.BASIC))
        .no_value("not probed")
    )
    timeline = parts.states(
        f"Each pair over time, worst {parts.BARS}",
        "Every failure is shown. It counts against the library, as the verdict says, only when it comes twice in a "
        "row beside a gateway that answers us. No bar: the client was not tried, or the gateway was at fault.",
        parts.words("fails", "works"),
        parts.over_time(
            parts.worst(f"max by (client, target) (ibkr_client_success{{{BOTH}}})", "client, target", lowest=True),
            "{{client}} on {{target}}",
        ),
    ).show_value(common.VisibilityMode.NEVER)
    return Row("Against", 9, [(10, matrix), (14, timeline)])


def _times() -> Row:
    return Row(
        "Times and failures",
        9,
        [
            (
                8,
                parts.lines(
                    "Client probes, p50 and p95",
                    "The whole probe without the import of the library.",
                    "s",
                    *(
                        parts.over_time(
                            f"histogram_quantile({q}, sum by (le, client) "
                            f"(rate(ibkr_client_duration_seconds_bucket{{{BOTH}}}[$__rate_interval])))",
                            f"{{{{client}}}}, {name}",
                        )
                        for q, name in parts.QUANTILES[:2]
                    ),
                )
                .interval("5m")
                .min(0),
            ),
            (
                8,
                parts.lines(
                    f"Seconds to ready, slowest {parts.BARS}",
                    "From the start of the connect until the library says it is ready, at the last probe.",
                    "s",
                    parts.over_time(
                        parts.worst(
                            "sum by (client, target) (ibkr_client_last_duration_seconds"
                            f'{{{BOTH}, stage=~"connected|ready"}})',
                            "client, target",
                        ),
                        "{{client}} on {{target}}",
                    ),
                ).min(0),
            ),
            (
                8,
                parts.lines(
                    "Failed client probes",
                    "In five minutes, by client and outcome.",
                    "short",
                    parts.over_time(
                        "sum by (client, outcome) (increase(ibkr_probe_failures_total"
                        f'{{{BOTH}, layer="client"}}[$__rate_interval])) > 0',
                        "{{client}} {{outcome}}",
                    ),
                )
                .interval("5m")
                .no_value("none failed")
                .thresholds(parts.steps((None, YELLOW)))
                .decimals(0)
                .min(0),
            ),
        ],
    )
