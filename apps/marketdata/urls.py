"""Where the API of this room is; it has no pages of its own."""

from django.urls import URLPattern, path

from apps.marketdata import api

# Under /api/v1/.
api_urlpatterns: list[URLPattern] = [
    path("instruments", api.Instruments.as_view(), name="api-instruments"),
    path("instruments/<uuid:pk>", api.InstrumentDetail.as_view(), name="api-instrument"),
    path("instruments/<uuid:pk>/bars", api.InstrumentBars.as_view(), name="api-instrument-bars"),
    path("instruments/<uuid:pk>/quote", api.InstrumentQuote.as_view(), name="api-instrument-quote"),
]
