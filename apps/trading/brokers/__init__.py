"""The venues orders are sent to, behind one interface (``base.py``)."""

from typing import Final

from apps.trading.brokers.base import Broker
from apps.trading.brokers.paper import PaperBroker

BROKERS: Final[dict[str, Broker]] = {"paper": PaperBroker()}
