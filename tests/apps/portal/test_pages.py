from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from apps.core.tenancy import acting_for
from tests.apps.portal.desk import EXPORTS, LISTS, Day, live_through, market

if TYPE_CHECKING:
    from apps.accounts.models import Tenant, User

Clients = Callable[["User | Tenant"], Client]

# Transaction, tenant, session, user, memberships, frame: what every page costs before its own.
MOST_QUERIES = 34


@pytest.fixture
def day(alice: "Tenant") -> Day:
    return live_through(alice, market())


class TestEveryPage:
    @pytest.mark.parametrize("address", LISTS)
    def test_renders_empty(self, alice: "Tenant", client_for: Clients, address: str) -> None:
        answer = client_for(alice).get(address)

        assert answer.status_code == 200
        assert b"</html>" in answer.content

    def test_renders_with_data(self, alice: "Tenant", day: Day, client_for: Clients) -> None:
        client = client_for(alice)

        for address in [*LISTS, *day.addresses(), f"/charts/{day.instrument.pk}/"]:
            answer = client.get(address)
            assert answer.status_code == 200, address
            # A filter that got nothing to work with says so in the page.
            assert b">None<" not in answer.content, address

    def test_asks_as_little_with_many_rows_as_with_few(
        self, alice: "Tenant", bob: "Tenant", client_for: Clients
    ) -> None:
        btc = market()
        few, many = live_through(alice, btc), live_through(bob, btc, signals=60)

        for tenant, day in ((alice, few), (bob, many)):
            client = client_for(tenant)
            for address in [*LISTS, *day.addresses()]:
                with CaptureQueriesContext(connection) as asked:
                    client.get(address)
                assert len(asked) <= MOST_QUERIES, f"{address}: {len(asked)}"

    def test_of_another_tenants_object_is_not_there(
        self, alice: "Tenant", bob: "Tenant", day: Day, client_for: Clients
    ) -> None:
        his = client_for(bob)

        for address in day.addresses():
            assert his.get(address).status_code == 404, address
        found = his.get("/search/", {"q": str(day.order.pk)})
        assert found.status_code == 200
        assert b"Nothing found" in found.content

    def test_is_closed_to_strangers(self, database: None) -> None:
        for address in LISTS:
            answer = Client().get(address)
            assert answer.status_code == 302
            assert answer["Location"].startswith("/account/login/")

    def test_shows_what_was_sent_as_text(
        self, alice: "Tenant", day: Day, client_for: Clients
    ) -> None:
        client = client_for(alice)

        for address in (f"/alerts/{day.unreadable.pk}/", "/webhooks/log/"):
            assert b"<script>alert" not in client.get(address).content

    def test_region_comes_alone_when_it_asks_for_itself(
        self, alice: "Tenant", day: Day, client_for: Clients
    ) -> None:
        client = client_for(alice)
        asked = {"HX-Request": "true", "HX-Target": "rows"}

        answer = client.get("/signals/", headers=asked)

        assert answer.content.strip().startswith(b'<div id="rows"')
        assert b"<html" not in answer.content


