"""The shape of `file_sd_configs` and `http_sd_configs`: Prometheus's own keys, as far as they apply here."""

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from exporter.config.checks import InvalidValue
from exporter.config.fields import Interval, checked, matching
from exporter.config.section import Section

FILE_PATTERN = r"^[^*]*(\*[^/]*)?\.(json|yml|yaml|JSON|YML|YAML)$"  # as Prometheus has it
HEADER_NAME = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$"
# Those that we or the connection set; as Prometheus has them.
OWN_HEADERS = frozenset(
    """authorization host content-encoding content-length content-type accept accept-encoding user-agent connection
    keep-alive transfer-encoding te trailer upgrade expect cookie proxy-authorization proxy-connection
    x-prometheus-refresh-interval-seconds""".split()  # noqa: SIM905 - shorter than a list
)
FILE = "a file that holds it; read at each request"


def _url(text: str) -> str:
    remedy = "Write it as http://HOST:PORT/PATH or https://HOST:PORT/PATH"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise InvalidValue("this is not a URL", remedy) from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or re.search(r"[\x00-\x20\x7f]", text):
        raise InvalidValue("this is not a URL of a web server", remedy)
    if parts.username is not None or parts.password is not None:
        raise InvalidValue("there is a user name or a password in the URL", "Write it under basic_auth")
    return text


def _header(name: str) -> str:
    if not re.fullmatch(HEADER_NAME.strip("^$"), name):
        raise InvalidValue(f'"{name}" is not the name of a header', "Use letters, digits and hyphens")
    if name.lower() in OWN_HEADERS:
        remedy = "Use basic_auth or authorization for credentials, and leave out the others"
        raise InvalidValue(f"the header {name} is set by the exporter", remedy)
    return name


FilePattern = Annotated[
    str,
    matching(FILE_PATTERN, "a pattern of files", "End it in .json, .yml or .yaml; a * may be in the last part alone"),
    Field(examples=["targets/*.yaml"], json_schema_extra={"pattern": FILE_PATTERN}),
]
Url = Annotated[str, AfterValidator(checked(_url)), Field(examples=["http://127.0.0.1:8080/targets"])]
HeaderName = Annotated[str, AfterValidator(checked(_header))]
Text = Annotated[str, Field(min_length=1)]


class FileSdSection(Section):
    """One entry of `file_sd_configs`: the files that list targets, and how often they are read again."""

    files: Annotated[
        list[FilePattern],
        Field(description="Paths, relative to this file; the last part may have a `*`", min_length=1),
    ]
    refresh_interval: Annotated[
        Interval, Field(description="How often they are read again even if nothing tells of a change")
    ] = 300.0


class BasicAuthSection(Section):
    """A user name and a password."""

    username: Annotated[Text | None, Field(description="The user name")] = None
    username_file: Annotated[Text | None, Field(description=f"The same: {FILE}")] = None
    password: Annotated[Text | None, Field(description="The password")] = None
    password_file: Annotated[Text | None, Field(description=f"The same: {FILE}")] = None


class AuthorizationSection(Section):
    """The kind and the credentials that a request for a list sends in its header `Authorization`."""

    type: Annotated[Text, Field(description="The kind of credentials; for `Basic` there is basic_auth")] = "Bearer"
    credentials: Annotated[Text | None, Field(description="The credentials")] = None
    credentials_file: Annotated[Text | None, Field(description=f"The same: {FILE}")] = None


class TlsConfigSection(Section):
    """How a server's certificate is verified, and our own. Files are read at each request."""

    ca_file: Annotated[
        Text | None, Field(description="Certificates of authorities; by default those of the system")
    ] = None
    cert_file: Annotated[Text | None, Field(description="Our certificate")] = None
    key_file: Annotated[Text | None, Field(description="Its key")] = None
    server_name: Annotated[Text | None, Field(description="The name that the certificate must have")] = None
    insecure_skip_verify: Annotated[bool, Field(description="Accept any certificate")] = False


class HttpHeaderSection(Section):
    """The values of one header, each sent as a header of its own."""

    values: Annotated[list[str], Field(description="Values")] = []
    secrets: Annotated[list[str], Field(description="Values that are secret")] = []
    files: Annotated[list[Text], Field(description="Files that hold a value each; read at each request")] = []


class HttpSdSection(Section):
    """Targets from a URL."""

    url: Annotated[Url, Field(description="Where the targets are asked for, by GET")]
    refresh_interval: Annotated[Interval, Field(description="How often they are asked for")] = 60.0
    basic_auth: Annotated[BasicAuthSection | None, Field(description="A user name and a password")] = None
    authorization: Annotated[AuthorizationSection | None, Field(description="Other credentials")] = None
    tls_config: Annotated[TlsConfigSection, Field(description="Certificates")] = TlsConfigSection()
    http_headers: Annotated[
        dict[HeaderName, HttpHeaderSection], Field(description="More headers of the request, by name")
    ] = {}
    follow_redirects: Annotated[
        bool, Field(description="Follow redirects; those to another host are never followed")
    ] = True
