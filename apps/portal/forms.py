"""What is typed on the pages, with the help that stands beside each field."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, ClassVar, Final
from uuid import UUID

from django import forms
from django.core.validators import DecimalValidator, MaxValueValidator, MinValueValidator

from apps.marketdata.models import Instrument
from apps.trading.models import BrokerAccount, Deployment, RiskLimits
from apps.webhooks.models import Endpoint

HUNDRED: Final = Decimal(100)
CURRENCIES: Final = [(code, code) for code in ("USD", "EUR", "USDT", "BTC")]


class AccountForm(forms.Form):
    name = forms.CharField(max_length=80, initial="Paper", help_text="How you recognise it.")
    cash = forms.DecimalField(
        label="Starting cash",
        min_value=Decimal(1),
        max_value=Decimal(10) ** 12,
        decimal_places=2,
        initial=Decimal(100_000),
        help_text="Paper money: nothing real is bought with it.",
    )
    currency = forms.ChoiceField(
        choices=CURRENCIES, help_text="What its cash, equity and limits are counted in."
    )


class LimitsForm(forms.Form):
    """Every limit of an account; what is left empty limits nothing."""

    max_daily_loss = forms.DecimalField(
        label="Largest loss of a day, %",
        help_text="Of the equity the UTC day began with. Beyond it no position is opened until"
        " 00:00 UTC; closing still works.",
    )
    max_order_notional = forms.DecimalField(
        label="Largest order",
        help_text="Worth, in the account's currency. A larger one is reduced.",
    )
    max_order_quantity = forms.DecimalField(
        label="Largest order, units", help_text="Units of the instrument. A larger one is reduced."
    )
    max_position_notional = forms.DecimalField(
        label="Largest position",
        help_text="Worth of one instrument, in the account's currency; orders are reduced to it.",
    )
    max_leverage = forms.DecimalField(
        label="Largest leverage",
        help_text="All positions together, as a multiple of equity: 2 is twice the equity.",
    )
    max_open_positions = forms.IntegerField(
        label="Most open positions", help_text="In so many instruments at a time."
    )
    max_daily_notional = forms.DecimalField(
        label="Most traded in a day",
        help_text="Worth of all orders of a UTC day, in the account's currency.",
    )
    max_orders_per_minute = forms.IntegerField(
        label="Most orders a minute", help_text="Beyond it signals are rejected, not delayed."
    )
    price_band = forms.DecimalField(
        label="Price band, %",
        help_text="How far the price in an alert may lie from the last price. Catches alerts of"
        " the wrong instrument or of yesterday.",
    )
    duplicate_window_s = forms.IntegerField(
        label="Duplicate window, seconds",
        help_text="The same side and quantity again within so many seconds is not traded;"
        " 0 switches it off.",
    )
    allowed_instruments = forms.MultipleChoiceField(
        label="Only these instruments",
        help_text="None chosen: every instrument may be traded.",
        widget=forms.CheckboxSelectMultiple,
    )

    PERCENT: ClassVar = ("max_daily_loss", "price_band")
    PLACES: ClassVar = {"max_daily_loss": 4, "price_band": 4, "max_leverage": 6}

    def __init__(self, *args: Any, instruments: Iterable[Instrument], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():
            field.required = name == "duplicate_window_s"
            match field:
                case forms.MultipleChoiceField():
                    field.choices = [
                        (str(each.pk), f"{each} · {each.name}") for each in instruments
                    ]
                case forms.IntegerField() | forms.DecimalField():
                    self._bound_number(name, field)

    def _bound_number(self, name: str, field: forms.IntegerField) -> None:
        is_whole = not isinstance(field, forms.DecimalField)
        least = Decimal(0 if name == "duplicate_window_s" else 1 if is_whole else "0.0001")
        most = Decimal(86_400 if is_whole else 100 if name in self.PLACES else 10**12)
        field.validators += [MinValueValidator(least), MaxValueValidator(most)]
        field.widget.attrs |= {"min": least, "max": most, "step": 1 if is_whole else "any"}
        if isinstance(field, forms.DecimalField):
            places = self.PLACES.get(name, 8)
            field.validators.append(DecimalValidator(max_digits=24, decimal_places=places))

    @classmethod
    def shown(cls, limits: RiskLimits) -> dict[str, Any]:
        """The limits as they stand, as a person types them."""
        values = {name: getattr(limits, name) for name in cls.base_fields}
        for name, value in values.items():
            if isinstance(value, Decimal):
                value = value * HUNDRED if name in cls.PERCENT else value
                values[name] = f"{value.normalize():f}"
        values["allowed_instruments"] = [str(pk) for pk in limits.allowed_instruments]
        return values

    def limits(self) -> dict[str, Any]:
        """What was typed, with fractions for percent."""
        values = dict(self.cleaned_data)
        for name in self.PERCENT:
            if values[name] is not None:
                values[name] /= HUNDRED
        values["allowed_instruments"] = [UUID(pk) for pk in values["allowed_instruments"]]
        return values


class SizingForm(forms.Form):
    name = forms.CharField(
        max_length=80, required=False, help_text="Left empty, it is named after both ends."
    )
    sizing = forms.ChoiceField(
        label="Size of an order",
        choices=Deployment.Sizing.choices,
        help_text="How much a signal buys or sells. “At risk to the stop” needs alerts that"
        " name a stop.",
    )
    size = forms.DecimalField(
        min_value=Decimal("0.00000001"),
        max_value=Decimal(10) ** 12,
        decimal_places=8,
        initial=Decimal(1),
        help_text="Units for a fixed quantity, currency for a fixed amount; a fraction of equity"
        " is typed as one: 0.02 is 2 %. Also used when a signal names no size.",
    )
    allows_short = forms.BooleanField(
        label="May sell short",
        required=False,
        initial=True,
        help_text="Without it a sell closes what is held and opens nothing.",
    )

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or {}
        is_fraction = values.get("sizing") in (Deployment.Sizing.EQUITY, Deployment.Sizing.RISK)
        if is_fraction and (values.get("size") or 0) > 10:
            self.add_error("size", "This is a fraction of equity: type 0.02 for 2 %.")
        return values


class DeploymentForm(SizingForm):
    endpoint = forms.ChoiceField(help_text="Whose signals are traded.")
    account = forms.ChoiceField(help_text="Whose money they are traded with.")
    field_order = ("endpoint", "account", "sizing", "size", "allows_short", "name")

    def __init__(
        self,
        *args: Any,
        endpoints: Iterable[Endpoint],
        accounts: Iterable[BrokerAccount],
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        for name, rows in (("endpoint", endpoints), ("account", accounts)):
            field = self.fields[name]
            if isinstance(field, forms.ChoiceField):
                field.choices = [(str(row.pk), str(row)) for row in rows]


class EndpointForm(forms.Form):
    name = forms.CharField(
        max_length=80, help_text="Such as the strategy or the TradingView alert that will send."
    )
    max_age_s = forms.IntegerField(
        label="Oldest alert that opens a position, seconds",
        min_value=5,
        max_value=86_400,
        initial=60,
        help_text="An alert that fired longer ago may still close a position.",
    )


class RotateForm(forms.Form):
    overlap_h = forms.IntegerField(
        label="Old address goes on working for, hours",
        min_value=0,
        max_value=720,
        initial=24,
        help_text="Time to paste the new address into your alerts; 0 ends the old one now.",
    )


class HaltForm(forms.Form):
    reason = forms.CharField(max_length=200, required=False)
    flatten = forms.BooleanField(required=False)