class TestViewers:
    ACTIONS = ("/start/", "/switch/halt/", "/switch/resume/", "/accounts/new/", "/webhooks/new/",
               "/deployments/new/")  # fmt: skip

    def of(self, day: Day) -> list[str]:
        return [
            *self.ACTIONS,
            f"/orders/{day.stop.pk}/cancel/",
            f"/positions/{day.position.pk}/close/",
            f"/accounts/{day.account.pk}/limits/",
            f"/deployments/{day.deployment.pk}/",
            f"/deployments/{day.deployment.pk}/pause/",
            f"/deployments/{day.deployment.pk}/resume/",
            f"/deployments/{day.deployment.pk}/end/",
            f"/webhooks/{day.endpoint.pk}/",
            f"/webhooks/{day.endpoint.pk}/rotate/",
            f"/webhooks/{day.endpoint.pk}/pause/",
            f"/webhooks/{day.endpoint.pk}/resume/",
            f"/webhooks/{day.endpoint.pk}/delete/",
            f"/alerts/{day.alert.pk}/replay/",
        ]

    def test_may_change_nothing(
        self, alice: "Tenant", charlie: "User", day: Day, client_for: Clients
    ) -> None:
        from apps.core.models import Event

        client = client_for(charlie)
        with acting_for(alice):
            before = Event.objects.count()

        for address in self.of(day):
            assert client.post(address, {"name": "x"}).status_code == 403, address

        with acting_for(alice):
            assert Event.objects.count() == before

    def test_read_everything_and_see_no_button(
        self, alice: "Tenant", charlie: "User", day: Day, client_for: Clients
    ) -> None:
        client = client_for(charlie)
        forms = [*LISTS[-3:], f"/accounts/{day.account.pk}/limits/",
                 f"/webhooks/{day.endpoint.pk}/delete/"]  # fmt: skip

        for address in [*LISTS, *day.addresses()]:
            if address in forms:
                continue
            answer = client.get(address)
            assert answer.status_code == 200, address
            # Logging out and the like are in the menu of every page.
            main = answer.content.partition(b"<main")[2].partition(b"</main>")[0]
            assert b'method="post"' not in main, address

    def test_of_another_tenant_find_nothing_to_act_on(
        self, alice: "Tenant", bob: "Tenant", day: Day, client_for: Clients
    ) -> None:
        client = client_for(bob)

        for address in self.of(day)[len(self.ACTIONS) :]:
            assert client.post(address, {"overlap_h": 1}).status_code == 404, address


class TestLists:
    def test_go_on_where_the_page_before_ended(self, alice: "Tenant", client_for: Clients) -> None:
        live_through(alice, market(), signals=119)
        client = client_for(alice)
        seen: list[Any] = []

        for sort in ("", "created_at", "-ticker"):
            url, seen = f"/signals/?sort={sort}", []
            while url:
                page = client.get(url).context["page"]
                seen += [row.pk for row in page.rows]
                url = page.next_url

            assert len(seen) == len(set(seen)) == 120

    def test_keep_filter_and_sort_in_the_address(
        self, alice: "Tenant", day: Day, client_for: Clients
    ) -> None:
        client = client_for(alice)

        rejected = client.get("/signals/?outcome=rejected&q=btc&sort=ticker").context["page"]
        none = client.get("/signals/?q=ETH")

        assert [row.pk for row in rejected.rows] == [day.rejected.pk]
        assert "outcome=rejected" in rejected.export_url
        assert "q=btc" in rejected.headings[0].url
        assert b"Nothing matches" in none.content

    @pytest.mark.parametrize(
        "nonsense",
        ["cursor=x", "cursor=W10", "cursor=WyJhIiwiYiJd", "sort=alert__body", "outcome=drop",
         "q=%00"],
    )  # fmt: skip
    def test_take_nonsense_for_nothing(
        self, alice: "Tenant", day: Day, client_for: Clients, nonsense: str
    ) -> None:
        page = client_for(alice).get(f"/signals/?{nonsense}").context["page"]

        assert len(page.rows) == 2

    @pytest.mark.parametrize("address", EXPORTS)
    def test_leave_as_csv(
        self, alice: "Tenant", day: Day, client_for: Clients, address: str
    ) -> None:
        answer = client_for(alice).get(f"{address}?format=csv")

        assert answer["Content-Type"].startswith("text/csv")
        assert len(answer.content.splitlines()) > 1

    def test_write_no_formula_into_a_spreadsheet(
        self, alice: "Tenant", day: Day, client_for: Clients
    ) -> None:
        with acting_for(alice):
            day.deployment.name = "=HYPERLINK(1)"
            day.deployment.save()

        answer = client_for(alice).get("/deployments/?format=csv")

        assert b",'=HYPERLINK(1)," in answer.content


