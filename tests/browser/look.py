"""Look at the pages with a real browser: axe-core, the keyboard, the first paint. `make axe` runs this.

    python -m tests.browser.look MODULES [--screenshots FOLDER]

MODULES is a node_modules folder with axe-core. Exit code 1: something was found, and is printed.
"""

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from aiohttp.test_utils import TestServer

from exporter.config import Config
from exporter.state.exporter import ExporterState
from exporter.web.app import application
from tests.browser.chromium import Page, browser, find_chromium
from tests.browser.fleet import fleet

if TYPE_CHECKING:
    from exporter.service.service import Service

SIZES = {"phone": (390, 844), "laptop": (1280, 800), "wall": (2560, 1440)}
PATHS = {
    "status": "/",
    "status-2": "/?page=2&refresh=off",
    "filtered": "/?name=api&verdict=api_silent",
    "target": "/targets/api_silent",
    "libraries": "/targets/libraries",
    "healthy": "/targets/healthy",
    "runbooks": "/runbooks",
    "runbook": "/runbooks/api_silent",
    "error": "/targets/nothing",
}
AXE = "axe.run().then(r => JSON.stringify(r.violations.map(v => [v.id, v.impact, v.help, v.nodes.map(n => n.html)])))"
PAINT = """new Promise(done => new PerformanceObserver(list => {
    const paint = list.getEntriesByName("first-contentful-paint")[0];
    if (paint) done(paint.startTime);
}).observe({type: "paint", buffered: true}))"""
WIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
FOCUS = "(e => e.name || e.textContent.trim() || e.tagName)(document.activeElement)"
OUTLINE = "getComputedStyle(document.activeElement).outlineStyle"
FIRST_PAINT = 500.0  # milliseconds
BYTES = 200_000


async def look(axe: str, screenshots: Path | None) -> list[str]:
    """Everything that was found, a line each."""
    path = find_chromium()
    if path is None:
        return ["no Chromium is installed"]
    states = {state.target.name: state for state in fleet(1000, 40, time.time())}
    service = SimpleNamespace(states=states, exporter=ExporterState("0.1.0", "3.13.0"))
    app = application(cast("Service", service), _no_reload, lambda: Config(()))
    async with TestServer(app) as server, browser(path) as page:
        found: list[str] = []
        url = str(server.make_url("/")).rstrip("/")
        for size, (width, height) in SIZES.items():
            for dark in (False, True) if size == "laptop" else (False,):
                await page.resize(width, height, dark=dark)
                for name, path in PATHS.items():
                    await page.open(url + path)
                    where = f"{name} on a {size}, {'dark' if dark else 'light'}"
                    found += [f"{where}: {text}" for text in await _violations(page, axe)]
                    if screenshots:
                        _write(
                            screenshots / f"{name}-{size}-{'dark' if dark else 'light'}.png", await page.screenshot()
                        )
        for check in (_first_paint, _keyboard):
            found += await check(page, url)
    return found


def _write(file: Path, content: bytes) -> None:
    file.write_bytes(content)


async def _no_reload() -> list[str]:
    return []


async def _violations(page: Page, axe: str) -> list[str]:
    await page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true })")
    await page.evaluate(axe)
    rules: list[Any] = json.loads(await page.evaluate(AXE))
    found = [f"{rule} ({impact}): {text}: {nodes[:2]}" for rule, impact, text, nodes in rules]
    too_wide = await page.evaluate(WIDE)
    return [*found, f"{too_wide} pixels wider than the window"] if too_wide > 0 else found


async def _first_paint(page: Page, url: str) -> list[str]:
    """The best of five: a busy machine is no fault of the page."""
    await page.resize(*SIZES["laptop"])
    paints = []
    for _ in range(5):
        await page.open(f"{url}/")
        paints.append(float(await page.evaluate(PAINT)))
    size = len(str(await page.evaluate("document.documentElement.outerHTML")).encode())
    print(f"status page of 1,000 targets: first paint {min(paints):.0f} ms, {size:,} bytes")  # noqa: T201 - the figures
    slow = [f"first paint after {min(paints):.0f} ms"] if min(paints) > FIRST_PAINT else []
    return [*slow, f"the status page has {size} bytes"] if size > BYTES else slow


async def _keyboard(page: Page, url: str) -> list[str]:
    """Tab reaches everything in order, what has the focus shows it, and Enter filters."""
    await page.open(f"{url}/?refresh=off")
    reached: list[str] = []
    found: list[str] = []
    while "name" not in reached:
        await page.press("Tab", 9)
        reached.append(str(await page.evaluate(FOCUS)))
        if await page.evaluate(OUTLINE) == "none":
            found.append(f"{reached[-1]} does not show that it has the focus")
        if len(reached) > 30:
            return [*found, f"Tab does not reach the filter: {reached}"]
    for letter in "api_silent-0007":
        await page.press(letter, ord(letter.upper()), letter)
    await page.press("Enter", 13, "\r")
    async with asyncio.timeout(20):
        while "name=api_silent-0007" not in str(await page.evaluate("location.search")):  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.05)
    for text in ("Status", "Runbooks", "Load again by itself"):
        found += [] if text in reached else [f"Tab does not reach {text}: {reached}"]
    return found


def main() -> None:
    """Print what was found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("modules", type=Path)
    parser.add_argument("--screenshots", type=Path)
    arguments = parser.parse_args()
    found = asyncio.run(look((arguments.modules / "axe-core" / "axe.min.js").read_text(), arguments.screenshots))
    print("\n".join(found) or "nothing was found")  # noqa: T201 - the result
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
