"""Where the API of this room is; the intake is another process with paths of its own."""

from django.urls import URLPattern, path

from apps.webhooks import api

# Under /api/v1/.
api_urlpatterns: list[URLPattern] = [
    path("endpoints", api.Endpoints.as_view(), name="api-endpoints"),
    path("endpoints/<uuid:endpoint_id>", api.OneEndpoint.as_view(), name="api-endpoint"),
    path("endpoints/<uuid:endpoint_id>/rotate", api.Rotate.as_view(), name="api-endpoint-rotate"),
    path("endpoints/<uuid:endpoint_id>/pause", api.Pause.as_view(), name="api-endpoint-pause"),
    path("endpoints/<uuid:endpoint_id>/resume", api.Resume.as_view(), name="api-endpoint-resume"),
    path(
        "endpoints/<uuid:endpoint_id>/deliveries",
        api.Deliveries.as_view(),
        name="api-endpoint-deliveries",
    ),
    path("alerts", api.Alerts.as_view(), name="api-alerts"),
    path("alerts/<uuid:alert_id>", api.OneAlert.as_view(), name="api-alert"),
    path("alerts/<uuid:alert_id>/replay", api.Replay.as_view(), name="api-alert-replay"),
]
