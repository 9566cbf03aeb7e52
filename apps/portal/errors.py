"""What a person sees when a page cannot be shown: what happened, what was kept, a reference."""

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string

from apps.core.http import request_id


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _page(400)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _page(403)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _page(404)


def server_error(request: HttpRequest) -> HttpResponse:
    return _page(500)


def _page(status: int) -> HttpResponse:
    # Without the request: nothing that may be what failed is asked.
    text = render_to_string(f"errors/{status}.html", {"reference": request_id.get()})
    return HttpResponse(text, status=status)
