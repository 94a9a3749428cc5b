"""What users reported in public threads, and what the exporter says where the simulator does the same.

One row for each report that one look can show, one for each that a test of the service or the core shows, and those that no
probe can show. `scripts/generate.py` writes docs/reports.md from it.
"""

from dataclasses import dataclass

from exporter.model import Verdict


@dataclass(frozen=True, slots=True)
class UserReport:
    """A report: its threads, what happened, the simulator's mode, the verdict, and words of the action that helped.

    `download`: the account download is probed. `clients` are the libraries that are tried. With a `setting` of the gateway
    (number and value) its settings are asked for, and the words are evidence.
    """

    threads: str
    happened: str
    mode: str
    verdict: Verdict
    action: str
    download: bool = False
    clients: tuple[str, ...] = ()
    setting: tuple[int, int] | None = None

    @property
    def probed_with(self) -> str:
        """What the look at the gateway consists of, beside the wire."""
        if self.setting is not None:
            return "the gateway's settings"
        return ", ".join(self.clients) or ("the account download" if self.download else "the wire")


@dataclass(frozen=True, slots=True)
class ReportElsewhere:
    """A report that one look cannot show, and the test that does."""

    threads: str
    happened: str
    shown: str
    test: str


def _download(threads: str, happened: str, mode: str, action: str) -> UserReport:
    return UserReport(threads, happened, mode, Verdict.DOWNLOAD_STALLED, action, download=True)


REPORTS = (
    UserReport(
        "gnzsnz#336, ib_insync#386, extrange#80",
        "the port is open and no library is answered until a restart",
        "silent",
        Verdict.API_SILENT,
        "CLOSE_WAIT",
    ),
    UserReport(
        "mvberg#34 #35",
        "a dead API came back without a restart",
        "silent",
        Verdict.API_SILENT,
        "Change its socket port",
    ),
    UserReport(
        "IBC user guide, manhinhang PR#157",
        "a restart that needs no second factor",
        "silent",
        Verdict.API_SILENT,
        "without a second factor",
    ),
    UserReport(
        "ib_async#18, ib-controller#28",
        "TWS asks whether to accept the connection",
        "silent",
        Verdict.API_SILENT,
        "Accept incoming connection attempt?",
    ),
    UserReport(
        "tws-api connection.html, ib_insync#395, thetagang#568",
        "nothing listens on the port",
        "refused",
        Verdict.PORT_CLOSED,
        "Start TWS or IB Gateway",
    ),
    UserReport(
        "hackingthemarkets/tradingview-interactive-brokers#5",
        "WSL: 127.0.0.1 is not the Windows that runs TWS",
        "refused",
        Verdict.PORT_CLOSED,
        "WSL",
    ),
    UserReport(
        "lean-cli#212 #482, IBC#208", "IBKR Lite and trial accounts have no API", "refused", Verdict.PORT_CLOSED, "Lite"
    ),
    UserReport(
        "gnzsnz#34 #119", "a relay with no gateway behind it", "relay", Verdict.CLOSED_BEFORE_HANDSHAKE, "the relay's"
    ),
    UserReport(
        "IBC#334",
        "Trusted IPs takes no ranges",
        "close_after_hello",
        Verdict.CLOSED_BEFORE_HANDSHAKE,
        "no ranges",
    ),
    UserReport(
        "erdewit/tws_async#2",
        "an address that is not accepted shows after the handshake",
        "handshake_then_silence",
        Verdict.SESSION_SILENT,
        "API is not accepted",
    ),
    UserReport("ib_insync#578, rib#12", "the Client Portal's port", "http", Verdict.NOT_TWS_API, "Client Portal"),
    UserReport(
        "rust-ibapi#492 #527", "a gateway too old for the library", "too_old", Verdict.SERVER_TOO_OLD, "Upgrade"
    ),
    UserReport(
        "ib_async#143 #152, ib_insync#76 #376",
        "the client id is in use",
        "id_in_use",
        Verdict.CLIENT_ID_IN_USE,
        "client_ids",
    ),
    UserReport(
        "ibga#24",
        "the accounts come, nextValidId does not",
        "no_next_valid_id",
        Verdict.SESSION_STALLED,
        "without a second factor",
    ),
    UserReport(
        "gnzsnz README, manhinhang#60",
        "the port of the other mode",
        "wrong_account",
        Verdict.ACCOUNT_MISSING,
        "the mode",
    ),
    UserReport(
        "ib_async#6, Lean.IB#227",
        "the gateway lost IBKR's servers",
        "upstream_lost",
        Verdict.UPSTREAM_DOWN,
        "nightly reset",
    ),
    UserReport("nautilus#4412, IBC#143", "a data farm flaps", "farm_broken", Verdict.FARM_DOWN, "flap"),
    UserReport(
        "deephaven-ib#126",
        "2104, 2106 and 2158 are taken for errors: they say that a farm is connected",
        "ok",
        Verdict.HEALTHY,
        "",
    ),
    UserReport(
        "ib_insync#7, extrange#119",
        "Read-Only API stops libraries that ask for orders",
        "ok",
        Verdict.HEALTHY,
        "the API is read-only",
        setting=(1, 1),
    ),
    UserReport(
        "vnpy#2076, vnpy_ib#42",
        "one malformed request (error 320) ends the session",
        "ok",
        Verdict.HEALTHY,
        "one malformed request",
        setting=(27, 0),
    ),
    UserReport(
        "rib#23, Jib#38, ib_insync#201",
        "too many requests a second end the session",
        "ok",
        Verdict.HEALTHY,
        "above its maximum rate",
        setting=(26, 1),
    ),
    UserReport("nautilus PR#1191", "news before the version", "news_first", Verdict.HEALTHY, ""),
    UserReport("nautilus PR#1191", "a message before the version", "user_info_first", Verdict.HEALTHY, ""),
    _download(
        "ib_insync#612 #613 #638, ib_async#54 #82",
        "executions are never answered",
        "executions_unanswered",
        "UTC format",
    ),
    _download("ib_insync#300 #303 #386", "the account's values never end", "account_updates_unanswered", "account=..."),
    _download("ib_async#84", "positions never end", "positions_unanswered", "restarting the gateway"),
    _download("ib_insync#224 #355", "completed orders never end", "completed_orders_unanswered", "readonly=True"),
    _download("Lean#254 #1022", "open orders never end", "open_orders_unanswered", "Read-Only API"),
    _download("ib_insync#689", "the account summary never ends", "account_summary_unanswered", "another build"),
    _download("ib_insync#655", "TWS ends the session within the values", "account_values_cut", "use IB Gateway"),
    UserReport(
        "ib_insync#172, ib_async#27",
        "contract details never come after a new login",
        "contract_details_unanswered",
        Verdict.CONTRACT_DETAILS_STALLED,
        "estart",
        clients=("ib_async", "ib_insync"),
    ),
    UserReport(
        "own measurement, nautilus#2945 #3427",
        "one version of one library fails, others work",
        "split_reply",
        Verdict.CLIENT_FAULT,
        "another version",
        clients=("nautilus_trader-1.220.0", "ib_insync"),
    ),
    UserReport(
        "ib_insync#616 #667, UnusualAlpha#86",
        "an update of TWS broke a library",
        "split_reply",
        Verdict.CLIENT_FAULT,
        "stable or latest",
        clients=("ibapi-9.81.1", "ib_async"),
    ),
)


