"""The health check of the second exporter of deploy/compose.ib-gateway.yaml, which lives in the gateway's network.

Docker makes a new network for a container that it starts again, and leaves whatever shared the old one alone with a
loopback interface: the exporter would see a closed port for ever, and Prometheus would not reach it. So one that has
been alone for a while is ended here, and its restart policy starts it in the new network.

Standard library only: it runs in the exporter's image, with `python -I -S`.
"""

import os
import signal
import socket
import sys
import time

USUAL = "/opt/ibkr-exporter/healthcheck.py"  # the image's own check
ALONE = "/tmp/alone"  # noqa: S108 - a tmpfs of the container's own; its age is how long we have been alone
PATIENCE = 15.0  # seconds: Docker gives up starting a container while the one whose network it shares is down


def main() -> int:
    """0 for a healthy exporter in a network with more than a loopback interface."""
    if any(name != "lo" for _, name in socket.if_nameindex()):
        if os.path.exists(ALONE):
            os.unlink(ALONE)
        os.execv(sys.executable, [sys.executable, "-I", "-S", USUAL])  # noqa: S606 - itself, with another script
    if not os.path.exists(ALONE):
        os.close(os.open(ALONE, os.O_CREAT, 0o600))
    elif time.time() - os.stat(ALONE).st_mtime > PATIENCE:
        os.kill(1, signal.SIGTERM)
    return 1


if __name__ == "__main__":
    sys.exit(main())
