"""The HTTP routes on a real server: formats, pages, probes on demand, reload."""

import asyncio
import gzip
import ipaddress
import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestServer
from prometheus_client.parser import text_string_to_metric_families

from exporter.config import Config
from exporter.model import Mode, Target, Verdict
from exporter.service.service import Service
from exporter.simulator.gateway import Gateway
from exporter.simulator.settings import GatewaySettings
from exporter.state.exporter import ExporterState
from exporter.web import pages
from exporter.web.app import application
from tests.shell.support import until

pytestmark = pytest.mark.turned_clock

OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"


class Site:
    """A served service and how to ask it."""

    def __init__(self, service: Service, session: aiohttp.ClientSession) -> None:
        self.service = service
        self.session = session

    async def get(self, path: str, **headers: str) -> tuple[int, str, aiohttp.ClientResponse]:
        async with self.session.get(path, headers={k.replace("_", "-"): v for k, v in headers.items()}) as response:
            return response.status, (await response.read()).decode(), response


@asynccontextmanager
async def site(*targets: Target, allow: tuple[str, ...] = (), problems: tuple[str, ...] = ()) -> AsyncIterator[Site]:
    service = Service(ExporterState("1.2.3", "3.13"))

    async def reload() -> list[str]:
        return list(problems)

    config = Config(targets, probe_allow=tuple(ipaddress.ip_network(network) for network in allow))
    async with (
        TestServer(application(service, reload, lambda: config)) as server,
        aiohttp.ClientSession(server.make_url("/")) as session,
        service,
    ):
        await service.apply(targets)
        await asyncio.sleep(0.2)
        yield Site(service, session)


def at(gateway: Gateway, name: str = "paper") -> Target:
    return Target(name, gateway.host, gateway.port, Mode.PAPER, 30.0, 0.6)


def values(body: str) -> dict[str, float]:
    """The samples without labels, or with the target's only, by name."""
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(body)
        for sample in family.samples
        if set(sample.labels) <= {"target"}
    }


async def test_metrics_are_prometheus_text_by_default_and_clean_to_promtool() -> None:
    async with Gateway("ok") as gateway, site(at(gateway)) as served:
        status, body, response = await served.get("/metrics")
    assert status == 200
    assert response.headers["Content-Type"].startswith("text/plain; version=")
    found = values(body)
    assert (found["ibkr_up"], found["ibkr_server_version"]) == (1, 226)
    assert "process_resident_memory_bytes" in found
    assert "python_info{" in body
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    checked = subprocess.run([promtool, "check", "metrics"], input=body.encode(), capture_output=True, check=False)  # noqa: ASYNC221
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")


async def test_metrics_are_openmetrics_where_the_request_accepts_it() -> None:
    async with Gateway("ok") as gateway, site(at(gateway)) as served:
        _, body, response = await served.get("/metrics", Accept=OPENMETRICS)
    assert response.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert body.endswith("# EOF\n")
    assert body.count("# EOF") == 1


async def test_metrics_of_several_targets_are_gzipped_where_the_request_accepts_it() -> None:
    async with (
        Gateway("ok") as gateway,
        site(*(at(gateway, f"target-{number}") for number in range(4))) as served,
        aiohttp.ClientSession(served.session._base_url, auto_decompress=False) as raw,
    ):
        async with raw.get("/metrics", headers={"Accept-Encoding": "gzip"}) as response:
            assert response.headers["Content-Encoding"] == "gzip"
            packed = await response.read()
        async with raw.get("/metrics", headers={"Accept-Encoding": "identity"}) as response:
            assert "Content-Encoding" not in response.headers
            plain = await response.read()
    assert values(gzip.decompress(packed).decode()).keys() == values(plain.decode()).keys()


async def test_a_short_answer_is_not_compressed() -> None:
    async with Gateway("ok") as gateway, site(at(gateway, "only")) as served:
        _, body, response = await served.get("/probe?target=only", **{"Accept-Encoding": "gzip"})
    assert "probe_success 1\n" in body
    assert "Content-Encoding" not in response.headers


async def test_the_status_page_shows_every_target_with_its_verdict_and_remedy() -> None:
    async with (
        Gateway("silent") as frozen,
        Gateway("ok") as well,
        site(at(frozen, "frozen"), at(well, "well")) as served,
    ):
        await asyncio.sleep(1.0)
        status, body, response = await served.get("/")
        assert status == 200
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
        for text in ("frozen", "well", "api_silent", "healthy", "Enable ActiveX and Socket Clients"):
            assert text in body
        status, body, _ = await served.get("/targets/frozen")
        assert status == 200
        assert "not one byte" in body


