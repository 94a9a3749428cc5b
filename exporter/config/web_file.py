"""The web configuration file: TLS, passwords, headers and the rate limit, in the format of the exporter-toolkit.

Format: docs/web-configuration.md of github.com/prometheus/exporter-toolkit. What Python's ssl module cannot do is
refused by name: the two kinds of client authentication that do not verify a certificate, keys
written into the file, and curve preferences. HTTP/2 is not served, whatever `http2` says.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from exporter.config.checks import InvalidValue, parse_duration, yaml_text
from exporter.config.errors import ConfigError, Problem, reword
from exporter.config.fields import checked, unfit
from exporter.config.section import Section
from exporter.config.yaml_source import Loc, read_document

# Go's names of the TLS 1.2 suites that its default list holds, and OpenSSL's names of the same.
CIPHER_SUITES: Mapping[str, str] = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
}
BCRYPT = re.compile(r"\$2[abxy]\$(?:0[4-9]|1[0-9]|2[0-9]|3[01])\$[./A-Za-z0-9]{53}")
HEADER_VALUE = re.compile(r"[\x20-\x7e]*")
KEYS = "tls_server_config, basic_auth_users, http_server_config or rate_limit"
NOT_HERE = "Remove the key: Python's TLS cannot be told this"
INLINE = "Write it to a file of its own, and name that"


def _hash(text: str) -> str:
    if not BCRYPT.fullmatch(text):
        raise InvalidValue("the password is not a bcrypt hash", "Make one: htpasswd -nBC 10 '' | tr -d ':\\n'")
    return text


def _cipher_suite(name: str) -> str:
    if name not in CIPHER_SUITES:
        raise InvalidValue(f"{yaml_text(name)} is not a known cipher suite", f"Known are {', '.join(CIPHER_SUITES)}")
    return name


def _interval(value: Any) -> float:
    return 0.0 if value in (0, "0", "0s") else float(parse_duration(value))


def _header(text: str) -> str:
    if not HEADER_VALUE.fullmatch(text):
        raise InvalidValue("the header's value has a character that HTTP does not allow", "Write printable ASCII")
    return text


CipherSuite = Annotated[str, AfterValidator(checked(_cipher_suite))]
PasswordHash = Annotated[str, AfterValidator(checked(_hash))]
HeaderValue = Annotated[str, AfterValidator(checked(_header))]
TlsVersion = Literal["TLS12", "TLS13"]


class TlsSection(Section):
    """`tls_server_config`. Paths are relative to the directory of the file."""

    cert_file: str
    key_file: str
    client_ca_file: str | None = None
    client_auth_type: Literal["NoClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert"] = "NoClientCert"
    client_allowed_sans: Annotated[list[str], Field(default_factory=list)]
    min_version: TlsVersion = "TLS12"
    max_version: TlsVersion = "TLS13"
    cipher_suites: Annotated[list[CipherSuite], Field(default_factory=list)]
    prefer_server_cipher_suites: bool = True

    @model_validator(mode="before")
    @classmethod
    def _refuse_what_python_cannot_do(cls, data: Any) -> Any:
        if isinstance(data, dict):
            for key, remedy in (
                ("cert", INLINE),
                ("key", INLINE),
                ("client_ca", INLINE),
                ("curve_preferences", NOT_HERE),
            ):
                if key in data:
                    raise unfit(f"{key} is not supported here", remedy)
        return data

    @model_validator(mode="after")
    def _is_consistent(self) -> "TlsSection":
        verifies = self.client_auth_type != "NoClientCert"
        if verifies and self.client_ca_file is None:
            raise unfit(
                "client certificates are asked for, and there is nothing to verify them by", "Add client_ca_file"
            )
        if not verifies and self.client_ca_file is not None:
            raise unfit(
                "client_ca_file is set, and no client certificate is asked for",
                "Set client_auth_type: RequireAndVerifyClientCert",
            )
        if self.client_allowed_sans and self.client_auth_type != "RequireAndVerifyClientCert":
            raise unfit(
                "client_allowed_sans needs a client certificate", "Set client_auth_type: RequireAndVerifyClientCert"
            )
        if self.min_version > self.max_version:
            raise unfit("min_version is above max_version", "Swap them")
        return self


class HeadersSection(Section):
    """Headers of every response; an empty value leaves the header out."""

    content_security_policy: HeaderValue | None = Field(None, alias="Content-Security-Policy")
    x_frame_options: Literal["deny", "sameorigin", ""] | None = Field(None, alias="X-Frame-Options")
    x_content_type_options: Literal["nosniff", ""] | None = Field(None, alias="X-Content-Type-Options")
    x_xss_protection: HeaderValue | None = Field(None, alias="X-XSS-Protection")
    strict_transport_security: HeaderValue | None = Field(None, alias="Strict-Transport-Security")


class HttpSection(Section):
    """The key `http_server_config`. `http2` is accepted and ignored."""

    http2: bool = True
    headers: HeadersSection = HeadersSection()


class RateLimitSection(Section):
    """A token bucket for the whole server: a token each `interval`, at most `burst` of them kept."""

    interval: Annotated[float, BeforeValidator(checked(_interval))] = 0.0
    burst: Annotated[int, Field(ge=0)] = 0


class WebFileSection(Section):
    """The web configuration file, from its top-level keys."""

    tls_server_config: TlsSection | None = None
    http_server_config: HttpSection = HttpSection()
    basic_auth_users: Annotated[dict[str, PasswordHash], Field(default_factory=dict)]
    rate_limit: RateLimitSection = RateLimitSection()


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """What the server's TLS is made from. `sans`: the subject alternative names of permitted clients; empty: any."""

    certificate: Path
    key: Path
    client_ca: Path | None
    client_certificate_required: bool
    sans: frozenset[str]
    minimum: TlsVersion
    maximum: TlsVersion
    ciphers: tuple[str, ...]
    server_preference: bool

    @property
    def paths(self) -> tuple[Path, ...]:
        """Every file that is read."""
        return (self.certificate, self.key, *(() if self.client_ca is None else (self.client_ca,)))


