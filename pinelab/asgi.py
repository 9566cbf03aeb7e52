"""The live sockets, under ASGI; pages and the API are served by wsgi."""

import os
from typing import Any

import django
from channels.routing import ProtocolTypeRouter, URLRouter
from django.urls import path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pinelab.settings")
django.setup()

from apps.portal import live  # noqa: E402 - it needs the apps.

socket: Any = live.socket  # Not the kind of view that Django's path is typed for.
application = ProtocolTypeRouter(
    {
        "http": live.health,
        "lifespan": live.lifespan,
        "websocket": live.known_origins(URLRouter([path("ws/v1/", socket)])),
    }
)
