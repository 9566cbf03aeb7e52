"""Takes the pictures of the documents, and looks at every page: `python -m tests.e2e.pictures`.

It starts a service of its own, trades a little, and writes docs/pictures/home.png, phone.png and
chart.png; with `--all`, also every page in both sizes and both themes to var/screenshots/. It is
run by hand, when the pages have changed; PINELAB_CHROMIUM names the browser.
"""

import itertools
import sys
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page

from pinelab.schema import ROOT
from tests.e2e import pages, service, visitor
from tests.e2e.browser import DESK, PHONE, keep, launched, person
from tests.e2e.service import Service

PICTURES = ROOT / "docs" / "pictures"
SCREENSHOTS = ROOT / "var" / "screenshots"
# What the first minute of somebody who tries everything looks like.
TRADES: tuple[dict[str, str], ...] = (
    {"action": "buy", "quantity": "0.2"},
    {"action": "buy", "quantity": "0.1"},
    {"action": "close"},
    {"action": "sell", "quantity": "0.3"},
    {"ticker": "DEMO:EURUSD", "action": "buy", "quantity": "20000"},
    {"ticker": "NOPE", "action": "buy", "quantity": "5"},
    {"action": "close"},
    {"action": "dance"},
    {"action": "buy", "quantity": "0.25", "stop_loss": "30000"},
    {"action": "buy", "quantity": "0.1", "orderType": "limit", "price": "57000"},
)
PAUSE_S = 5.0


def main() -> None:
    with service.running() as running, launched() as browser:
        with person(browser, running.url) as (page, _):
            visitor.log_in(page, running.demo["email"], running.demo["password"])
            cookies = page.context.storage_state()
        trade(running)
        with person(browser, running.url, storage_state=cookies) as (page, _):
            found = pages.LISTS | pages.FORMS | pages.objects(page)
            take(page, "/", PICTURES / "home.png")
            take(page, found["chart"], PICTURES / "chart.png", closer=12)
        with person(
            browser, running.url, size=PHONE, theme="dark", storage_state=cookies, has_touch=True
        ) as (page, _):
            take(page, "/", PICTURES / "phone.png")
        if "--all" in sys.argv:
            everything(browser, running, cookies, found)


def trade(running: Service) -> None:
    for number, fields in zip(itertools.count(), TRADES):
        running.post(id=f"picture-{number}", **fields)
        time.sleep(PAUSE_S)


def take(page: Page, address: str, file: Path, *, closer: int = 0) -> None:
    """A picture of what a window shows at first; of a chart, so many steps closer."""
    page.goto(address)
    visitor.is_live(page)
    for _ in range(closer):
        page.get_by_role("application").press("+")
    page.wait_for_timeout(1000)
    file.parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=file, animations="disabled")


def everything(browser: Browser, running: Service, cookies: Any, found: dict[str, str]) -> None:
    for name, size in (("desk", DESK), ("phone", PHONE)):
        with person(browser, running.url, size=size) as (page, _):
            shoot(page, pages.ENTRANCE, name)
        with person(browser, running.url, size=size, storage_state=cookies) as (page, _):
            shoot(page, found, name)


def shoot(page: Page, which: dict[str, str], size: str) -> None:
    for name, address in which.items():
        page.goto(address)
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)
            page.wait_for_timeout(200)
            keep(page, SCREENSHOTS / f"{size}-{theme}" / f"{name}.png")
        page.emulate_media(color_scheme="light")


if __name__ == "__main__":
    main()
