"""One alert from its URL to a closed trade, and all else a person does, in a real browser."""

import itertools
import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e import pages, visitor
from tests.e2e.browser import DESK, PHONE, Theme, person, sideways, violations
from tests.e2e.service import Service
from tests.e2e.visitor import SOON_MS, follow, is_live, newest, rows, told

pytestmark = pytest.mark.browser

WIRE_ERRORS = [r"WebSocket connection to", r"ERR_CONNECTION_REFUSED"]
WINDOWS: tuple[tuple[tuple[int, int], Theme], ...] = ((DESK, "light"), (PHONE, "dark"))
# A viewer is sent away from these.
OWNERS_ONLY = ("limits", "webhook-delete", "audit")
counter = itertools.count(1)


@pytest.fixture
def page(browser: Browser, service: Service, demo: Any) -> Iterator[Page]:
    """The demo's user at a desk."""
    with person(browser, service.url, storage_state=demo) as (page, _):
        yield page


class Stay:
    """Notices when the page is loaded anew."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.moves: list[str] = []
        page.on("framenavigated", lambda frame: self.moves.append(frame.url))

    def has_held(self) -> bool:
        return self.moves == []


def run(line: str) -> dict[str, Any]:
    """A line of the page or the banner, in a shell, exactly as it is printed."""
    done = subprocess.run(  # noqa: S602 (a shell is where a person pastes it)
        line, shell=True, capture_output=True, text=True, timeout=30, check=True
    )
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def unique() -> str:
    """An id that makes a body differ from all others: an equal one is a repeat."""
    return f"story-{next(counter)}"


def flat(page: Page, service: Service) -> None:
    """Nothing is held, whatever another test has left."""
    page.goto("/positions/")
    if page.get_by_role("link", name="BTCUSD").count():
        service.post(action="close", id=unique())
    expect(page.get_by_text("Nothing is held")).to_be_visible(timeout=SOON_MS)


def hold(page: Page, service: Service) -> str:
    """The demo is long, and Home has told so; the alert's number."""
    page.goto("/")
    is_live(page)
    before = newest(page)
    alert = service.post(action="buy", quantity="0.01", id=unique())
    told(page, "Position in BTCUSD is 0", after=before)
    return alert


class TestTheDemo:
    def test_the_printed_line_becomes_a_closed_trade_before_ones_eyes(
        self, page: Page, service: Service
    ) -> None:
        flat(page, service)
        page.goto("/")
        is_live(page)
        stay, money, before = Stay(page), page.locator("#money"), newest(page)
        expect(money).to_contain_text("0 open positions")

        assert run(service.demo["curl"])["success"] is True

        told(
            page,
            "Accepted: buy BTCUSD",
            "Buy 0.01 BTCUSD accepted",
            r"Bought 0.01 BTCUSD at [\d,]+\.\d",
            "Position in BTCUSD is 0.01",
            after=before,
        )
        expect(money).to_contain_text("1 open position,", timeout=SOON_MS)

        assert run(service.demo["curl"].replace('"buy"', '"close"'))["success"] is True

        profit = r"[+−][\d,]+\.\d\d USD"
        told(page, "Flat in BTCUSD", f"Closed long 0.01 BTCUSD: {profit}", after=before)
        expect(money).to_contain_text("0 open positions", timeout=SOON_MS)
        assert stay.has_held()

        page.goto("/trades/")
        row = page.get_by_role("row").filter(has_text="Long BTCUSD").first
        expect(row).to_contain_text(re.compile(profit))

    def test_the_chain_is_followed_both_ways_by_clicks(self, page: Page, service: Service) -> None:
        flat(page, service)
        alert = hold(page, service)
        before = newest(page)
        service.post(action="close", id=unique())
        told(page, "Closed long", after=before)
        page.goto("/webhooks/log/")
        page.locator(f"main a[href='/alerts/{alert}/']").first.click()

        heading = page.get_by_role("heading", level=1)
        for label, title in (
            ("Signal", "Buy 0.01 BTCUSD"),
            ("Order", "Buy BTCUSD"),
            ("Decision", "Buy 0.01 BTCUSD"),
            ("Fill", "Buy BTCUSD"),
            ("Trade", "Long BTCUSD"),
        ):
            follow(page, label)
            expect(heading).to_have_text(title)
        closed = page.get_by_text(re.compile(r"closed with [+−][\d,.]+ USD net"))
        expect(closed.first).to_be_visible()

        for label, address in (
            ("Fill", "/orders/"),
            ("Decision", "/signals/"),
            ("Order", "/orders/"),
            ("Signal", "/signals/"),
            ("Alert", f"/alerts/{alert}/"),
        ):
            follow(page, label)
            expect(page).to_have_url(re.compile(re.escape(address)))
        expect(page.get_by_text("Body as received")).to_be_visible()

    def test_the_chart_draws_bars_and_what_was_done(self, page: Page, service: Service) -> None:
        hold(page, service)
        page.goto("/charts/")
        page.get_by_role("link", name="DEMO:BTCUSD").click()

        chart = page.get_by_role("application", name=re.compile("DEMO:BTCUSD"))
        expect(chart.locator("canvas").first).to_be_visible()
        expect(page.locator("[data-chart-message]")).to_be_hidden()
        expect(page.locator("[data-chart-legend]")).to_contain_text(re.compile(r"C[\d,.]+ USD"))

        address = page.locator("[data-bars-url]").get_attribute("data-bars-url")
        assert address
        drawn = visitor.state(page, address)
        assert len(drawn["bars"]) > 1000
        assert {"entry", "exit"} & {marker["kind"] for marker in drawn["markers"]}

        page.goto("/")
        equity = page.locator("[data-equity-url]")
        expect(equity.locator("canvas").first).to_be_visible()
        address = equity.get_attribute("data-equity-url")
        assert address
        assert visitor.state(page, address)


