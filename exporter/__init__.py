"""ibkr-exporter: says whether TWS / IB Gateway or the client library is at fault.

One tick of one target, from the socket to the page:

    service      when a target is probed, and by which probe
    probes       one probe per layer on our own socket: port, handshake, session          -> LayerResult
    clients      one broker library in its own process, between two of our handshakes    -> LayerResult
    verdict      judge(report, target): the first rule that applies                      -> Verdict
    state        fold(state, report, verdict): what is known of a target from now on      -> TargetState
    metrics      the states as Prometheus text
    web          the states as pages, JSON and /metrics
    cli          the commands; `diagnose` prints one report, `serve` runs the service

The other packages:

    config       the YAML file or the environment to Target and ClientSpec
    protocol     bytes to messages and back; no sockets
    simulator    a TWS with a chosen fault, for tests, `simulate` and `demo`
    model        the values that all packages share
    maintenance  windows in which failures are expected
    log, text    structured logs; durations and times for people
    signals      which signals end a process

Import order, checked by import-linter (a package imports only what is to its right):
cli > web > service > clients | metrics > probes | state > config | verdict | simulator > protocol > log > model >
maintenance | signals | text. The packages state, verdict, metrics and protocol are pure: no clock, no I/O.

What a change touches:

    a client     clients/drivers/NAME_driver.py, deploy/clients/NAME.txt, its name in config/types.py
    a verdict    model.Verdict, a rule in verdict/rules.py, its text in verdict/actions.py, runbooks/NAME.md, an alert
    a layer      model.Layer, a probe in probes/ and its row in probes/target.py, rules, evidence, a runbook, an alert
    a metric     its row and its function in metrics/

tests/contract names whatever a change forgot. docs/architecture.md explains the path, docs/adr the decisions.
"""

__version__ = "0.1.0"