class TestHome:
    def test_shows_the_equity_at_the_last_price(
        self, alice: "Tenant", day: Day, client_for: Clients
    ) -> None:
        with acting_for(alice):
            day.account.cash = Decimal(99_798)
            day.account.save()

        answer = client_for(alice).get("/")

        # 99,798 and two units at 102.
        assert b"100,002.00 USD" in answer.content

    def test_one_press_makes_what_a_first_alert_needs(
        self, alice: "Tenant", client_for: Clients
    ) -> None:
        from apps.trading.models import BrokerAccount, Deployment

        market()
        client = client_for(alice)

        answer = client.post("/start/")
        again = client.post("/start/")

        assert answer.status_code == 200
        assert b"/hooks/" in answer.content
        assert b"TEST:BTCUSD" in answer.content
        assert again.status_code == 302
        with acting_for(alice):
            assert BrokerAccount.objects.get().cash == 100_000
            assert Deployment.objects.get().is_active

    def test_the_checklist_knows_what_is_done(self, alice: "Tenant", client_for: Clients) -> None:
        client = client_for(alice)
        before = client.get("/").context["steps"]
        client.post("/start/")
        after = client.get("/").context["steps"]
        live_through_more(alice)
        done = client.get("/").context["steps"]

        assert [step["done"] for step in before] == [False] * 6
        assert [step["done"] for step in after[1:]] == [True, True, True, False, False]
        assert done == []


def live_through_more(tenant: "Tenant") -> None:
    from apps.trading.models import BrokerAccount

    with acting_for(tenant):
        BrokerAccount.objects.update(name="First")
    live_through(tenant, market())


class TestWebhooks:
    def test_show_an_address_once(self, alice: "Tenant", client_for: Clients) -> None:
        client = client_for(alice)

        made = client.post("/webhooks/new/", {"name": "Breakout", "max_age_s": 60})
        url = made.context["url"]

        assert url in made.content.decode()
        assert made["Cache-Control"].count("no-store")
        assert url not in client.get("/webhooks/").content.decode()

    def test_give_a_new_address_with_an_overlap(
        self, alice: "Tenant", day: Day, client_for: Clients
    ) -> None:
        client = client_for(alice)

        made = client.post(f"/webhooks/{day.endpoint.pk}/rotate/", {"overlap_h": 2})

        assert "/hooks/" in made.context["url"]
        assert b"The old one works until" in client.get(f"/webhooks/{day.endpoint.pk}/").content

    def test_list_the_refused_with_what_to_do(
        self, alice: "Tenant", day: Day, client_for: Clients
    ) -> None:
        client = client_for(alice)

        refused = client.get("/webhooks/log/?show=refused")
        faults = client.get("/webhooks/log/?show=faults")

        assert b"method-not-allowed" in refused.content
        assert b"It works; it is not a page." in refused.content
        assert [line.id for line in faults.context["log"].lines] == [day.unreadable.pk]

    def test_replay_an_alert_as_a_new_one(
        self, alice: "Tenant", day: Day, client_for: Clients
    ) -> None:
        from apps.webhooks.models import Alert

        answer = client_for(alice).post(f"/alerts/{day.alert.pk}/replay/")

        with acting_for(alice):
            again = Alert.objects.get(replay_of=day.alert)
        assert answer["Location"] == f"/alerts/{again.pk}/"


class TestTheKillSwitch:
    def test_stops_closes_and_goes_on(self, alice: "Tenant", day: Day, client_for: Clients) -> None:
        from apps.trading.models import Order, TradingState

        client = client_for(alice)

        client.post("/switch/halt/", {"reason": "Maintenance", "flatten": "on"})

        assert b"Trading is stopped" in client.get("/signals/").content
        with acting_for(alice):
            assert TradingState.objects.get().reason == "Maintenance"
            assert Order.objects.filter(role="flatten").count() == 1
        client.post("/switch/resume/")
        assert b"Trading is stopped" not in client.get("/signals/").content


