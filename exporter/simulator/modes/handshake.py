"""The modes in which the port or the reply to the hello is at fault: a probe of the handshake sees them."""

from exporter.model import Verdict
from exporter.simulator.modes.behaviour import (
    AcceptBehaviour,
    EarlyMessage,
    GatewayMode,
    HelloBehaviour,
    PortBehaviour,
    StartBehaviour,
)

HTTP_COMPLAINT = (
    b"HTTP/1.1 400 Bad Request\r\nServer: simulated\r\nContent-Type: text/html\r\n"
    b"Content-Length: 26\r\nConnection: close\r\n\r\n<h1>400 Bad Request</h1>\r\n"
)
VNC_BANNER = b"RFB 003.008\n"
SSH_BANNER = b"SSH-2.0-OpenSSH_9.6\r\n"
TLS_ALERT = b"\x15\x03\x01\x00\x02\x02\x0a"  # fatal, unexpected message

HANDSHAKE_MODES = (
    # the port
    GatewayMode(
        "refused", "connection refused; live sessions are reset", Verdict.PORT_CLOSED, port=PortBehaviour.REFUSED
    ),
    GatewayMode(
        "backlog_full",
        "no answer to the TCP connect: the accept queue is full (Linux only)",
        Verdict.UNREACHABLE,
        port=PortBehaviour.FULL,
    ),
    # before the reply
    GatewayMode(
        "silent",
        "connected, then nothing at all; live sessions freeze too",
        Verdict.API_SILENT,
        hello=HelloBehaviour.NOTHING,
        start=StartBehaviour.NOTHING,
        answering=False,
    ),
    GatewayMode(
        "sessions_only",
        "new connections get no answer; live sessions go on",
        Verdict.API_SILENT,
        hello=HelloBehaviour.NOTHING,
    ),
    GatewayMode(
        "wedged_by_library",
        "works until a contract is asked for, which only libraries do; from then on it is `silent`",
        Verdict.HEALTHY,
        wedges=True,
    ),
    GatewayMode(
        "one_connection",
        "serves --connections at a time and never answers those beyond",
        Verdict.HEALTHY,
        limited=True,
    ),
    GatewayMode(
        "close_at_once",
        "connected, then end of stream before anything is read",
        Verdict.CLOSED_BEFORE_HANDSHAKE,
        accept=AcceptBehaviour.CLOSE,
    ),
    GatewayMode(
        "reset_at_once",
        "connected, then reset by the peer",
        Verdict.CLOSED_BEFORE_HANDSHAKE,
        accept=AcceptBehaviour.RESET,
    ),
    GatewayMode(
        "relay",
        "connected, then end of stream or reset: a relay like socat with no gateway behind it",
        Verdict.CLOSED_BEFORE_HANDSHAKE,
        accept=AcceptBehaviour.RELAY,
    ),
    GatewayMode(
        "close_after_hello",
        "the hello is read, then end of stream without a byte",
        Verdict.CLOSED_BEFORE_HANDSHAKE,
        hello=HelloBehaviour.CLOSE,
    ),
    # the reply
    GatewayMode("slow", "the reply comes after --slow seconds", Verdict.SLOW, hello=HelloBehaviour.SLOW),
    GatewayMode("bytewise", "everything comes one byte at a time", Verdict.HEALTHY, hello=HelloBehaviour.BYTEWISE),
    GatewayMode(
        "split_reply", "the reply comes in two segments, 0.3 s apart", Verdict.HEALTHY, hello=HelloBehaviour.SPLIT
    ),
    GatewayMode("half_reply", "half a reply, then nothing more", Verdict.API_SILENT, hello=HelloBehaviour.HALF),
    GatewayMode(
        "eof_mid_reply",
        "half a reply, then end of stream",
        Verdict.API_SILENT,
        hello=HelloBehaviour.HALF_CLOSE,
    ),
    GatewayMode("garbage", "a well-framed reply of random bytes", Verdict.NOT_TWS_API, hello=HelloBehaviour.GARBAGE),
    GatewayMode(
        "huge_length", "a length of two gigabytes, then nothing", Verdict.NOT_TWS_API, hello=HelloBehaviour.HUGE_LENGTH
    ),
    GatewayMode("flood", "100 MB of the letter x", Verdict.NOT_TWS_API, hello=HelloBehaviour.FLOOD),
    # other services
    GatewayMode(
        "http",
        "an HTTP server's 400, then end of stream",
        Verdict.NOT_TWS_API,
        hello=HelloBehaviour.FOREIGN,
        banner=HTTP_COMPLAINT,
    ),
    GatewayMode(
        "vnc",
        "a VNC server's banner, unasked",
        Verdict.NOT_TWS_API,
        accept=AcceptBehaviour.BANNER,
        banner=VNC_BANNER,
        hello=HelloBehaviour.NOTHING,
    ),
    GatewayMode(
        "ssh",
        "an SSH server's banner, unasked",
        Verdict.NOT_TWS_API,
        accept=AcceptBehaviour.BANNER,
        banner=SSH_BANNER,
        hello=HelloBehaviour.NOTHING,
    ),
    GatewayMode(
        "tls",
        "a TLS server's alert, then end of stream",
        Verdict.NOT_TWS_API,
        hello=HelloBehaviour.FOREIGN,
        banner=TLS_ALERT,
    ),
    # clear refusals
    GatewayMode(
        "redirect",
        "a reply with version -1 and another address",
        Verdict.SERVER_REDIRECT,
        hello=HelloBehaviour.REDIRECT,
    ),
    GatewayMode("too_old", "a reply with server version 20", Verdict.SERVER_TOO_OLD, hello=HelloBehaviour.TOO_OLD),
    GatewayMode(
        "update_needed",
        "error 503 (the TWS is out of date) instead of a version, then end of stream",
        Verdict.SERVER_TOO_OLD,
        hello=HelloBehaviour.UPDATE_NEEDED,
    ),
    GatewayMode(
        "error_502",
        "error 502 instead of a version, then end of stream",
        Verdict.SESSION_REFUSED,
        hello=HelloBehaviour.ERROR,
        error=502,
    ),
    GatewayMode(
        "error_504",
        "error 504 instead of a version, then end of stream",
        Verdict.SESSION_REFUSED,
        hello=HelloBehaviour.ERROR,
        error=504,
    ),
    GatewayMode(
        "error_326",
        "error 326 instead of a version, then end of stream",
        Verdict.SESSION_REFUSED,
        hello=HelloBehaviour.ERROR,
        error=326,
    ),
    GatewayMode(
        "error_507",
        "error 507 instead of a version, then end of stream",
        Verdict.SESSION_REFUSED,
        hello=HelloBehaviour.ERROR,
        error=507,
    ),
    GatewayMode(
        "version_negative",
        "a reply with server version -5",
        Verdict.NOT_TWS_API,
        hello=HelloBehaviour.VERSION,
        reply=("-5", "20231021 13:28:15 EST"),
    ),
    GatewayMode(
        "version_zero",
        "a reply with server version 0",
        Verdict.NOT_TWS_API,
        hello=HelloBehaviour.VERSION,
        reply=("0", "20231021 13:28:15 EST"),
    ),
    GatewayMode(
        "redirect_to_date",
        "a reply with version -1 and a date instead of an address",
        Verdict.NOT_TWS_API,
        hello=HelloBehaviour.VERSION,
        reply=("-1", "20231021 13:28:15 EST"),
    ),
    # messages before the reply
    GatewayMode("news_first", "a news bulletin before the reply", Verdict.HEALTHY, early=EarlyMessage.NEWS),
    GatewayMode("tick_first", "a tick before the reply", Verdict.HEALTHY, early=EarlyMessage.TICK),
    GatewayMode("notice_first", "error 2104 before the reply", Verdict.HEALTHY, early=EarlyMessage.NOTICE),
    GatewayMode("loss_first", "error 1100 before the reply", Verdict.HEALTHY, early=EarlyMessage.LOSS),
    GatewayMode("protobuf_first", "a protobuf message before the reply", Verdict.HEALTHY, early=EarlyMessage.PROTOBUF),
    GatewayMode(
        "user_info_first",
        "a message before the reply whose id, 107, could be a version",
        Verdict.HEALTHY,
        early=EarlyMessage.USER_INFO,
    ),
    GatewayMode(
        "notice_only",
        "error 2104, and a reply never",
        Verdict.API_SILENT,
        hello=HelloBehaviour.NOTHING,
        early=EarlyMessage.NOTICE,
    ),
    # only the newest hello
    GatewayMode(
        "newest_hello_silent",
        "a hello that announces more than version 187 is not answered",
        Verdict.API_SILENT,
        newest_hello=187,
    ),
    GatewayMode(
        "newest_hello_closed",
        "end of stream after a hello that announces more than version 187",
        Verdict.CLOSED_BEFORE_HANDSHAKE,
        hello=HelloBehaviour.REPLY,
        newest_hello=187,
        closes_newest=True,
    ),
)
