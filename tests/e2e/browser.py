"""A browser that notices what a person would not: errors on the console, refusals by the CSP."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from pinelab.schema import ROOT

Theme = Literal["light", "dark"]
DESK = (1440, 900)
PHONE = (390, 844)
AXE = ROOT / "static" / "node_modules" / "axe-core" / "axe.min.js"
# Rules that hold for all pages; a page that breaks one is named with the element.
AXE_RUN = """async () => {
  const found = await axe.run(document, {resultTypes: ["violations"]});
  const elements = rule => rule.nodes.map(node => node.html.slice(0, 160)).join(" | ");
  return found.violations.map(rule => `${rule.id}: ${elements(rule)}`);
}"""


@dataclass
class Watch:
    """Complaints of all pages of a context, except those that a test provokes."""

    complaints: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def hear(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.note(f"console: {message.text} ({message.location.get('url', '')})")

    def note(self, text: str) -> None:
        if not any(re.search(pattern, text) for pattern in self.expected):
            self.complaints.append(text)


@contextmanager
def launched() -> Iterator[Browser]:
    """The browser that PINELAB_CHROMIUM names."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ["PINELAB_CHROMIUM"],
            # As root, and where /dev/shm is small, Chromium needs both.
            args=["--no-sandbox", "--disable-dev-shm-usage"],
        )
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def person(
    browser: Browser,
    url: str,
    *,
    size: tuple[int, int] = DESK,
    theme: Theme = "light",
    **options: Any,
) -> "Iterator[tuple[Page, Watch]]":
    """A window of somebody's own; when it closes, nothing may have gone wrong in it."""
    width, height = size
    context = browser.new_context(
        base_url=url,
        viewport={"width": width, "height": height},
        color_scheme=theme,
        locale="en-GB",
        timezone_id="Europe/Berlin",
        reduced_motion="reduce",
        **options,
    )
    context.set_default_timeout(15_000)
    watch = watched(context)
    try:
        yield context.new_page(), watch
    finally:
        context.close()
    assert not watch.complaints, "\n".join(watch.complaints)


def watched(context: BrowserContext) -> Watch:
    watch = Watch()
    context.on("console", watch.hear)
    context.on("weberror", lambda error: watch.note(f"exception: {error.error}"))
    return watch


def violations(page: Page) -> list[str]:
    """What axe-core finds on the page as it stands."""
    # Evaluated, not added as an element: so the page keeps its content security policy.
    page.evaluate(AXE.read_text())
    found: list[str] = page.evaluate(AXE_RUN)
    return found


def sideways(page: Page) -> int:
    """By how many pixels the page scrolls sideways."""
    return int(page.evaluate("document.scrollingElement.scrollWidth - innerWidth"))


def keep(page: Page, file: Path) -> None:
    """A picture of the whole page."""
    file.parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=file, full_page=True, animations="disabled")
