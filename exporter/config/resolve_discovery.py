"""From the sections `file_sd_configs` and `http_sd_configs` to their values, with the rules between keys."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from exporter.config.discovery import FileSource, HttpSource, Secret, Source
from exporter.config.discovery_schema import FileSdSection, HttpSdSection
from exporter.config.resolve import Complain
from exporter.config.yaml_source import Loc

FILES, URLS = "file_sd_configs", "http_sd_configs"
KEEP_ONE = "Keep one of them"


def resolve_files(sections: Mapping[int, FileSdSection], folder: Path) -> list[Source]:
    """The sources by their place in the list; paths are relative to `folder`."""
    return [
        FileSource(
            name=f"{FILES}[{index}]",
            patterns=tuple(str(folder / pattern) for pattern in section.files),
            refresh_interval=section.refresh_interval,
        )
        for index, section in sections.items()
    ]


def resolve_urls(sections: Mapping[int, HttpSdSection], folder: Path, complain: Complain) -> list[Source]:
    """The same for URLs."""
    return [_http_source(index, section, folder, complain) for index, section in sections.items()]


def _http_source(index: int, section: HttpSdSection, folder: Path, complain: Complain) -> HttpSource:
    here = (URLS, index)
    tls, basic, authorization = section.tls_config, section.basic_auth, section.authorization
    if basic is not None and authorization is not None:
        complain((*here, "authorization"), "basic_auth and authorization are both written", KEEP_ONE)
    if authorization is not None and authorization.type.lower() == "basic":
        complain((*here, "authorization", "type"), "the type is Basic", "Write a user and a password under basic_auth")
    if (tls.cert_file is None) != (tls.key_file is None):
        complain((*here, "tls_config"), "of cert_file and key_file one alone is written", "Write both, or none")

    def secret(loc: Loc, key: str, text: str | None, file: str | None, *, required: bool = True) -> Secret:
        if text is not None and file is not None:
            complain((*here, *loc, f"{key}_file"), f"{key} and {key}_file are both written", KEEP_ONE)
        if text is None and file is None and required:
            complain((*here, *loc), f"there is neither {key} nor {key}_file", "Write one of them")
        return Secret(text or "", None if file is None else folder / file)

    return HttpSource(
        name=f"{URLS}[{index}]",
        url=section.url,
        refresh_interval=section.refresh_interval,
        basic=None
        if basic is None
        else (
            secret(("basic_auth",), "username", basic.username, basic.username_file),
            secret(("basic_auth",), "password", basic.password, basic.password_file, required=False),
        ),
        authorization=None
        if authorization is None
        else (
            authorization.type,
            secret(("authorization",), "credentials", authorization.credentials, authorization.credentials_file),
        ),
        headers={
            name: _values((*here, "http_headers", name), [*header.values, *header.secrets], complain)
            + tuple(Secret(file=folder / file) for file in header.files)
            for name, header in section.http_headers.items()
        },
        ca=None if tls.ca_file is None else folder / tls.ca_file,
        certificate=None if not tls.cert_file or not tls.key_file else (folder / tls.cert_file, folder / tls.key_file),
        server_name=tls.server_name,
        verify=not tls.insecure_skip_verify,
        follow_redirects=section.follow_redirects,
    )


def _values(loc: Loc, texts: Sequence[str], complain: Complain) -> tuple[Secret, ...]:
    if not all(text.isprintable() and text.isascii() for text in texts):
        complain(loc, "a value has a character that HTTP does not allow", "Write printable ASCII")
    return tuple(Secret(text) for text in texts)
