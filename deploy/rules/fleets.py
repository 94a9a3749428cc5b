"""The table of the alerts about many gateways that fail together; deploy.rules.fleet_alerts makes the rules of it."""

from dataclasses import dataclass

from deploy.rules.expressions import Fleet
from deploy.rules.verdict_alerts import HANDSHAKES, LIBRARIES, SESSIONS, UNREACHED
from exporter.model import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class OnFleet:
    """A rule that fires while half of the gateways of a scope have one of these verdicts."""

    name: str
    scope: str  # the labels that the gateways share
    verdicts: tuple[Verdict, ...]
    summary: str
    action: str
    words: str
    steps: tuple[str, ...]
    layer: str
    runbook: str

    @property
    def fleet(self) -> Fleet:
        """What is recorded for it."""
        return Fleet(self.name, self.scope)


SHARED = "Look for what they share: the machine, its memory, an automatic upgrade, an expired login."
ROUTE = "See that the host is up and reachable from the exporter: ping, route, VPN, the relay's process."

FLEETS: tuple[OnFleet, ...] = (
    OnFleet(
        name="IbkrApiSilentEverywhere",
        scope="job",
        verdicts=(Verdict.API_SILENT,),
        summary="The API is silent on half of the gateways",
        action="Look for what they share, not at one gateway.",
        words="a common cause is likelier than {{ $value }} frozen gateways",
        steps=(
            SHARED,
            "See that this exporter's address is still trusted by them: from another machine run ibkr-exporter diagnose HOST:PORT.",
            "Then go through the runbook for one of them.",
        ),
        layer="handshake",
        runbook="api_silent",
    ),
    OnFleet(
        name="IbkrApiSilentOnHost",
        scope="job, host",
        verdicts=(Verdict.API_SILENT,),
        summary="Half of those at one address are silent",
        action="Look at that host.",
        words="they share the address {{ $labels.host }}",
        steps=(
            "Look at the load, memory and disk of the host {{ $labels.host }}, and at a relay or VPN before it.",
            "Then go through the runbook for one of them.",
        ),
        layer="handshake",
        runbook="api_silent",
    ),
    OnFleet(
        name="IbkrUnreachableEverywhere",
        scope="job",
        verdicts=UNREACHED,
        summary="Half of the gateways cannot be reached",
        action="Look at the network of the exporter first.",
        words="the exporter's own network, or what they share, is likelier than {{ $value }} faults at once",
        steps=(
            "See that the exporter's machine reaches anything at all: name server, route, VPN.",
            SHARED,
            "Then go through the runbook for one of them.",
        ),
        layer="network",
        runbook="unreachable",
    ),
    OnFleet(
        name="IbkrHostDown",
        scope="job, host",
        verdicts=UNREACHED,
        summary="Half of those at one address are unreachable",
        action="Look at that host.",
        words="they share the address {{ $labels.host }}",
        steps=(ROUTE, "See that the gateways were started again after a restart of the host."),
        layer="network",
        runbook="host_down",
    ),
    OnFleet(
        name="IbkrUpstreamLostEverywhere",
        scope="job",
        verdicts=(Verdict.UPSTREAM_DOWN,),
        summary="Half of the gateways have lost IBKR's servers",
        action="Look at IBKR's status and the internet link.",
        words="the internet link that they share, or IBKR itself, is likelier than {{ $value }} faults at once",
        steps=(
            "Look at IBKR's system status page.",
            "Look at the internet link of the gateways' machines: does it reach anything?",
            "When it is back they come back by themselves; soft restart those that do not (File > Restart).",
        ),
        layer="upstream",
        runbook="upstream_down",
    ),
    OnFleet(
        name="IbkrUpstreamLostOnHost",
        scope="job, host",
        verdicts=(Verdict.UPSTREAM_DOWN,),
        summary="Half of its gateways have lost IBKR",
        action="Look at its internet link.",
        words="they share the address {{ $labels.host }}",
        steps=(
            "Look at the internet link of the host {{ $labels.host }}: does it reach anything?",
            "When it is back they come back by themselves; soft restart those that do not (File > Restart).",
        ),
        layer="upstream",
        runbook="upstream_down",
    ),
    OnFleet(
        name="IbkrNewConnectionsSilentEverywhere",
        scope="job",
        verdicts=(Verdict.NEW_CONNECTIONS_SILENT,),
        summary="Half of the gateways answer no new connection",
        action="Do not restart them now.",
        words="sessions that exist may still work, and a common cause is likelier than {{ $value }} frozen gateways",
        steps=(SHARED, "Then go through the runbook for one of them, before anything is restarted."),
        layer="handshake",
        runbook="new_connections_silent",
    ),
    OnFleet(
        name="IbkrNewConnectionsSilentOnHost",
        scope="job, host",
        verdicts=(Verdict.NEW_CONNECTIONS_SILENT,),
        summary="Half of its gateways take no connection",
        action="Do not restart them now.",
        words="sessions that exist may still work, and they share the address {{ $labels.host }}",
        steps=(
            "Look at the load, memory and disk of the host {{ $labels.host }}.",
            "Then go through the runbook for one of them, before anything is restarted.",
        ),
        layer="handshake",
        runbook="new_connections_silent",
    ),
    OnFleet(
        name="IbkrHandshakesWrongEverywhere",
        scope="job",
        verdicts=HANDSHAKES,
        summary="Half of the gateways fail in the handshake",
        action="Look at what lies before them.",
        words="a relay that leads elsewhere, or an upgrade of all, is likelier than {{ $value }} faults at once",
        steps=(
            "Look at what lies before them: a relay, a load balancer or a name that now leads to something else.",
            SHARED,
            "Then go through the runbook for one of them.",
        ),
        layer="handshake",
        runbook="not_tws_api",
    ),
    OnFleet(
        name="IbkrHandshakesWrongOnHost",
        scope="job, host",
        verdicts=HANDSHAKES,
        summary="Half of its gateways fail in the handshake",
        action="See what it leads to now.",
        words="they share the address {{ $labels.host }}",
        steps=(
            "See what answers at {{ $labels.host }}: a relay or a load balancer that now leads to something else?",
            "Then go through the runbook for one of them.",
        ),
        layer="handshake",
        runbook="not_tws_api",
    ),
    OnFleet(
        name="IbkrSessionsFailingEverywhere",
        scope="job",
        verdicts=SESSIONS,
        summary="Half of the gateways have no usable session",
        action="Look at their logins and IBKR's status.",
        words="a common cause, such as logins that IBKR ended, is likelier than {{ $value }} faults at once",
        steps=(
            "See whether they are logged in: the weekly login, or another session of the same users, ends many at once.",
            "Look at IBKR's system status page.",
            SHARED,
            "Then go through the runbook for one of them.",
        ),
        layer="session",
        runbook="session_silent",
    ),
    OnFleet(
        name="IbkrSessionsFailingOnHost",
        scope="job, host",
        verdicts=SESSIONS,
        summary="Half of its gateways have no usable session",
        action="Look at that host.",
        words="they share the address {{ $labels.host }}",
        steps=(
            "Look at the load, memory and disk of the host {{ $labels.host }}.",
            "Then go through the runbook for one of them.",
        ),
        layer="session",
        runbook="session_silent",
    ),
    OnFleet(
        name="IbkrLibraryBreaksGatewaysEverywhere",
        scope="job",
        verdicts=(Verdict.CLIENT_BREAKS_GATEWAY,),
        summary="Libraries make half of the gateways stop answering",
        action="Keep that library away from them.",
        words="a library that all of them are tried with is likelier than {{ $value }} faulty gateways",
        steps=(
            "See on the exporter's page which library it is, and keep your programs from connecting with it.",
            "Then go through the runbook for one of them.",
        ),
        layer="handshake",
        runbook="client_breaks_gateway",
    ),
    OnFleet(
        name="IbkrLibrariesFailingEverywhere",
        scope="job",
        verdicts=LIBRARIES,
        summary="The client libraries fail on half of the gateways",
        action="Look at the exporter's libraries first.",
        words="the libraries' environments, or what they all ask for, are likelier than {{ $value }} faulty gateways",
        steps=(
            "On the exporter's machine: ibkr-exporter clients check. Was a library, or Python, upgraded there?",
            "Compare the stages at which they stop, in the evidence of one of the gateways.",
            "Then go through the runbook for one of them.",
        ),
        layer="client",
        runbook="clients_failing",
    ),
)
