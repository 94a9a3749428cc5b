"""The health check of the image: whether the exporter answers on its own port, be that HTTP or TLS.

    python -I -S healthcheck.py      0: it answers

It asks the address of IBKR_EXPORTER_LISTEN, by default 127.0.0.1:9497; where all addresses are meant, this machine's
own. Where a web configuration file asks for a password, the refusal is an answer. Where it asks for TLS, so is the
server's hello: the certificate names another address than this one, and a client certificate is not ours to have.
Standard library only; `ssl`, which takes longest, is loaded only where plain HTTP gets no answer.
"""

import contextlib
import os
import socket
import sys

SECONDS = 2.0
HANDSHAKE = b"\x16"  # the type of a TLS record
REQUEST = b"GET /-/healthy HTTP/1.0\r\n\r\n"
ANYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what is listened on, not what we bind


def main() -> int:
    """0 if the exporter answers."""
    address = listen(os.environ.get("IBKR_EXPORTER_LISTEN", ""))
    try:
        return int(not (healthy(plain(address)) or greets(address)))
    except OSError as error:
        sys.stderr.write(f"{address[0]}:{address[1]}: {error}\n")
        return 1


def listen(text: str) -> tuple[str, int]:
    """Where to ask, from what is listened on; of several addresses the first."""
    first = text.replace(",", " ").split()[:1] or ["127.0.0.1:9497"]
    host, _, port = first[0].rpartition(":")
    host = host.strip("[]")
    return ANYWHERE.get(host, host), int(port)


def plain(address: tuple[str, int]) -> bytes:
    """The first bytes of the answer; none where the connection is ended without one."""
    with socket.create_connection(address, SECONDS) as connection:
        try:
            connection.sendall(REQUEST)
            return connection.recv(64)
        except ConnectionError:
            return b""


def greets(address: tuple[str, int]) -> bool:
    """Whether a TLS server answers our hello with its own."""
    import ssl  # noqa: PLC0415 - only where it is needed

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    hello, answer = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(answer, hello).do_handshake()
    with socket.create_connection(address, SECONDS) as connection:
        connection.sendall(hello.read())
        return connection.recv(1) == HANDSHAKE


def healthy(answer: bytes) -> bool:
    """Any answer but an error of the server's own: without the password, or too often, it is a refusal."""
    parts = answer.split(None, 2)
    return len(parts) > 1 and parts[0].startswith(b"HTTP/") and parts[1].isdigit() and int(parts[1]) < 500  # noqa: PLR2004


if __name__ == "__main__":
    sys.exit(main())
