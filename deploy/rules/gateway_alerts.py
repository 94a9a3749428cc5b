"""Alerts about one gateway that are about no one verdict: overdue, clock, version, login, error budget."""

from deploy.rules import alert as a
from deploy.rules import availability as av
from deploy.rules import expressions as e
from deploy.rules import thresholds as t
from deploy.rules.alert import Alert
from deploy.rules.verdict_alerts import FLEET_OF
from exporter.model import Verdict


def gateway_alerts() -> tuple[Alert, ...]:
    """The rules, those that page first."""
    return (_overdue(), _clock_off(), _version_changed(), _weekly_login(), _suspended(), *_budgets())


def _overdue() -> Alert:
    return Alert(
        name="IbkrUpstreamOverdue",
        summary="The gateway has not come back to IBKR's servers",
        action="Soft restart it; else exit and log in.",
        expr=e.with_labels(
            e.is_now(Verdict.UPSTREAM_DOWN), f"({e.BEGAN} > 0 and (time() - {e.BEGAN} > {t.OVERDUE_SECONDS.value}))"
        )
        + e.unless_expected("IbkrUpstreamOverdue", e.ANY_WINDOW)
        + e.unless_fleet("IbkrUpstreamOverdue", FLEET_OF[Verdict.UPSTREAM_DOWN])
        + e.unless_paged_elsewhere(e.INFO),
        wait=t.OVERDUE,
        severity="critical",
        layer="upstream",
        description=f"{a.ABOUT}: verdict upstream_down for more than two hours, longer than any daily reset takes, and no "
        "maintenance window is open now. The gateway is stuck at its own login. "
        + a.steps(
            "Restart it without a second factor (TWS: File > Restart; IB Gateway: its auto-restart to the next minute); only if that "
            "does not help exit, wait ten seconds, start it and log in.",
            "If it does not log in: another session of the same user may be open elsewhere, or the weekly re-login is due.",
            "Look at IBKR's system status page.",
        ),
        runbook="upstream_down",
        dashboard=a.GATEWAY_BOARD,
        since=a.SINCE,
        page=a.TARGET_PAGE,
        keep_firing=t.KEEP_FIRING,
    )


def _clock_off() -> Alert:
    offset = e.latest("ibkr_server_clock_offset_seconds")
    return Alert(
        name="IbkrClockOff",
        summary="Its clock and the exporter's disagree",
        action="See that NTP runs on both.",
        expr=e.with_labels(f"(abs({offset}) > {t.CLOCK_SECONDS.value})", e.FLEET_INFO),
        wait=t.CLOCK,
        severity="warning",
        layer="quality",
        description=f"{a.ABOUT}: the clocks are {{{{ $value | humanizeDuration }}}} apart. Orders with a time, and bars stamped "
        "by your program, are off by as much. "
        + a.steps(
            "See that NTP runs on the gateway's machine and on the exporter's.",
            "In a virtual machine that was suspended, set the clock once by hand, or restart the NTP service.",
        ),
        runbook="clock_off",
        dashboard=a.GATEWAY_BOARD,
        page=a.TARGET_PAGE,
    )


def _version_changed() -> Alert:
    version = e.latest("ibkr_server_version")
    return Alert(
        name="IbkrServerVersionChanged",
        summary="The gateway's API server version changed",
        action="Compare the client libraries.",
        expr=e.with_labels(
            f"({version}\n  != on ({e.IDENTITY}) target:ibkr_server_version:last offset {t.VERSION_WINDOW.value})",
            e.FLEET_INFO,
        ),
        wait=t.AT_ONCE,
        severity="info",
        layer="quality",
        description=f"{a.ABOUT}: it now answers with another server version: it was upgraded, or an older one was restored. "
        + a.steps(
            "Compare the client libraries on the Libraries dashboard: a new version may break an old library.",
            "If it was not upgraded on purpose, turn automatic updates off: use the offline (stable) installer.",
        ),
        runbook="server_version_changed",
        dashboard=a.GATEWAY_BOARD,
        page=a.TARGET_PAGE,
    )