class TestAccounts:
    FORM = {
        "max_daily_loss": "2.5", "max_order_notional": "5000", "max_order_quantity": "",
        "max_position_notional": "", "max_leverage": "1.5", "max_open_positions": "3",
        "max_daily_notional": "", "max_orders_per_minute": "10", "price_band": "5",
        "duplicate_window_s": "30",
    }  # fmt: skip

    def test_are_opened_with_cash_and_limits(self, alice: "Tenant", client_for: Clients) -> None:
        from apps.trading.models import BrokerAccount, RiskLimits

        form = {"name": "Second", "cash": "2500", "currency": "EUR"}

        client_for(alice).post("/accounts/new/", form)

        with acting_for(alice):
            account = BrokerAccount.objects.get()
            assert (account.cash, account.currency) == (2500, "EUR")
            assert RiskLimits.objects.filter(account=account).exists()

    def test_take_percent_and_keep_fractions(
        self, alice: "Tenant", day: Day, client_for: Clients
    ) -> None:
        from apps.trading.models import RiskLimits

        form = self.FORM | {"allowed_instruments": [str(day.instrument.pk)]}

        answer = client_for(alice).post(f"/accounts/{day.account.pk}/limits/", form)

        assert answer.status_code == 302
        with acting_for(alice):
            limits = RiskLimits.objects.get()
        assert limits.max_daily_loss == Decimal("0.025")
        assert limits.price_band == Decimal("0.05")
        assert limits.max_position_notional is None
        assert limits.allowed_instruments == [day.instrument.pk]

    @pytest.mark.parametrize(
        ("field", "value"),
        [("max_daily_loss", "101"), ("max_leverage", "-1"), ("duplicate_window_s", ""),
         ("max_order_notional", "many"), ("price_band", "NaN")],
    )  # fmt: skip
    def test_say_beside_the_field_what_is_wrong(
        self, alice: "Tenant", day: Day, client_for: Clients, field: str, value: str
    ) -> None:
        answer = client_for(alice).post(
            f"/accounts/{day.account.pk}/limits/", self.FORM | {field: value}
        )

        assert answer.status_code == 200
        assert field in answer.context["form"].errors


class TestCharts:
    def test_carry_bars_fills_rejections_and_stops(
        self, alice: "Tenant", day: Day, client_for: Clients
    ) -> None:
        answer = client_for(alice).get(f"/charts/{day.instrument.pk}/bars.json").json()

        # The closed bar, and the one that forms at 102.
        assert [bar[4] for bar in answer["bars"]] == [101, 102]
        assert {marker["kind"] for marker in answer["markers"]} == {"entry", "rejected"}
        assert answer["lines"] == [{"price": 90.0, "kind": "stop", "text": "Stop 2"}]

    def test_show_nothing_of_another_tenant(
        self, alice: "Tenant", bob: "Tenant", day: Day, client_for: Clients
    ) -> None:
        answer = client_for(bob).get(f"/charts/{day.instrument.pk}/bars.json").json()

        assert len(answer["bars"]) == 2
        assert answer["markers"] == answer["lines"] == []


class TestSearch:
    def test_an_id_opens_its_page(self, alice: "Tenant", day: Day, client_for: Clients) -> None:
        client = client_for(alice)

        for name, row in (("orders", day.order), ("signals", day.signal), ("alerts", day.alert)):
            answer = client.get("/search/", {"q": str(row.pk)})
            assert answer["Location"] == f"/{name}/{row.pk}/"

    def test_a_decision_opens_its_signal(
        self, alice: "Tenant", day: Day, client_for: Clients
    ) -> None:
        answer = client_for(alice).get(f"/decisions/{day.decision.pk}/")

        assert answer["Location"] == f"/signals/{day.signal.pk}/"
