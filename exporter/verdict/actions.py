"""What each verdict means in words and what to do about it: the headline and the required actions.

A table, and one function that fills it in for a target. Texts use these fields: {endpoint}, {host}, {port}, {mode},
{name}, {ids} and {account}. Sources: docs/facts.md: failures, and the causes in each verdict's runbook.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from exporter.model import Mode, Target, Verdict
from exporter.verdict.steps import (
    API_SETTINGS,
    GENTLY,
    LOGIN,
    NOT_THIS_MACHINE,
    RESTART,
    SOFT_RESTART,
    TOGGLE_PORT,
    TRUST,
    VERIFY,
)


@dataclass(frozen=True, slots=True)
class Remedy:
    """One verdict in words: a headline of one line, the meaning, and the actions in the order to take them."""

    headline: str
    meaning: str
    actions: tuple[str, ...] = ()


REMEDIES: Mapping[Verdict, Remedy] = {
    Verdict.PROBE_BROKEN: Remedy(
        "The probe itself failed; this says nothing about {endpoint}",
        "The exporter could not carry out the probe: a resource ran out, or it has a bug. The gateway may be well.",
        (
            "Read the exporter's log: the fault is there with its traceback.",
            (
                'If the fault is "too many open files" or "cannot assign requested address", raise the limit of open files or '
                "free local ports on the exporter's machine."
            ),
            "Run ibkr-exporter diagnose {endpoint} from another process or machine to see the gateway itself.",
        ),
    ),
    Verdict.NAME_UNRESOLVED: Remedy(
        "The host name {host} does not resolve",
        "No connection was attempted: the name has no address as seen from here.",
        (
            "Correct the host in the configuration (target {name}), or use the IP address.",
            "In a container, the name must be a service of the same Compose network, or host.docker.internal for the host itself.",
            VERIFY,
        ),
    ),
    Verdict.CLIENT_BREAKS_GATEWAY: Remedy(
        "A client library makes the gateway at {endpoint} stop answering; it is kept away",
        "The gateway answered, this library connected, and the gateway answered no one any more: twice in a row, at its first try "
        "after an hour of health. The exporter does not try it there again until the configuration is reloaded.",
        (
            "Keep every program that uses this library and version away from this gateway.",
            "If the gateway does not answer now: change its socket port and back (Apply each time), else "
            + GENTLY
            + ".",
            "Use another version of the library, or another library; or another build of the gateway (stable instead of latest, or the reverse).",
            "Report it to the library's project with the versions in the evidence; nautilus_trader#4796 is such a case.",
            "To have it tried again: reload the exporter's configuration (SIGHUP, or POST /-/reload), or restart the exporter.",
        ),
    ),
    Verdict.UNREACHABLE: Remedy(
        "Nothing answers the TCP connect to {endpoint}",
        "The host is off, a firewall drops the packets, or the gateway is so stuck that its accept queue is full.",
        (
            "See that the host is up and reachable from here (ping, route, VPN).",
            "Let the firewall on both sides pass TCP port {port}.",
            "If the host itself is well, the gateway is frozen with a full accept queue: " + GENTLY + ".",
            VERIFY,
        ),
    ),
    Verdict.PORT_CLOSED: Remedy(
        "Nothing listens on {endpoint}",
        "The host refuses the connection: the gateway is not running, not logged in, its API is off, or it uses another port.",
        (
            "Start TWS or IB Gateway and log in.",
            LOGIN,
            API_SETTINGS,
            "Without those settings: IBKR Lite and trial accounts have no API.",
            NOT_THIS_MACHINE,
            "Ports: 7497 (TWS) and 4002 (Gateway) are paper, 7496 and 4001 live; containers use 4003 and 4004 too.",
            VERIFY,
        ),
    ),
    Verdict.CLOSED_BEFORE_HANDSHAKE: Remedy(
        "{endpoint} accepts the connection and closes it without an answer",
        "A relay (socat, ssh, a container's port) is up with no gateway behind it, or the gateway does not trust our address.",
        (
            "Behind a relay or a published container port: look at the gateway, not at the network. " + LOGIN,
            "If the gateway is logged in: " + TRUST[0].lower() + TRUST[1:],
            "In a container: the gateway's own socket port must not be the relay's.",
            API_SETTINGS,
            VERIFY,
        ),
    ),
    Verdict.NEW_CONNECTIONS_SILENT: Remedy(
        "{endpoint} leaves new connections unanswered, while a session that existed still worked: do not restart it now",
        "The gateway serves the sessions that it has and answers no new one. A trading program that is connected goes on; "
        "once disconnected it does not get in again. A restart ends every session that still works.",
        (
            "Do not restart the gateway now, and do not reconnect or restart a trading program that is connected: it would not get in again.",
            "See in each program that its data still moves. Only if none of them gets any is a restart due at once.",
            "Close what you can spare: programs that only look on, sessions left behind (a gateway serves at most 32 clients, some builds fewer). A place may be all that lacks.",
            "When the market has closed and no order is working: stop the programs. For the gateway: "
            + GENTLY
            + ". Then start the programs.",
            VERIFY,
        ),
    ),
    Verdict.API_SILENT: Remedy(
        "{endpoint} is open, but the API does not answer the handshake",
        "TWS or IB Gateway holds the port, but its API is disabled, frozen, still starting, or waits for someone to click. "
        "Every client library times out now. If it began while one of them was connecting, the evidence names that one.",
        (
            API_SETTINGS,
            'Look at its window for a dialog ("Accept incoming connection attempt?", a message to confirm, a login) and answer it.',
            "If it was started in the last two minutes, give it time.",
            TOGGLE_PORT,
            SOFT_RESTART,
            RESTART,
            "If it recurs, look for clients that leave connections half closed (CLOSE_WAIT on port {port}).",
            VERIFY,
        ),
    ),
    Verdict.NOT_TWS_API: Remedy(
        "Something else than the TWS API answers on {endpoint}",
        "Another service has this port: the Client Portal gateway, a web server, VNC.",
        (
            "Compare the port with the API settings of TWS or IB Gateway: 7497 and 4002 (paper), 7496 and 4001 (live) by default.",
            "The Client Portal gateway (port 5000) and VNC (5900) are not the TWS API.",
            "Correct the port in the configuration (target {name}).",
            VERIFY,
        ),
    ),
    Verdict.SERVER_REDIRECT: Remedy(
        "{endpoint} sends API clients to another address",
        "The answer to the hello was a redirect, which no Python library follows: they time out or wait for ever.",
        ("Point the target {name} and your programs at the address in the evidence.", VERIFY),
    ),
    Verdict.SERVER_TOO_OLD: Remedy(
        "The gateway at {endpoint} speaks too old a version of the API",
        "Its API server version is below the lowest that we and current libraries support.",
        ("Upgrade TWS or IB Gateway to the current stable version.", VERIFY),
    ),
    Verdict.CLIENT_ID_IN_USE: Remedy(
        "Every client id reserved for the probes is in use ({ids})",
        "The gateway answers, and refuses our ids with error 326: something else connects with them, or it keeps a dead session.",
        (
            "See that no other program, and no second exporter, uses the client ids {ids} on this gateway.",
            "Give this target other ids in client_ids.",
            "If no program uses them, the gateway keeps a stale session: it ends after some minutes. Do not restart the gateway for it: that ends every session.",
        ),
    ),
    Verdict.SESSION_REFUSED: Remedy(
        "{endpoint} answers the handshake, then refuses the session",
        "The connection ended after startApi without an error that names the reason.",
        (
            "See whether the gateway is at its limit of 32 clients, or was restarting at that moment.",
            "See that the client ids {ids} are used by no other program: some versions close without error 326.",
            SOFT_RESTART,
            RESTART,
            VERIFY,
        ),
    ),
    Verdict.SESSION_SILENT: Remedy(
        "{endpoint} answers the handshake, but never begins the session",
        "startApi got no nextValidId and managedAccounts: the gateway is not fully logged in, or frozen behind its listener.",
        (
            LOGIN,
            "Look at its window for a dialog and answer it.",
            'If its log says "API is not accepted": ' + TRUST[0].lower() + TRUST[1:],
            TOGGLE_PORT,
            SOFT_RESTART,
            RESTART,
            VERIFY,
        ),
    ),
    Verdict.SESSION_STALLED: Remedy(
        "{endpoint} begins the session, but answers no request",
        "Libraries report this as connected. It is not: nothing they ask will be answered.",
        ("Look at its window for a dialog and answer it.", TOGGLE_PORT, SOFT_RESTART, RESTART, VERIFY),
    ),
    Verdict.ACCOUNT_MISSING: Remedy(
        "The gateway at {endpoint} does not manage account {account}",
        "It is logged in to another user, or the port belongs to the other mode (paper or live).",
        (
            "Compare the accounts in the evidence with the configured one, and the mode: this target is {mode}.",
            "Log in as the user that owns {account}, or correct the account of target {name}.",
        ),
    ),
    Verdict.UPSTREAM_DOWN: Remedy(
        "The gateway at {endpoint} has lost IBKR's servers",
        "Its API answers, but the link from the gateway to IBKR is down: no data, no orders.",
        (
            "Within IBKR's nightly reset: wait, it comes back by itself.",
            "Outside of it: look at IBKR's system status page and at the internet link of the gateway's machine.",
            "Still down long after the reset, it is stuck at its own login: " + GENTLY + ".",
        ),
    ),
    Verdict.DOWNLOAD_STALLED: Remedy(
        "{endpoint} answers, but the account download stalls",
        "A request that libraries send when they connect has no end on our own wire either: no library is at fault, and each hangs in connect().",
        (
            "Leave the sessions that work alone: only programs that connect now hang.",
            "Where your library can leave the request out, connect without it (ib_async: fetchFields; ib_insync: readonly=True leaves the orders out).",
            "If it lasts: " + GENTLY + ".",
            "If it comes back after each restart, try another build of the gateway: stable instead of latest, or the reverse.",
            "Then verify: ibkr-exporter diagnose --download {endpoint}",
        ),
    ),
    Verdict.CONTRACT_DETAILS_STALLED: Remedy(
        "The gateway at {endpoint} answers, but not requests for contract details",
        "Every client library that was tried got its session and the gateway's time, and waited in vain for the details of EUR.USD.",
        (
            "In the reported cases, which began after a new login, a restart of the gateway helped and waiting did not.",
            SOFT_RESTART,
            RESTART,
            "Look at its data farms and at IBKR's system status page: contract details come from IBKR's servers.",
            "If only one library was tried, try a second one: if that one is answered, the first is at fault.",
            VERIFY,
        ),
    ),
    Verdict.CLIENTS_FAILING: Remedy(
        "The gateway at {endpoint} answers, but every client library fails",
        "Our own handshake succeeds before and after: what the libraries have in common is at fault, here or in what they ask.",
        (
            "Compare the stages at which they stop, in the evidence.",
            "Check the environments: ibkr-exporter clients check",
            "If they stop after the handshake, the gateway may refuse what they ask for at this server version: try another build of it.",
        ),
    ),
    Verdict.CLIENT_FAULT: Remedy(
        "A client library is at fault, not the gateway at {endpoint}",
        "The handshake succeeds right before and right after the library fails, and others get through.",
        (
            "Leave the gateway alone: its API answers.",
            "If an update of TWS began it: the other build (stable or latest) has helped.",
            "Use another version of the library that fails: configure both as clients, side by side, to see which one works.",
            "Check its environment for conflicting distributions: ibkr-exporter clients check",
            "Report it to the library's maintainers with this evidence.",
        ),
    ),
    Verdict.FARM_DOWN: Remedy(
        "A data farm of the gateway at {endpoint} is disconnected",
        "The gateway is connected, but a market data, historical data or security definition farm is not.",
        (
            "Wait some minutes: farms flap, above all in the nightly reset.",
            "If it lasts, look at IBKR's system status page. If IBKR has no trouble: " + GENTLY + ".",
        ),
    ),
    Verdict.SLOW: Remedy(
        "The gateway at {endpoint} works, but slower than its limit",
        "Every layer answers; the handshake or a request took longer than the configured limit.",
        (
            "Look at the load, memory and Java heap of the gateway's machine.",
            "If this distance is always so slow, raise slow_after of target {name}.",
        ),
    ),
    Verdict.HEALTHY: Remedy("The gateway at {endpoint} is healthy", "Every layer that was probed answered in time."),
    Verdict.UNKNOWN: Remedy(
        "Nothing is known of {endpoint} now",
        "There is no report that is recent enough to say anything: the exporter has just started, or its probes do not run.",
        (
            "Just after a start or a reload of the exporter: wait one interval for the first report.",
            (
                "If it lasts, read the exporter's log and its metric ibkr_exporter_probe_lag_seconds: is a probe stuck, or the machine "
                "starved of processor time?"
            ),
            "Restart the exporter if its other targets are unknown too.",
            VERIFY,
        ),
    ),
}


def format_for(text: str, target: Target) -> str:
    """A text of the table with the target's own values in its fields."""
    return text.format(
        endpoint=target.endpoint,
        host=target.host,
        port=target.port,
        mode="paper or live" if target.mode is Mode.UNKNOWN else target.mode.value,
        name=target.name,
        ids=", ".join(str(number) for number in target.client_ids) or "none",
        account=target.account or "none",
    )
