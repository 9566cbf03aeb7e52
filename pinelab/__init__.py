"""The project: settings, addresses and entry points. No domain code lives here."""

from pinelab.celery import app as celery_app

__all__ = ["celery_app"]
