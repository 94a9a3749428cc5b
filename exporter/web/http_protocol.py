"""aiohttp's protocol, with our own answer to what is not HTTP.

aiohttp writes a traceback to the log for each malformed request, and answers with its own version and what was sent.
"""

import asyncio
from http import HTTPStatus

import structlog
from aiohttp import hdrs, web

from exporter.web import pages

SERVER = "ibkr-exporter"
HEADERS = {
    "Content-Security-Policy": pages.CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def harden(response: web.StreamResponse) -> None:
    """Set the headers of every answer, but those that it has."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers[hdrs.SERVER] = SERVER


class HttpProtocol(web.RequestHandler):
    """One connection. A fault of the peer is logged at the level debug, without what was sent."""

    def __init__(self, server: web.Server) -> None:
        """Serve for `server`, without an access log."""
        loop = asyncio.get_running_loop()
        super().__init__(server, loop=loop, access_log=None)  # type: ignore[arg-type] # what aiohttp takes for none

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer a request that failed before it reached a route (4xx), or in one (500)."""
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            response = super().handle_error(request, status, exc, message)
        else:
            structlog.get_logger(__name__).debug("malformed request", peer=request.remote, problem=type(exc).__name__)
            response = web.Response(status=status, text=f"{status} {HTTPStatus(status).phrase}\n")
            response.force_close()
        harden(response)
        return response