ELSEWHERE = (
    ReportElsewhere(
        "nautilus#4796",
        "a library's connect wedges the gateway for all",
        "`client_breaks_gateway` at the second time; the library is kept away",
        "shell/test_falls.py::"
        "test_a_library_that_wedges_the_gateway_is_named_at_once_rests_and_is_kept_away_at_the_second_time",
    ),
    ReportElsewhere(
        "extrange#76",
        "connecting to the API at all logs TWS out",
        "sessions of our own are suspended",
        "shell/test_falls.py::"
        "test_a_gateway_that_falls_silent_after_our_own_session_twice_in_a_row_gets_no_more_of_them",
    ),
    ReportElsewhere(
        "ml4t/live#87",
        "new connections are never answered, sessions that exist work on",
        "`new_connections_silent`: do not restart now",
        "shell/test_silence.py::test_silent_new_connections_beside_an_answered_session_are_named_and_need_no_restart",
    ),
    ReportElsewhere(
        "Lean#4480, IBAutomater#17, IBC#264",
        "right logins are rejected within IBKR's reset",
        "log in once more before the password is changed",
        "core/verdict/test_context.py::"
        "test_a_login_rejected_within_a_reset_of_ibkr_is_tried_again_before_the_password_is_changed",
    ),
    ReportElsewhere(
        "nautilus#4026",
        "a program fails only when it connects again",
        "`simulate --script` with `ok`, `refused`, `ok` plays the outage to a program of yours",
        "shell/test_simulate_command.py::test_a_timeline_changes_it",
    ),
)
NOT_SHOWN = (
    (
        "ib_async#101, ib_insync#126",
        "the program never sent the request: only a look between program and gateway tells",
    ),
)


def as_markdown() -> str:
    """Return the table as docs/reports.md holds it."""
    lines = [
        "# What users reported, and what the exporter says",
        "",
        "From public threads about TWS, IB Gateway and the client libraries; repositories by their usual short names. Each",
        "row is a test: the simulator does what was reported, one look gives the verdict, and among its actions is the one",
        "that helped. None of this was seen on a real TWS by us.",
        "",
        "| reported in | what happened | simulated by | probed with | verdict | the action, or of settings the evidence, has the words |",
        "|---|---|---|---|---|---|",
    ]
    for row in REPORTS:
        action = f"`{row.action}`" if row.action else "none is needed"
        lines.append(
            f"| {row.threads} | {row.happened} | `{row.mode}` | {row.probed_with} | `{row.verdict.value}` | {action} |"
        )
    lines += [
        "",
        "What takes more than one look:",
        "",
        "| reported in | what happened | shown as | test |",
        "|---|---|---|---|",
    ]
    lines += [f"| {row.threads} | {row.happened} | {row.shown} | `{row.test}` |" for row in ELSEWHERE]
    lines += ["", "What no probe can show:", "", "| reported in | what happened |", "|---|---|"]
    lines += [f"| {threads} | {happened} |" for threads, happened in NOT_SHOWN]
    return "\n".join(lines) + "\n"
