"""Is this process alive, and can it serve?"""

from django.core.cache import cache
from django.db import OperationalError, connection
from django.http import HttpRequest, JsonResponse
from redis.exceptions import RedisError


def live(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "alive"})


def ready(request: HttpRequest) -> JsonResponse:
    """Ready while the database answers; Redis only wakes and limits, so it is reported only."""
    parts = {"database": _database_answers(), "redis": _redis_answers()}
    return JsonResponse(parts, status=200 if parts["database"] else 503)


def _database_answers() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except OperationalError:
        return False
    return True


def _redis_answers() -> bool:
    try:
        cache.get("health")
    except RedisError:
        return False
    return True
