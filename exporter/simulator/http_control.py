"""A tiny HTTP server, on the loopback address only, to watch a simulated gateway and to change its mode.

GET  /      the state as JSON: modes, counters, the last connections and what they sent
GET  /modes every mode with what a client sees
POST /mode  `mode=silent` as query or form body; answers with the state, or 400 and the reason
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from exporter.simulator.gateway import Gateway
from exporter.simulator.modes import MODES
from exporter.simulator.recorder import ConnectionRecord

LOOPBACK = "127.0.0.1"
LAST_CONNECTIONS = 20
BODY_MOST = 1024  # bytes


@asynccontextmanager
async def control(gateway: Gateway, port: int) -> AsyncIterator[int]:
    """Serve while the block runs; yields the port. Raises OSError if it is in use."""
    app = web.Application(client_max_size=BODY_MOST)
    change = asyncio.Lock()

    async def show_state(_: web.Request) -> web.Response:
        return web.json_response(state(gateway))

    async def show_modes(_: web.Request) -> web.Response:
        return web.json_response({mode.name: mode.sees for mode in MODES.values()})

    async def set_mode(request: web.Request) -> web.Response:
        name = request.query.get("mode") or (await request.post()).get("mode")
        try:
            async with change:
                await gateway.set_mode(name if isinstance(name, str) else "")
        except ValueError as error:
            return web.Response(status=400, text=f"{error}\n")
        return web.json_response(state(gateway))

    app.router.add_get("/", show_state)
    app.router.add_get("/modes", show_modes)
    app.router.add_post("/mode", set_mode)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, LOOPBACK, port)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def state(gateway: Gateway) -> dict[str, Any]:
    """What a simulated gateway does and has seen, as JSON values. Moments are unix nanoseconds."""
    recorder = gateway.recorder
    return {
        "mode": gateway.mode,
        "acting": gateway.acting,
        "host": gateway.host,
        "port": gateway.port,
        "server_version": gateway.setup.server_version,
        "accounts": list(gateway.setup.accounts),
        "connections": {
            "opened": recorder.opened,
            "open": recorder.open_now,
            "open_most": recorder.open_most,
            "open_most_by_client_id": {str(number): most for number, most in sorted(recorder.most_as.items())},
        },
        "forbidden": recorder.forbidden,
        "messages": {str(number): count for number, count in sorted(recorder.messages.items())},
        "last": [_connection(record) for record in recorder.last(LAST_CONNECTIONS)],
    }


def _connection(record: ConnectionRecord) -> dict[str, Any]:
    return {
        "number": record.number,
        "address": record.address,
        "mode": record.mode,
        "hello": record.hello.decode("latin-1"),
        "version": record.version,
        "client_id": record.client_id,
        "accepted_ns": record.accepted_ns,
        "hello_ns": record.hello_ns,
        "replied_ns": record.replied_ns,
        "ended_ns": record.ended_ns,
        "client_end": record.client_end,
        "our_end": record.our_end,
        "complaint": record.complaint,
        "forbidden": record.forbidden,
        "received": record.received,
        "overheard": record.overheard,
        "messages": [
            {"at_ns": each.at_ns, "id": each.id, "size": each.size, "payload": each.payload.hex()}
            for each in record.messages
        ],
    }
