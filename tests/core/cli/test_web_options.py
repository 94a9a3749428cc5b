import pytest

from exporter.cli.web_options import with_web_options
from exporter.config import Config, ConfigError, Listen

CONFIGURED = Config((), external_url="https://file.example/a", route_prefix="/a")


def test_without_options_the_configuration_stays() -> None:
    assert with_web_options(CONFIGURED, None, None, None, systemd_socket=False) == CONFIGURED


def test_each_address_is_served_once() -> None:
    config = with_web_options(
        CONFIGURED, ["127.0.0.1:9000", "[::1]:9000", "127.0.0.1:9000"], None, None, systemd_socket=True
    )
    assert config.listen == (Listen("127.0.0.1", 9000), Listen("::1", 9000))
    assert config.systemd_socket


@pytest.mark.parametrize(
    ("url", "prefix", "expected"),
    [
        ("https://option.example/b/", None, ("https://option.example/b", "/b")),
        ("https://option.example/b", "/", ("https://option.example/b", "")),
        ("https://option.example/b", "", ("https://option.example/b", "/b")),
        (None, "", ("https://file.example/a", "/a")),
        (None, "c", ("https://file.example/a", "/c")),
    ],
)
def test_a_url_brings_its_path_as_the_prefix_unless_that_is_given(
    url: str | None, prefix: str | None, expected: tuple[str, str]
) -> None:
    config = with_web_options(CONFIGURED, None, url, prefix, systemd_socket=False)
    assert (config.external_url, config.route_prefix) == expected


@pytest.mark.parametrize("url", ["ftp://x", "https://", "https://a b", "https://x/?q", "https://x:0", "https://[::1"])
def test_what_is_no_external_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        with_web_options(CONFIGURED, None, url, None, systemd_socket=False)
