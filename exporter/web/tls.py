"""TLS contexts from certificate files, and one that hands each connection to whichever is in force."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from exporter.config.errors import ConfigError, Problem
from exporter.config.web_file import TlsFiles

TLS_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}


class CurrentContext(ssl.SSLContext):
    """A context that hands each connection to another one, which may be replaced while the server listens."""

    _current: Callable[[], ssl.SSLContext | None]

    def __new__(cls, current: Callable[[], ssl.SSLContext | None]) -> Self:
        """Make one whose `current` gives the context in force; None: this one."""
        self = super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)
        self._current = current
        return self

    def __init__(self, _: object) -> None:
        """All is done by __new__."""

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """Begin a connection with the context that is in force."""
        context = self._current()
        return super().wrap_bio(*args, **kwargs) if context is None else context.wrap_bio(*args, **kwargs)


def server_context(tls: TlsFiles, path: Path) -> ssl.SSLContext:
    """Make a server's context. Raises ConfigError naming the file that cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version, context.maximum_version = TLS_VERSIONS[tls.minimum], TLS_VERSIONS[tls.maximum]
    if tls.ciphers:
        context.set_ciphers(":".join(tls.ciphers))
    if not tls.server_preference:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    remedy = "Give PEM files that the exporter may read, and the key without a passphrase"
    try:
        # A key with a passphrase would be asked for on the terminal.
        context.load_cert_chain(tls.certificate, tls.key, password=lambda: b"")
    except (OSError, ValueError) as error:
        message = f"the certificate {tls.certificate} and its key {tls.key} cannot be used: {_reason(error)}"
        raise ConfigError([Problem(str(path), None, None, "tls_server_config", message, remedy)]) from None
    if tls.client_ca is not None:
        try:
            context.load_verify_locations(tls.client_ca)
        except (OSError, ValueError) as error:
            message = f"{tls.client_ca} cannot be used: {_reason(error)}"
            place = "tls_server_config.client_ca_file"
            raise ConfigError([Problem(str(path), None, None, place, message, remedy)]) from None
        context.verify_mode = ssl.CERT_REQUIRED if tls.client_certificate_required else ssl.CERT_OPTIONAL
    return context


def _reason(error: OSError | ValueError) -> str:
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
    return str(reason)
