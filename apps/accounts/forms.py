"""What is typed on the settings pages."""

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import available_timezones

from django import forms

from apps.accounts.identity import Identity
from apps.accounts.models import Membership, Scope

NEVER = "never"
LIFETIMES = [("30", "30 days"), ("90", "90 days"), ("365", "One year"), (NEVER, "Does not expire")]


class ProfileForm(forms.Form):
    name = forms.CharField(max_length=120, required=False, help_text="How members see you.")
    time_zone = forms.ChoiceField(
        choices=[(zone, zone) for zone in sorted(available_timezones())],
        help_text="Times are shown in this zone.",
    )


class KeyForm(forms.Form):
    name = forms.CharField(
        max_length=80, help_text="What the key is for, such as the program that will use it."
    )
    scopes = forms.MultipleChoiceField(widget=forms.CheckboxSelectMultiple, initial=[Scope.READ])
    lifetime = forms.ChoiceField(choices=LIFETIMES, initial="90")

    def __init__(self, *args: Any, identity: Identity, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["scopes"]
        assert isinstance(field, forms.MultipleChoiceField)  # noqa: S101 - declared above
        field.choices = [(value, label) for value, label in Scope.choices if identity.may(value)]

    def expires_at(self, now: datetime) -> datetime | None:
        days = self.cleaned_data["lifetime"]
        return None if days == NEVER else now + timedelta(days=int(days))


class RoleForm(forms.Form):
    role = forms.ChoiceField(choices=Membership.Role.choices, initial=Membership.Role.VIEWER)


class MemberForm(RoleForm):
    email = forms.EmailField(help_text="They must have signed up and confirmed this address.")
    field_order = ("email", "role")
