"""The modes that answer the hello: the fault is in startApi, in the session or in the account download."""

from exporter.model import Layer, Verdict
from exporter.protocol.download import DownloadRequest
from exporter.simulator.modes.behaviour import (
    GatewayMode,
    Malformed,
    SettingsBehaviour,
    StartBehaviour,
    UpstreamBehaviour,
)

SESSION_MODES = (
    # startApi
    GatewayMode(
        "handshake_then_silence",
        "the hello is answered, startApi is not",
        Verdict.SESSION_SILENT,
        Layer.SESSION,
        start=StartBehaviour.NOTHING,
        answering=False,
    ),
    GatewayMode(
        "id_in_use",
        "error 326, then end of stream",
        Verdict.CLIENT_ID_IN_USE,
        Layer.SESSION,
        start=StartBehaviour.ID_IN_USE,
    ),
    GatewayMode(
        "id_in_use_open",
        "error 326, and the connection stays open",
        Verdict.CLIENT_ID_IN_USE,
        Layer.SESSION,
        start=StartBehaviour.ID_IN_USE_OPEN,
    ),
    GatewayMode(
        "bad_message",
        "error 507, then end of stream",
        Verdict.SESSION_REFUSED,
        Layer.SESSION,
        start=StartBehaviour.BAD_MESSAGE,
    ),
    GatewayMode(
        "close_after_start_api",
        "end of stream after startApi",
        Verdict.SESSION_REFUSED,
        Layer.SESSION,
        start=StartBehaviour.CLOSE,
    ),
    GatewayMode(
        "reset_after_start_api",
        "reset after startApi",
        Verdict.SESSION_REFUSED,
        Layer.SESSION,
        start=StartBehaviour.RESET,
    ),
    GatewayMode(
        "no_accounts",
        "nextValidId comes, managedAccounts never",
        Verdict.SESSION_STALLED,
        Layer.SESSION,
        start=StartBehaviour.NO_ACCOUNTS,
    ),
    GatewayMode(
        "no_next_valid_id",
        "managedAccounts comes, nextValidId never",
        Verdict.SESSION_STALLED,
        Layer.SESSION,
        start=StartBehaviour.NO_NEXT_VALID_ID,
    ),
    GatewayMode(
        "empty_accounts",
        "managedAccounts lists no account",
        Verdict.SESSION_STALLED,
        Layer.SESSION,
        empty_accounts=True,
    ),
    # the session
    GatewayMode(
        "malformed_error",
        "an error message without a number where its code belongs",
        Verdict.HEALTHY,
        Layer.SESSION,
        malformed=Malformed.ERROR,
    ),
    GatewayMode(
        "empty_frame",
        "a frame of no bytes within the session",
        Verdict.HEALTHY,
        Layer.SESSION,
        malformed=Malformed.EMPTY,
    ),
    GatewayMode(
        "contract_details_unanswered",
        "all is answered but reqContractDetails: only libraries see it",
        Verdict.HEALTHY,
        Layer.SESSION,
        contracts=False,
    ),
    GatewayMode(
        "requests_unanswered",
        "startApi is answered, requests are not",
        Verdict.SESSION_STALLED,
        Layer.SESSION,
        answering=False,
    ),
    GatewayMode(
        "upstream_lost",
        "1100: the gateway lost IBKR's servers (1102 when the mode ends)",
        Verdict.UPSTREAM_DOWN,
        Layer.SESSION,
        upstream=UpstreamBehaviour.LOST,
    ),
    GatewayMode(
        "upstream_broken",
        "2110: the gateway's link to IBKR's servers is broken (1102 when the mode ends)",
        Verdict.UPSTREAM_DOWN,
        Layer.SESSION,
        upstream=UpstreamBehaviour.BROKEN,
    ),
    GatewayMode(
        "farm_broken",
        "2103: one market data farm is disconnected (2104 when the mode ends)",
        Verdict.FARM_DOWN,
        Layer.SESSION,
        farm_broken=True,
    ),
    GatewayMode(
        "wrong_account",
        "another account than usual is managed",
        Verdict.ACCOUNT_MISSING,
        Layer.SESSION,
        wrong_account=True,
    ),
    GatewayMode(
        "clock_off", "the gateway's clock is --clock-offset seconds off", Verdict.HEALTHY, Layer.SESSION, clock_off=True
    ),
    # the account download
    GatewayMode(
        "positions_unanswered",
        "positions come, positionEnd never",
        Verdict.DOWNLOAD_STALLED,
        Layer.DOWNLOAD,
        endless=DownloadRequest.POSITIONS,
    ),
    GatewayMode(
        "open_orders_unanswered",
        "openOrderEnd never comes",
        Verdict.DOWNLOAD_STALLED,
        Layer.DOWNLOAD,
        unanswered=DownloadRequest.OPEN_ORDERS,
    ),
    GatewayMode(
        "completed_orders_unanswered",
        "completedOrdersEnd never comes",
        Verdict.DOWNLOAD_STALLED,
        Layer.DOWNLOAD,
        unanswered=DownloadRequest.COMPLETED_ORDERS,
    ),
    GatewayMode(
        "account_updates_unanswered",
        "account values come, accountDownloadEnd never",
        Verdict.DOWNLOAD_STALLED,
        Layer.DOWNLOAD,
        endless=DownloadRequest.ACCOUNT_UPDATES,
    ),
    GatewayMode(
        "executions_unanswered",
        "execDetailsEnd never comes",
        Verdict.DOWNLOAD_STALLED,
        Layer.DOWNLOAD,
        unanswered=DownloadRequest.EXECUTIONS,
    ),
    GatewayMode(
        "account_summary_unanswered",
        "accountSummaryEnd never comes",
        Verdict.DOWNLOAD_STALLED,
        Layer.DOWNLOAD,
        unanswered=DownloadRequest.ACCOUNT_SUMMARY,
    ),
    GatewayMode(
        "account_values_cut",
        "end of stream in the middle of the account values",
        Verdict.DOWNLOAD_STALLED,
        Layer.DOWNLOAD,
        values_cut=True,
    ),
    # the gateway's own settings
    GatewayMode(
        "settings_unanswered",
        "a request for the settings is not answered",
        Verdict.HEALTHY,
        Layer.SESSION,
        settings=SettingsBehaviour.NOTHING,
    ),
    GatewayMode(
        "settings_refused",
        "a request for the settings gets error 10357",
        Verdict.HEALTHY,
        Layer.SESSION,
        settings=SettingsBehaviour.REFUSED,
    ),
    GatewayMode(
        "settings_closed",
        "end of stream after a request for the settings",
        Verdict.HEALTHY,
        Layer.SESSION,
        settings=SettingsBehaviour.CLOSE,
    ),
)