async def test_the_status_page_loads_again_by_a_header_unless_the_query_keeps_it_still() -> None:
    async with Gateway("ok") as gateway, site(at(gateway)) as served:
        assert (await served.get("/"))[2].headers["Refresh"] == "10"
        for path in ("/?refresh=off", "/targets/paper", "/runbooks"):
            assert "Refresh" not in (await served.get(path))[2].headers


async def test_the_status_page_shows_what_its_query_asks_for() -> None:
    async with Gateway("ok") as gateway:
        async with site(*(at(gateway, f"{name}-{number}") for name in "ab" for number in range(6))) as served:
            _, body, _ = await served.get("/?name=b-&severity=%3Cx%3E&page=x")
        assert ("targets/b-5" in body, "targets/a-5" in body) == (True, False)


async def test_the_status_is_the_same_as_json() -> None:
    async with Gateway("ok") as gateway, site(at(gateway)) as served:
        _, body, response = await served.get("/api/v1/status")
    assert response.content_type == "application/json"
    found: dict[str, Any] = json.loads(body)
    assert [(target["target"], target["verdict"]) for target in found["targets"]] == [("paper", "healthy")]


@pytest.mark.parametrize("path", ["/", "/targets/none", "/runbooks", "/static/style.css", "/metrics", "/nothing"])
async def test_every_answer_forbids_scripts_frames_and_forms_that_send_elsewhere(path: str) -> None:
    async with site() as served:
        _, _, response = await served.get(path)
    policy = response.headers["Content-Security-Policy"]
    assert policy == pages.CONTENT_SECURITY_POLICY
    for directive in ("default-src 'none'", "form-action", "frame-ancestors 'none'", "base-uri 'none'"):
        assert directive in policy
    assert "script" not in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize("verdict", list(Verdict))
async def test_every_verdict_has_its_runbook_here(verdict: Verdict) -> None:
    async with site() as served:
        status, body, _ = await served.get(f"/runbooks/{verdict}")
    assert status == 200
    assert verdict.value in body


@pytest.mark.parametrize(
    "path", ["/nothing", "/targets/nobody", "/targets/%3Cscript%3E", "/runbooks/none", "/static/../web.py"]
)
async def test_what_is_not_there_is_a_plain_404_without_an_echo(path: str) -> None:
    async with site() as served:
        status, body, response = await served.get(path)
    assert status == 404
    assert "<script>" not in body
    assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("name", ["a.b", "..a", "...-", "x" * 64, "[2001:db8::1]:7497", "[fe80::1%eth0]:7497"])
async def test_every_name_of_a_target_has_a_page_to_which_its_link_leads(name: str) -> None:
    async with Gateway("refused") as gateway, site(at(gateway, name)) as served:
        [link] = set(re.findall(r'<h3><a href="(targets/[^"]+)"', (await served.get("/"))[1]))
        status, body, _ = await served.get(f"/{link}")
    assert (status, name in body) == (200, True)


async def test_the_style_sheet_is_served() -> None:
    async with site() as served:
        status, body, response = await served.get("/static/style.css")
    assert (status, response.content_type) == (200, "text/css")
    assert "prefers-color-scheme" in body


async def test_healthy_and_ready_answer() -> None:
    async with site() as served:
        assert [(await served.get(path))[0] for path in ("/-/healthy", "/-/ready")] == [200, 200]


async def test_a_probe_on_demand_of_a_configured_target() -> None:
    async with Gateway("ok") as gateway, site(at(gateway)) as served:
        status, body, _ = await served.get("/probe?target=paper", X_Prometheus_Scrape_Timeout_Seconds="5")
        found = values(body)
        assert status == 200
        assert (found["probe_success"], found["ibkr_server_version"]) == (1, 226)
        assert 0 < found["probe_duration_seconds"] < 1
        assert found["ibkr_connections_opened_total"] == 2
        assert served.service.states["paper"].connections == 2


async def test_a_probe_on_demand_keeps_the_scrapers_timeout() -> None:
    async with Gateway("silent") as gateway:
        patient = Target("paper", gateway.host, gateway.port, Mode.PAPER, 60.0, 20.0)
        async with site(allow=("127.0.0.0/8",)) as served:
            _, body, _ = await served.get(
                f"/probe?target={patient.endpoint}", X_Prometheus_Scrape_Timeout_Seconds="1.0"
            )
    found = values(body)
    assert found["probe_success"] == 0
    assert 0.4 < found["probe_duration_seconds"] < 0.7


