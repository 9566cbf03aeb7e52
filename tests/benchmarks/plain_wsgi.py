"""What the intake is compared with: a plain Django view, one SELECT and one INSERT each."""

import hashlib
import os

import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from apps.core.ids import uuid7
from pinelab.settings import database

settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="of no use here",
    DATABASES={"default": database(os.environ["DATABASE_OPS_URL"])},
    MIDDLEWARE=[],
)

INSERT = """
INSERT INTO webhooks_alert (id, tenant_id, endpoint_id, body, content_type)
SELECT %s, tenant_id, id, %s, %s FROM webhooks_endpoint
WHERE token_digest = %s AND deleted_at IS NULL
"""


@csrf_exempt
def hook(request: HttpRequest, token: str) -> HttpResponse:
    alert_id = uuid7()
    digest = hashlib.sha256(token.encode()).digest()
    with connection.cursor() as cursor:
        cursor.execute(INSERT, [alert_id, request.body, request.content_type, digest])
        if cursor.rowcount == 0:
            return JsonResponse({"success": False}, status=404)
    return JsonResponse({"success": True, "id": str(alert_id)}, status=202)


urlpatterns = [path("hooks/<token>", hook)]
django.setup()
application = WSGIHandler()
