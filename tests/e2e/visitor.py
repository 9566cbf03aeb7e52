"""What somebody does on the pages, in the words that stand there."""

import json
import re
import time
from email import message_from_string
from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.e2e.service import Service

PASSWORD = "correct horse battery staple"
# A bar lasts a second, and a page follows an event within a tenth; a busy machine is slower.
SOON_MS = 15_000


def log_in(page: Page, email: str, password: str) -> None:
    page.goto("/account/login/")
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Home", exact=True)).to_be_visible()


def sign_up(page: Page, service: Service, email: str) -> None:
    """From the form through the mail to Home."""
    page.goto("/account/signup/")
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()
    expect(page.get_by_role("heading", name="Look into your mailbox")).to_be_visible()
    page.goto(link_in(service.mail_to(email)))
    page.get_by_role("button", name="Yes, confirm").click()
    expect(page.get_by_role("heading", name="Home", exact=True)).to_be_visible()


def link_in(mail: str) -> str:
    text = message_from_string(mail).get_payload(decode=True)
    assert isinstance(text, bytes)
    found = re.search(r"https?://\S+", text.decode())
    assert found, mail
    return found[0]


def feed(page: Page) -> Locator:
    return page.get_by_role("list", name="Live feed")


def told(page: Page, *patterns: str, after: int) -> None:
    """Wait until the feed has, behind the event of that number, a row for each of these."""
    deadline = time.monotonic() + SOON_MS / 1000
    while True:
        news = [text for number, text in rows(page) if number > after]
        missing = [each for each in patterns if not any(re.search(each, text) for text in news)]
        if not missing:
            return
        assert time.monotonic() < deadline, f"not told of {missing}, but of {news}"
        page.wait_for_timeout(50)


def rows(page: Page) -> list[tuple[int, str]]:
    """The feed's events, newest first: number and text."""
    found = (
        feed(page)
        .get_by_role("listitem")
        .evaluate_all("rows => rows.map(row => [Number(row.dataset.seq), row.textContent])")
    )
    return [(number, text) for number, text in found]


def newest(page: Page) -> int:
    """The number of the last event that the feed shows."""
    return max((number for number, _ in rows(page)), default=0)


def is_live(page: Page) -> None:
    expect(page.locator("[data-live-text]")).to_have_text("Live", timeout=SOON_MS)


def follow(page: Page, label: str) -> None:
    """Click a link of the chain from alert to trade; those of closed trades come last."""
    chain = page.get_by_role("list", name="From alert to trade")
    chain.get_by_role("link", name=re.compile(f"^{label}")).first.click()


def state(page: Page, address: str) -> dict[str, Any]:
    """What an address answers to this visitor, as JSON."""
    answer = page.request.get(address)
    assert answer.ok, f"{address}: {answer.status}"
    found: dict[str, Any] = json.loads(answer.body())
    return found
