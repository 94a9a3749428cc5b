"""ibkr-exporter: says whether TWS / IB Gateway or the client library is at fault.

One tick of one target, from the socket to the page:

    service      when a target is probed, and by which probe
    probes       one probe per layer on our own socket: port, handshake, session, download -> LayerResult
    clients      one broker library in its own process, between two of our handshakes    -> LayerResult
    verdict      judge(report, target): the first rule that applies                      -> Verdict
    state        fold(state, report, verdict): what is known of a target from now on      -> TargetState
    metrics      the states as Prometheus text
    web          the states as pages, JSON and /metrics
    cli          the commands; `diagnose` prints one report, `serve` runs the service

The other packages:

    config       the YAML file, the environment and discovered lists to Target and ClientSpec
    protocol     bytes to messages and back; no sockets
    simulator    a TWS with a chosen fault, for tests, `simulate` and `demo`
    model        the values that all packages share: enums, Target and ClientSpec, LayerResult and Report
    maintenance  windows in which failures are expected
    log, text    structured logs; durations and times for people
    signals      which signals end a process
    systemd      the messages to systemd

Import order, checked by import-linter (a package imports only what is to its right):
cli > web > service > clients | metrics > probes > state > config | verdict | simulator > log | protocol > model >
maintenance | signals | systemd | text. model, maintenance, text, protocol, verdict, state, metrics and
web.pages are pure: no clock and no I/O.

What a change touches:

    a client     clients/drivers/NAME_driver.py, deploy/clients/NAME.txt, its rows in tests/shell/test_drivers.py
    a verdict    model/enums.py, a rule in verdict/rules.py, its text in verdict/actions.py, runbooks/NAME.md,
                 a mode in simulator/modes/, an alert in deploy/rules/verdict_alerts.py and its test beside the rules
    a layer      model/enums.py, a probe in probes/ and its row in probes/target.py, then as a verdict
    a metric     its row and its function in one file of metrics/, a panel or an alert that shows it

tests/contract names whatever a change forgot. docs/architecture.md explains the path, docs/adr the decisions.
"""

__version__ = "0.1.0"