@dataclass(frozen=True, slots=True)
class WebFile:
    """The web configuration file as values. `users` are bcrypt hashes by user name; the interval is in seconds."""

    path: Path
    tls: TlsFiles | None = None
    users: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    rate_interval: float = 0.0
    rate_burst: int = 0

    @property
    def paths(self) -> tuple[Path, ...]:
        """Every file whose change changes the server."""
        return (self.path, *(() if self.tls is None else self.tls.paths))


def read_web_file(path: Path) -> WebFile:
    """Read the file. Raises ConfigError with every problem and its line."""
    document = read_document(
        path, when_empty=f"Write {KEYS}", when_missing="Give the path of the web configuration file"
    )
    problems: list[Problem] = list(document.faults)
    try:
        section = WebFileSection.model_validate(document.data)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        problems += [document.problem(fault["loc"], *reword(fault, _known_keys(fault["loc"]))) for fault in faults]
        raise ConfigError(problems) from None
    if problems:
        raise ConfigError(problems)
    return WebFile(
        path=path,
        tls=_tls(section.tls_server_config, path.parent),
        users={name: hashed.encode() for name, hashed in section.basic_auth_users.items()},
        headers=section.http_server_config.headers.model_dump(by_alias=True, exclude_none=True),
        rate_interval=section.rate_limit.interval,
        rate_burst=section.rate_limit.burst,
    )


def _tls(section: TlsSection | None, folder: Path) -> TlsFiles | None:
    if section is None:
        return None
    return TlsFiles(
        certificate=folder / section.cert_file,
        key=folder / section.key_file,
        client_ca=None if section.client_ca_file is None else folder / section.client_ca_file,
        client_certificate_required=section.client_auth_type == "RequireAndVerifyClientCert",
        sans=frozenset(section.client_allowed_sans),
        minimum=section.min_version,
        maximum=section.max_version,
        ciphers=tuple(CIPHER_SUITES[name] for name in section.cipher_suites),
        server_preference=section.prefer_server_cipher_suites,
    )


def _known_keys(loc: Loc) -> list[str]:
    """The keys of the mapping in which the value at `loc` is."""
    sections: Mapping[str, type[Section]] = {
        "tls_server_config": TlsSection,
        "http_server_config": HeadersSection if "headers" in loc[:-1] else HttpSection,
        "rate_limit": RateLimitSection,
    }
    section = sections.get(str(loc[0]), WebFileSection) if len(loc) > 1 else WebFileSection
    return [entry.alias or name for name, entry in section.model_fields.items()]
