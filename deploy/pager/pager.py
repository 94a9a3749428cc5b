"""Stands for a telephone and a dead man's switch: prints what Alertmanager's webhook sends, and shows the last of it.

    POST /RECEIVER      one notification, as Alertmanager posts it
    POST /watchdog      the alert that always fires: not shown; its silence of three minutes is a message
    GET  /messages      all that is remembered, as JSON, oldest first; each with `receiver` and `at` (unix seconds)
    GET  /              the same for people
    GET  /-/healthy

Standard library only: it runs in the exporter's image, and anywhere else.
"""

import html
import json
import sys
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PORT = 9499
REMEMBERED = 500
MOST_BYTES = 1 << 20
QUIET = 180.0  # seconds without the watchdog, which Alertmanager sends every minute


def main() -> None:
    """Serve until the process is ended."""
    messages: deque[dict[str, Any]] = deque(maxlen=REMEMBERED)
    switch = DeadMansSwitch(messages)
    threading.Thread(target=switch.run, daemon=True).start()
    server = ThreadingHTTPServer(("", PORT), answering(messages, switch))
    write(f"waiting for pages on port {PORT}")
    server.serve_forever()


class DeadMansSwitch:
    """Alarms when the watchdog stops. A real one runs elsewhere: this one ends with the machine that it watches."""

    def __init__(self, messages: deque[dict[str, Any]]) -> None:
        """It is armed by the first watchdog that arrives."""
        self._messages = messages
        self._heard: float | None = None  # by the monotonic clock

    def heard(self) -> None:
        """The watchdog has arrived."""
        self._heard = time.monotonic()

    def run(self) -> None:
        """Look every second, for ever."""
        while True:
            time.sleep(1.0)
            if self._heard is not None and time.monotonic() - self._heard > QUIET:
                self._heard = None  # one message; the next watchdog arms it again
                keep(self._messages, "watchdog", silence())


def silence() -> dict[str, Any]:
    """The message that the watchdog has stopped, in the form of Alertmanager's."""
    labels = {"alertname": "WatchdogStopped", "severity": "critical"}
    notes = {
        "summary": f"No watchdog for {QUIET:g} s: Prometheus or Alertmanager has ended",
        "action": "Nothing is known of any gateway: start them.",
        "runbook_url": "http://127.0.0.1:9497/runbooks/watchdog",
    }
    alert = {"status": "firing", "labels": labels, "annotations": notes, "startsAt": utc(time.time())}
    return {"status": "firing", "commonLabels": labels, "alerts": [alert]}


def keep(messages: deque[dict[str, Any]], receiver: str, message: dict[str, Any]) -> None:
    """Remember and print a message."""
    text = page(message)
    messages.append({"receiver": receiver, "at": time.time(), **message})
    write(f"\n=== {time.strftime('%H:%M:%S')} {receiver}\n{text}")


def answering(messages: deque[dict[str, Any]], switch: DeadMansSwitch) -> type[BaseHTTPRequestHandler]:
    """The request handler that keeps what it is sent in `messages`."""

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = min(int(self.headers.get("Content-Length") or 0), MOST_BYTES)
            try:
                message = json.loads(self.rfile.read(length))
                page(message)
            except (ValueError, KeyError, TypeError, AttributeError):
                self.say(400, "text/plain", "this is no notification of Alertmanager\n")
                return
            if self.path == "/watchdog":
                switch.heard()
            else:
                keep(messages, self.path.strip("/"), message)
            self.say(200, "text/plain", "kept\n")

        def do_GET(self) -> None:
            if self.path == "/-/healthy":
                self.say(200, "text/plain", "healthy\n")
            elif self.path == "/messages":
                self.say(200, "application/json", json.dumps(list(messages)))
            elif self.path == "/":
                self.say(200, "text/html", shown(list(messages)))
            else:
                self.say(404, "text/plain", "nothing here; see /\n")

        def say(self, status: int, kind: str, text: str) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Requests are not logged: what they brought is."""

    return Answer


def write(text: str) -> None:
    """To the log, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def page(message: dict[str, Any]) -> str:
    """One notification as someone would read it on a telephone, as deploy/alertmanager/templates/ibkr.tmpl has it."""
    lines = []
    for alert in message["alerts"]:
        labels, notes = alert["labels"], alert["annotations"]
        where = labels.get("target") or labels.get("host") or labels.get("instance")
        about = (f"{where}: " if where else "") + (
            labels.get("verdict") or notes.get("summary", labels.get("alertname", ""))
        )
        if alert["status"] == "firing":
            since = notes.get("since") or f"{alert.get('startsAt', '')[11:19]} UTC"
            lines.append(f"{labels.get('severity', '').upper()} {about} since {since}. {notes.get('action', '')}")
            lines.append(notes.get("description", ""))
        else:
            lines.append(f"ENDED {about}, no longer reported since {alert.get('endsAt', '')[11:19]} UTC")
            lines.append("That is all that is known here: if Prometheus ended, it looks the same.")
        for name, key in (("Now", "page_url"), ("Runbook", "runbook_url"), ("Dashboard", "dashboard_url")):
            if notes.get(key):
                lines.append(f"{name}: {notes[key]}")
    return "\n".join(lines)


def utc(at: float) -> str:
    """A moment as Alertmanager writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def shown(messages: list[dict[str, Any]]) -> str:
    """The page for people, newest first."""
    blocks = "".join(
        f"<h2>{time.strftime('%H:%M:%S', time.gmtime(each['at']))} UTC, {html.escape(each['receiver'])}</h2>"
        f"<pre>{html.escape(page(each))}</pre>"
        for each in reversed(messages)
    )
    return (
        "<!doctype html><meta charset=utf-8><meta http-equiv=refresh content=5><title>Pager</title>"
        "<style>body{font:16px/1.4 sans-serif;max-width:60rem;margin:2rem auto}pre{white-space:pre-wrap}</style>"
        f"<h1>Pager</h1>{blocks or '<p>No page yet.</p>'}"
    )


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(0)
