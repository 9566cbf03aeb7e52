"""Pages of a list by cursor: stable while rows are added, cheap at any depth."""

from typing import Any

from rest_framework.pagination import CursorPagination as RestCursorPagination
from rest_framework.response import Response


class CursorPagination(RestCursorPagination):
    """``{"data": [...], "pagination": {"limit", "has_more", "next_cursor"}}``, newest first."""

    page_size = 50
    max_page_size = 500
    page_size_query_param = "limit"
    cursor_query_param = "cursor"
    # Version 7 ids sort by the time they were made.
    ordering = "-id"

    def get_paginated_response(self, data: Any) -> Response:
        return Response(
            {
                "data": data,
                "pagination": {
                    "limit": self.page_size_in_use,
                    "has_more": self.has_next,
                    "next_cursor": self._cursor_of(self.get_next_link()),
                },
            }
        )

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "object",
            "required": ["data", "pagination"],
            "properties": {
                "data": schema,
                "pagination": {
                    "type": "object",
                    "required": ["limit", "has_more", "next_cursor"],
                    "properties": {
                        "limit": {"type": "integer"},
                        "has_more": {"type": "boolean"},
                        "next_cursor": {"type": ["string", "null"]},
                    },
                },
            },
        }

    def paginate_queryset(self, queryset: Any, request: Any, view: Any = None) -> Any:
        self.page_size_in_use = self.get_page_size(request)
        return super().paginate_queryset(queryset, request, view)

    @staticmethod
    def _cursor_of(link: str | None) -> str | None:
        from urllib.parse import parse_qs, urlsplit

        return parse_qs(urlsplit(link).query)["cursor"][0] if link else None
