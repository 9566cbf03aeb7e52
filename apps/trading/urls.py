"""Where the API of this room is."""

from django.urls import URLPattern, path

from apps.trading import api

# Under /api/v1/.
api_urlpatterns: list[URLPattern] = [
    path("accounts", api.Accounts.as_view(), name="api-accounts"),
    path("accounts/<uuid:account_id>", api.Account.as_view(), name="api-account"),
    path("accounts/<uuid:account_id>/equity", api.Equity.as_view(), name="api-equity"),
    path("accounts/<uuid:account_id>/limits", api.Limits.as_view(), name="api-limits"),
    path(
        "accounts/<uuid:account_id>/accept-positions",
        api.AcceptPositions.as_view(),
        name="api-accept-positions",
    ),
    path("deployments", api.Deployments.as_view(), name="api-deployments"),
    path("deployments/<uuid:deployment_id>", api.DeploymentView.as_view(), name="api-deployment"),
    path("orders", api.Orders.as_view(), name="api-orders"),
    path("orders/<uuid:order_id>", api.OrderView.as_view(), name="api-order"),
    path("fills", api.Fills.as_view(), name="api-fills"),
    path("positions", api.Positions.as_view(), name="api-positions"),
    path("positions/<uuid:position_id>", api.PositionView.as_view(), name="api-position"),
    path("trades", api.Trades.as_view(), name="api-trades"),
    path("halt", api.Halt.as_view(), name="api-halt"),
    path("events", api.Events.as_view(), name="api-events"),
]
