"""What can go wrong on purpose: every refusal carries a stable code and a sentence."""

from http import HTTPStatus


class DomainError(Exception):
    """A refusal that a caller can act on; everything else is a bug.

    Subclasses live beside the service that raises them and set ``status`` and ``code``.
    """

    status: HTTPStatus = HTTPStatus.CONFLICT
    code: str = "conflict"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class NotFound(DomainError):
    """No such object in this tenant."""

    status = HTTPStatus.NOT_FOUND
    code = "not_found"


class Invalid(DomainError):
    """The request is understood and cannot be carried out as it is."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    code = "invalid"
