"""The API of this room: the ticket that opens a live socket."""

from typing import Any

from django.conf import settings
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.accounts.identity import Identity
from apps.portal import tickets


class TicketOut(serializers.Serializer[Any]):
    ticket = serializers.CharField(help_text="Good for one connection within 30 seconds.")
    url = serializers.CharField(help_text="Connect to this address with ?ticket= and the ticket.")


class Ticket(APIView):
    """A ticket for the live socket, which then tells every event of this account in order."""

    required_scope = "read"

    @extend_schema(operation_id="live_ticket", request=None, responses={201: TicketOut})
    def post(self, request: Request) -> Response:
        identity = request.auth
        if not isinstance(identity, Identity):
            raise TypeError("a permitted request has an identity")
        ticket = tickets.issue(identity, session=request.session.session_key)
        return Response(
            {"ticket": ticket, "url": f"{settings.LIVE_URL}/ws/v1/"},
            status=201,
            headers={"Cache-Control": "no-store"},
        )
