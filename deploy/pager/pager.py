"""A pager that pages nobody: prints what Alertmanager's webhook sends, and shows the last of it.

    POST /RECEIVER      one notification, as Alertmanager posts it
    GET  /messages      all that is remembered, as JSON, oldest first; each with `receiver` and `at` (unix seconds)
    GET  /              the same for people
    GET  /-/healthy

Standard library only: it runs in the exporter's image, and anywhere else.
"""

import html
import json
import sys
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PORT = 9499
REMEMBERED = 500
MOST_BYTES = 1 << 20


def main() -> None:
    """Serve until the process is ended."""
    messages: deque[dict[str, Any]] = deque(maxlen=REMEMBERED)
    server = ThreadingHTTPServer(("", PORT), answering(messages))
    write(f"waiting for pages on port {PORT}")
    server.serve_forever()


def answering(messages: deque[dict[str, Any]]) -> type[BaseHTTPRequestHandler]:
    """The request handler that keeps what it is sent in `messages`."""

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = min(int(self.headers.get("Content-Length") or 0), MOST_BYTES)
            try:
                message = json.loads(self.rfile.read(length))
                text = page(message)
            except (ValueError, KeyError, TypeError, AttributeError):
                self.say(400, "text/plain", "this is no notification of Alertmanager\n")
                return
            messages.append({"receiver": self.path.strip("/"), "at": time.time(), **message})
            write(f"\n=== {time.strftime('%H:%M:%S')} {self.path.strip('/')}\n{text}")
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
    """One notification as someone would read it on a telephone."""
    lines = []
    for alert in message["alerts"]:
        labels, notes = alert["labels"], alert["annotations"]
        state = labels.get("severity", "") if alert["status"] == "firing" else "resolved"
        lines.append(f"{state.upper()} {labels.get('target', '')} {notes.get('summary', labels.get('alertname', ''))}")
        if alert["status"] == "firing":
            lines.append(notes.get("description", ""))
            lines.append(f"Runbook: {notes.get('runbook_url', '')}")
            lines.append(f"Dashboard: {notes.get('dashboard_url', '')}")
    return "\n".join(lines)


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
