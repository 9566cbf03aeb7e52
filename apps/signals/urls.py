"""The signals room's addresses under /api/v1."""

from django.urls import URLPattern, path

from apps.signals import api

api_urlpatterns: list[URLPattern] = [
    path("signals", api.Signals.as_view(), name="api-signals"),
    path("signals/<uuid:pk>", api.OneSignal.as_view(), name="api-signal"),
    path("decisions", api.Decisions.as_view(), name="api-decisions"),
]
