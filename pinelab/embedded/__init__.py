"""The database and Redis that come with PineLab, for everyone who brings none of their own."""

from pinelab.embedded.place import Place, take
from pinelab.embedded.refusal import CannotStart, refusal
from pinelab.embedded.services import Services, start

__all__ = ["CannotStart", "Place", "Services", "refusal", "start", "take"]
