"""Steps that the actions of several verdicts share, and the cure of each request of the account download.

They use the fields of verdict/actions.py.
"""

from collections.abc import Mapping

from exporter.model import Stage

API_SETTINGS = (
    "TWS: File > Global Configuration > API > Settings; IB Gateway: Configure > Settings > API > Settings. "
    '"Enable ActiveX and Socket Clients" is ticked (Gateway 10.41 and later has no such box), '
    "the socket port is {port}, the trusted IPs include the probe's address."
)
# From what costs nothing to what ends the session: only the last step asks for the second factor again.
TOGGLE_PORT = "Change its socket port and back (Apply each time): that has revived an API without a restart."
SOFT_RESTART = (
    "Restart it without a second factor: TWS: File > Restart; IB Gateway: set its auto-restart to the next minute."
)
RESTART = (
    "Else, with the second factor: File > Exit, wait 10 seconds, start it again, log in to the {mode} account, and see that the API "
    "settings were kept."
)
# The same steps within one action.
GENTLY = (
    "restart it without a second factor (TWS: File > Restart; IB Gateway: auto-restart to the next minute), and only "
    "if that does not help with one (File > Exit, wait 10 seconds, start, log in to the {mode} account)"
)
NOT_THIS_MACHINE = "In WSL or a container 127.0.0.1 is not the machine that runs TWS: use that one's address (host.docker.internal), and trust ours there."
TRUST = (
    'Add the probe\'s address to the trusted IPs (no ranges), Apply; or untick "Allow connections from localhost only".'
)
VERIFY = "Then verify: ibkr-exporter diagnose {endpoint}"
MOVED = "If the port was changed on purpose: point the target {name} and your programs at port {{new_port}}, else set it back to {port}."
LOGIN = "See whether it is logged in: a login that waits for two-factor approval, a dialog or a restart keeps the API port shut."

# What helped those who reported it, by the request without an end (docs/facts.md: account download).
DOWNLOAD_CURES: Mapping[Stage, str] = {
    Stage.POSITIONS: "positions: restarting the gateway cured it (ib_async#84).",
    Stage.OPEN_ORDERS: "open_orders: see that Read-Only API is not ticked, or connect with readonly=True (Lean#254).",
    Stage.COMPLETED_ORDERS: "completed_orders: connect with readonly=True, which leaves them out (ib_insync#224 #355).",
    Stage.ACCOUNT_UPDATES: "account_updates: with several accounts name one when connecting, account=... (ib_insync#300 #303 #386); "
    "if TWS ends the session within the account values, use IB Gateway (ib_insync#655).",
    Stage.EXECUTIONS: 'executions: in Global Configuration > API > Settings set "Send instrument-specific attributes for dual-mode API '
    'client in" to UTC format (ib_async#82), or do not fetch executions when connecting (ib_insync#638).',
    Stage.ACCOUNT_SUMMARY: "account_summary: another build of the gateway cured it (ib_insync#689).",
}