async def test_a_probe_whose_client_hangs_up_is_counted_as_any_other() -> None:
    async with Gateway("ok") as gateway, site(at(gateway)) as served:
        await gateway.set_mode("silent")
        asking = asyncio.create_task(served.get("/probe?target=paper"))
        await until(lambda: gateway.recorder.opened >= 2)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await until(lambda: served.service.states["paper"].connections >= 2)
        assert gateway.recorder.opened == 2


async def test_every_spelling_of_an_allowed_address_is_one_target() -> None:
    async with Gateway("ok", host="::1") as gateway, site(allow=("::1/128",)) as served:
        bodies = await asyncio.gather(
            *(
                served.get(f"/probe?target=[{spelling}]:{gateway.port}")
                for spelling in ("::1", "0:0:0:0:0:0:0:1", "0::0:1")
            )
        )
        assert all(f'ibkr_up{{target="[::1]:{gateway.port}"}} 1' in body for _, body, _ in bodies)
        assert gateway.recorder.opened == 1


async def test_a_scraper_in_a_hurry_makes_no_slow_gateway_a_silent_one() -> None:
    async with Gateway("slow", setup=GatewaySettings(slow=0.8)) as gateway:
        slow = Target("paper", gateway.host, gateway.port, Mode.PAPER, 30.0, 2.0, 0.5)
        async with site(slow) as served:
            await asyncio.sleep(0.9)
            assert served.service.states["paper"].verdict is Verdict.SLOW
            get = served.get("/probe?target=paper", X_Prometheus_Scrape_Timeout_Seconds="0.8")
            hurried = asyncio.create_task(get)
            await asyncio.sleep(0.1)
            patient = await served.service.probe(slow)
            _, body, _ = await hurried
            state = served.service.states["paper"]
    assert values(body)["probe_success"] == 0  # within its time there was no answer
    assert state.verdict is Verdict.SLOW
    assert patient.results[-1].ok  # who shared that probe, with more time, was given his own
    assert state.connections == 2


@pytest.mark.parametrize(
    "asked", ["127.0.0.1:1", "localhost:7497", "10.1.2.3:7497", "nobody", "", "[::1]:7497", "x" * 999]
)
async def test_a_probe_reaches_nothing_that_is_neither_configured_nor_allowed(asked: str) -> None:
    async with site(allow=("192.0.2.0/24",)) as served:
        status, body, _ = await served.get(f"/probe?target={asked}")
    assert status == 400
    assert body.strip()


@pytest.mark.parametrize("header", ["0.4", "-1", "nan", "abc", ""])
async def test_a_scrape_timeout_that_leaves_no_time_is_a_clear_error(header: str) -> None:
    async with Gateway("ok") as gateway, site(at(gateway)) as served:
        status, body, _ = await served.get("/probe?target=paper", X_Prometheus_Scrape_Timeout_Seconds=header)
    assert status == 400
    assert "X-Prometheus-Scrape-Timeout-Seconds" in body


async def test_the_debug_output_of_a_probe_tells_the_story() -> None:
    async with Gateway("http") as gateway, site(at(gateway)) as served:
        _, body, _ = await served.get("/probe?target=paper&debug=true")
    for text in ("not_tws_api", "Evidence:", "Required actions:", "probe_success 0"):
        assert text in body


async def test_a_reload_that_fails_says_why_and_one_for_other_sites_is_refused() -> None:
    async with site(problems=("config.yaml:3: targets[0].port: ...",)) as served:
        async with served.session.post("/-/reload") as response:
            assert response.status == 422
            assert "config.yaml:3" in await response.text()
        async with served.session.post("/-/reload", headers={"Sec-Fetch-Site": "cross-site"}) as response:
            assert response.status == 403
        assert (await served.get("/-/reload"))[0] == 405
    async with site() as served, served.session.post("/-/reload") as response:
        assert response.status == 200


@pytest.mark.real_clock
async def test_a_scrape_of_a_thousand_targets_lets_others_run_in_between() -> None:
    async with Gateway("refused") as gateway:
        targets = [Target(f"t{number}", gateway.host, gateway.port, Mode.PAPER, 600.0, 0.6) for number in range(1000)]
        async with site(*targets) as served:
            turns = 0

            async def count() -> None:
                nonlocal turns
                while True:
                    turns += 1
                    await asyncio.sleep(0)

            counting = asyncio.create_task(count())
            before = turns
            status, body, _ = await served.get("/metrics")
            counting.cancel()
    assert status == 200
    assert body.count("ibkr_target_info{") == 1000
    assert turns - before > 10
