"""The values that every package shares: targets, layers, outcomes, results, reports and verdicts.

All are frozen and do no I/O. A tick probes the layers of one target in this order and stops at the first that fails:

    layer      asks                                         stages on the way
    port       does the TCP connect succeed?                resolve, connect
    handshake  is the hello answered?                       hello, reply
    session    is startApi answered, and a request?         start_api, next_valid_id, managed_accounts, current_time
    download   is the account downloaded to its end?        positions, open_orders, ... account_summary; opt-in
    client     does a broker library get as far?            imported, connected, ready, time, accounts, contract

    enums      the words: Layer, Stage, Outcome, Cause, Verdict
    target     what is configured: Target, ClientSpec
    results    what probes find: LayerResult, Report
"""

from exporter.model.enums import (
    DOWNLOAD_STAGES,
    OUTCOME,
    AddressFamily,
    Cause,
    Direction,
    Doubt,
    FarmKind,
    Layer,
    Mode,
    Outcome,
    Stage,
    Stamp,
    Verdict,
)
from exporter.model.results import (
    Exchanged,
    Fall,
    Farm,
    InstalledVersion,
    LayerResult,
    Report,
    RequestResult,
    ServerHello,
    SessionFacts,
)
from exporter.model.target import (
    CLIENT_DEADLINE,
    CLIENT_INTERVAL,
    DEADLINE,
    DOWNLOAD_INTERVAL,
    INTERVAL,
    SLOW_AFTER,
    ClientSpec,
    Hello,
    Target,
)

__all__ = [
    "CLIENT_DEADLINE",
    "CLIENT_INTERVAL",
    "DEADLINE",
    "DOWNLOAD_INTERVAL",
    "DOWNLOAD_STAGES",
    "INTERVAL",
    "OUTCOME",
    "SLOW_AFTER",
    "AddressFamily",
    "Cause",
    "ClientSpec",
    "Direction",
    "Doubt",
    "Exchanged",
    "Fall",
    "Farm",
    "FarmKind",
    "Hello",
    "InstalledVersion",
    "Layer",
    "LayerResult",
    "Mode",
    "Outcome",
    "Report",
    "RequestResult",
    "ServerHello",
    "SessionFacts",
    "Stage",
    "Stamp",
    "Target",
    "Verdict",
]