class TestANewUser:
    def test_signs_up_and_sees_the_first_order_filled(
        self, browser: Browser, service: Service
    ) -> None:
        with person(browser, service.url, permissions=["clipboard-read", "clipboard-write"]) as (
            page,
            _,
        ):
            visitor.sign_up(page, service, "newcomer@example.com")
            steps = page.locator("#steps")
            expect(steps.get_by_role("listitem")).to_have_count(6)
            expect(steps.get_by_text("Done:")).to_have_count(1)

            page.get_by_role("button", name="Do it for me").click()
            expect(page.get_by_role("heading", name="Send your first alert")).to_be_visible()
            page.get_by_role("button", name="Copy").nth(1).click()
            expect(page.get_by_role("button", name="Copied").first).to_be_visible()
            line: str = page.evaluate("navigator.clipboard.readText()")
            page.get_by_role("link", name="I have kept it").click()
            expect(steps.get_by_text("Done:")).to_have_count(4)
            is_live(page)
            stay, before = Stay(page), newest(page)

            assert run(line)["success"] is True

            expect(steps.get_by_text("All done")).to_be_visible(timeout=SOON_MS)
            told(page, "Bought 0.01 BTCUSD", after=before)
            assert stay.has_held()


class TestTheKillSwitch:
    def test_stops_closes_and_refuses_until_resumed(self, page: Page, service: Service) -> None:
        hold(page, service)

        page.get_by_role("button", name="Stop trading").click()
        dialog = page.get_by_role("dialog", name="Stop all trading")
        dialog.get_by_label("Also close all positions").check()
        dialog.get_by_role("button", name="Stop trading").click()

        banner = page.get_by_role("alert").filter(has_text="Trading is stopped")
        expect(banner.first).to_be_visible()
        expect(page.get_by_text("Nothing is held.", exact=True)).to_be_visible(timeout=SOON_MS)

        page.goto("/")
        is_live(page)
        before = newest(page)
        refused = service.post(action="buy", quantity="0.01", id=unique())
        told(page, "Rejected: buy BTCUSD.*stopped", after=before)
        page.goto(f"/alerts/{refused}/")
        expect(page.get_by_role("list", name="From alert to trade")).to_contain_text("stopped")

        page.get_by_role("button", name="Resume…").click()
        page.get_by_role("dialog", name="Resume trading").get_by_role(
            "button", name="Resume trading"
        ).click()
        expect(page.get_by_text("Trading goes on.")).to_be_visible()
        expect(banner).to_have_count(0)
        hold(page, service)


class TestTheLiveSocket:
    def test_a_killed_process_costs_no_event_and_repeats_none(
        self, browser: Browser, service: Service, demo: Any
    ) -> None:
        with person(browser, service.url, storage_state=demo) as (page, watch):
            watch.expected += WIRE_ERRORS
            page.goto("/")
            is_live(page)
            stay, before = Stay(page), newest(page)

            service.kill("PINELAB_LIVE_PORT")

            expect(page.locator("[data-live-text]")).to_have_text("Reconnecting…", timeout=SOON_MS)
            service.post(action="buy", quantity="0.02", id=unique())
            is_live(page)
            told(page, "Bought 0.02 BTCUSD", "Position in BTCUSD", after=before)

            numbers = [number for number, _ in rows(page)]
            assert numbers == sorted(set(numbers), reverse=True)
            new = [number for number in numbers if number > before]
            assert new == list(range(numbers[0], before, -1))
            assert stay.has_held()


