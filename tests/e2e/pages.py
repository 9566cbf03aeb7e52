"""Every page there is: those with a fixed address, and one of each kind of object."""

from playwright.sync_api import Page

ENTRANCE = {
    "log-in": "/account/login/",
    "sign-up": "/account/signup/",
    "password-reset": "/account/password/reset/",
}
LISTS = {
    "home": "/",
    "signals": "/signals/",
    "positions": "/positions/",
    "orders": "/orders/",
    "trades": "/trades/",
    "charts": "/charts/",
    "deployments": "/deployments/",
    "accounts": "/accounts/",
    "webhooks": "/webhooks/",
    "log": "/webhooks/log/",
    "switch": "/switch/",
    "search": "/search/?q=BTC",
    "members": "/settings/members",
    "audit": "/settings/audit",
}
FORMS = {
    "account-new": "/accounts/new/",
    "webhook-new": "/webhooks/new/",
    "deployment-new": "/deployments/new/",
    "profile": "/settings/profile",
    "keys": "/settings/keys",
    "two-factor": "/account/2fa/",
    "password": "/account/password/change/",
}
# Where a list links to its objects: the object's name, the list, how the address begins.
OBJECTS = (
    ("signal", "/signals/?outcome=accepted", "/signals/"),
    ("signal-rejected", "/signals/?outcome=rejected", "/signals/"),
    ("position", "/positions/?state=all", "/positions/"),
    ("order", "/orders/?status=filled", "/orders/"),
    ("order-open", "/orders/?status=open", "/orders/"),
    ("trade", "/trades/", "/trades/"),
    ("chart", "/charts/", "/charts/"),
    ("deployment", "/deployments/", "/deployments/"),
    ("account", "/accounts/", "/accounts/"),
    ("webhook", "/webhooks/", "/webhooks/"),
    ("alert", "/webhooks/log/", "/alerts/"),
    ("alert-unreadable", "/webhooks/log/?show=faults", "/alerts/"),
)


def objects(page: Page) -> dict[str, str]:
    """One address of each kind of object that this visitor has."""
    found: dict[str, str] = {}
    for name, listing, prefix in OBJECTS:
        page.goto(listing)
        link = page.locator(f"main a[href^='{prefix}']:not([href*='?']):not([href$='/new/'])")
        own = [
            href
            for href in link.evaluate_all("links => links.map(link => link.pathname)")
            if href.count("/") == 3 and href.count("-") == 4
        ]
        if own:
            found[name] = own[0]
    if "account" in found:
        found["limits"] = f"{found['account']}limits/"
    if "webhook" in found:
        found["webhook-delete"] = f"{found['webhook']}delete/"
    return found