def _suspended() -> Alert:
    watch, session = e.latest("ibkr_watch_suspended"), e.latest("ibkr_session_suspended")
    client = f"max by ({e.IDENTITY}) ({e.latest('ibkr_client_suspended')})"
    return Alert(
        name="IbkrProbesSuspended",
        summary="The exporter keeps its own sessions away",
        action="Read the evidence on its page.",
        expr=e.with_labels(f"({watch} == 1 or {session} == 1 or {client} == 1)", e.FLEET_INFO),
        wait=t.SUSPENDED,
        severity="info",
        layer="quality",
        description=f"{a.ABOUT}: the watch, a client library, or every session of the exporter is kept away: the gateway has no "
        "place for it, or stopped answering when it connected. Without the watch a freeze is seen at the next probe only; without sessions "
        "nothing is known of accounts, links and farms. "
        + a.steps(
            "Read the evidence on its page: which of them, and why.",
            "If it serves a limited number of connections, close those that are left behind, or raise the limit.",
            "If it falls silent after our startApi, use another build of the gateway.",
            "Then have it tried again: reload the exporter's configuration (SIGHUP, or POST /-/reload).",
        ),
        runbook="probes_suspended",
        dashboard=a.GATEWAY_BOARD,
        page=a.TARGET_PAGE,
    )


def _weekly_login() -> Alert:
    return Alert(
        name="IbkrWeeklyLoginDue",
        summary="The weekly login is due on Sunday",
        action="Have IBKR Mobile at hand then.",
        expr=f"count by (job, instance) ({e.latest('ibkr_target_info')}) and on () (ibkr:weekly_login_due == 1)",
        wait=t.AT_ONCE,
        severity="info",
        layer="quality",
        description="{{ $value }} gateways watched by {{ $labels.instance }} need a login with two-factor approval after Sunday "
        "01:00 New York time, when IBKR ends all of them; automatic restarts fail until then. "
        + a.steps(
            "Have the phone with IBKR Mobile at hand on Sunday, or plan the restart for when you have.",
            "Then look at the Fleet dashboard: every gateway healthy.",
        ),
        runbook="weekly_login_due",
        dashboard=a.FLEET_BOARD,
    )


def _budgets() -> tuple[Alert, ...]:
    """Three paces for each indicator, each in a long window and a short one that tells that it still goes on."""
    paces = (("1h", "5m", t.BURN_FAST), ("1d", "2h", t.BURN_DAY), ("3d", "6h", t.BURN_DAYS))
    alerts = []
    for indicator, name, words in (
        (av.CONNECTABLE, "IbkrErrorBudgetBurning", "a trading program could not connect"),
        (
            av.CONNECTED,
            "IbkrServersBudgetBurning",
            "a trading program could not connect, or the gateway had lost IBKR's servers",
        ),
    ):
        expr = "\nor ".join(
            f"({indicator.burn}{long} > {pace.value}\n  and on ({e.IDENTITY}) {indicator.burn}{short} > {pace.value})"
            for long, short, pace in paces
        )
        alerts.append(
            Alert(
                name=name,
                summary="The month's error budget goes too fast",
                action="Look at its latest outages.",
                expr=e.with_labels(f"({expr})", e.FLEET_INFO),
                wait=t.BURN,
                severity="warning",
                layer="quality",
                description=f"{a.ABOUT}: in trading hours, the times in which {words} spend the error budget of 30 days "
                '{{ printf "%.1f" $value }} times as fast as it lasts. Short outages add up, each too short for a page. '
                + a.steps(
                    "Look at its dashboard: when was it down, how long, and in which state?",
                    "Then take the runbook of the verdict that it had most of that time.",
                ),
                runbook="error_budget",
                dashboard=a.GATEWAY_BOARD,
                page=a.TARGET_PAGE,
            )
        )
    return tuple(alerts)