def addresses(page: Page) -> dict[str, str]:
    return pages.LISTS | pages.FORMS | pages.objects(page)


def faults(page: Page, which: dict[str, str]) -> dict[str, list[str]]:
    """What is wrong with each of these pages, on a desk by day and on a phone by night."""
    found = {}
    for name, address in which.items():
        page.goto(address)
        said = []
        for (width, height), theme in WINDOWS:
            page.set_viewport_size({"width": width, "height": height})
            page.emulate_media(color_scheme=theme)
            said += violations(page)
            if (wide := sideways(page)) > 0:
                said.append(f"{wide} px too wide for {width}")
        if said:
            found[name] = said
    return found


@pytest.fixture(scope="module")
def stocked(browser: Browser, service: Service, demo: Any) -> dict[str, str]:
    """The demo with one of everything: filled, waiting, refused, unreadable; its addresses."""
    with person(browser, service.url, storage_state=demo) as (page, _):
        hold(page, service)
        before = newest(page)
        service.post(action="buy", quantity="0.01", orderType="limit", price="56000", id=unique())
        service.post(ticker="NOPE", action="buy", quantity="1", id=unique())
        service.post(action="dance", id=unique())
        service.post(action="buy", quantity="0.03", stop_loss="20000", id=unique())
        told(page, "Bought 0.03 BTCUSD", after=before)
        return addresses(page)


class TestEveryPage:
    def test_with_one_of_everything(
        self, browser: Browser, service: Service, demo: Any, stocked: dict[str, str]
    ) -> None:
        with person(browser, service.url, storage_state=demo) as (page, _):
            assert faults(page, stocked) == {}

    def test_is_reached_by_the_bar_of_a_phone(
        self, browser: Browser, service: Service, demo: Any
    ) -> None:
        with person(browser, service.url, size=PHONE, storage_state=demo) as (page, _):
            page.goto("/")
            heading = page.get_by_role("heading", level=1)
            bar = page.get_by_role("navigation", name="Main places")
            expect(bar.get_by_role("link")).to_have_count(4)
            bar.get_by_role("link", name="Positions").click()
            expect(heading).to_have_text("Positions")
            bar.get_by_role("button", name="More").click()
            more = page.get_by_role("dialog", name="More places")
            more.get_by_role("link", name="Trades").click()
            expect(heading).to_have_text("Trades")

    def test_before_anything_has_happened(self, browser: Browser, service: Service) -> None:
        with person(browser, service.url) as (page, _):
            assert faults(page, pages.ENTRANCE) == {}
            visitor.sign_up(page, service, "empty@example.com")
            assert faults(page, pages.LISTS) == {}


class TestAViewer:
    def test_sees_everything_and_may_press_nothing(
        self, browser: Browser, service: Service, demo: Any, stocked: dict[str, str]
    ) -> None:
        email = "viewer@example.com"
        with person(browser, service.url) as (page, _):
            visitor.sign_up(page, service, email)
            with person(browser, service.url, storage_state=demo) as (owner, _):
                owner.goto("/settings/members")
                owner.get_by_label("Email", exact=True).fill(email)
                owner.get_by_role("button", name="Add member").click()
                expect(owner.get_by_role("cell", name=email, exact=True)).to_be_visible()
            page.goto("/")
            page.get_by_label(f"Account of {email}").click()
            page.get_by_role("button", name="Switch to Demo").click()
            expect(page.locator("#money")).to_contain_text("Equity")

            forms = {}
            for name, address in stocked.items():
                if name in pages.FORMS or name in OWNERS_ONLY:
                    continue
                page.goto(address)
                if buttons := actions(page):
                    forms[name] = buttons
            assert forms == {}


def actions(page: Page) -> list[str]:
    """Buttons outside the menus that would change something: those of forms that post."""
    found: list[str] = page.locator(
        "form[method=post] button:not(.menu *), main [data-dialog], main .button-primary"
    ).evaluate_all("buttons => buttons.map(button => button.textContent.trim())")
    return found
