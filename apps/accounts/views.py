"""The settings pages of this room: profile, API keys, members, the audit log."""

from collections.abc import Callable
from uuid import UUID

from django.contrib import messages
from django.db import transaction
from django.http import Http404
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from apps.accounts import forms, identity, selectors, services
from apps.accounts.doors import needs
from apps.accounts.identity import TenantRequest
from apps.accounts.models import Scope
from apps.core.errors import DomainError, NotFound

AUDIT_PAGE = 50
# Fewer than a bigint has, so that any number of that many digits is one.
SEQUENCE_DIGITS = 19


@needs(Scope.READ)
@require_http_methods(["GET", "HEAD", "POST"])
def profile(request: TenantRequest) -> HttpResponseBase:
    user = request.identity.user
    initial = {"name": user.name, "time_zone": user.time_zone}
    form = forms.ProfileForm(request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        services.update_profile(
            user=user, **form.cleaned_data, by=request.identity.actor, now=timezone.now()
        )
        messages.success(request, "Your profile is saved.")
        return redirect("settings-profile")
    return render(request, "accounts/profile.html", {"form": form})


@needs(Scope.READ)
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def keys(request: TenantRequest) -> HttpResponseBase:
    form = forms.KeyForm(request.POST or None, identity=request.identity)
    context = {"form": form, "keys": selectors.keys_seen_by(request.identity)}
    if request.method == "POST" and form.is_valid():
        now = timezone.now()
        key, secret = services.create_api_key(
            user=request.identity.user,
            name=form.cleaned_data["name"],
            scopes=form.cleaned_data["scopes"],
            expires_at=form.expires_at(now),
            now=now,
            within=request.identity.scopes,
        )
        # No redirect: the secret would have to be kept somewhere in between.
        return render(request, "accounts/key_made.html", {"key": key, "secret": secret})
    return render(request, "accounts/keys.html", context)


@needs(Scope.READ)
@require_http_methods(["GET", "HEAD", "POST"])
def revoke_key(request: TenantRequest, key_id: UUID) -> HttpResponseBase:
    key = get_object_or_404(selectors.keys_seen_by(request.identity), pk=key_id)
    if request.method != "POST":
        return render(request, "accounts/key_revoke.html", {"key": key})
    _try(
        request,
        lambda: services.revoke_api_key(
            key_id=key.pk, by=request.identity.actor, now=timezone.now()
        ),
        done=f"The key {key.name} is revoked.",
    )
    return redirect("settings-keys")


@needs(Scope.READ)
@require_http_methods(["GET", "HEAD", "POST"])
def members(request: TenantRequest) -> HttpResponseBase:
    form = forms.MemberForm(request.POST or None)
    if request.method == "POST":
        request.identity.require(Scope.MANAGE)
        if form.is_valid() and _try(
            request,
            lambda: services.add_member(
                **form.cleaned_data, by=request.identity.actor, now=timezone.now()
            ),
            done=f"{form.cleaned_data['email']} is a member now.",
        ):
            return redirect("settings-members")
    context = {
        "form": form,
        "members": selectors.members(),
        "roles": forms.RoleForm.base_fields["role"].choices,  # type: ignore[attr-defined]
        "may_manage": request.identity.may(Scope.MANAGE),
    }
    return render(request, "accounts/members.html", context)


@needs(Scope.MANAGE)
@require_POST
def member_role(request: TenantRequest, member_id: UUID) -> HttpResponseBase:
    form = forms.RoleForm(request.POST)
    if form.is_valid():
        _try(
            request,
            lambda: services.change_role(
                membership_id=member_id,
                role=form.cleaned_data["role"],
                by=request.identity.actor,
                now=timezone.now(),
            ),
            done="The role is changed.",
        )
    return redirect("settings-members")


@needs(Scope.MANAGE)
@require_http_methods(["GET", "HEAD", "POST"])
def remove_member(request: TenantRequest, member_id: UUID) -> HttpResponseBase:
    member = get_object_or_404(selectors.members(), pk=member_id)
    if request.method != "POST":
        return render(request, "accounts/member_remove.html", {"member": member})
    _try(
        request,
        lambda: services.remove_member(
            membership_id=member.pk, by=request.identity.actor, now=timezone.now()
        ),
        done=f"{member.user.email} is no longer a member.",
    )
    return redirect("settings-members")


@needs(Scope.MANAGE)
@require_GET
def audit_log(request: TenantRequest) -> HttpResponseBase:
    before = request.GET.get("before", "")
    events = selectors.audit_events()
    if before.isdecimal() and len(before) < SEQUENCE_DIGITS:
        events = events.filter(sequence__lt=int(before))
    # One more than is shown tells whether another page follows.
    found = list(events[: AUDIT_PAGE + 1])
    shown = found[:AUDIT_PAGE]
    here = reverse("settings-audit")
    context = {
        "events": shown,
        "first_url": here if before else "",
        "next_url": f"{here}?before={shown[-1].sequence}" if len(found) > AUDIT_PAGE else "",
    }
    return render(request, "accounts/audit.html", context)


@needs(Scope.READ)
@require_POST
def switch_tenant(request: TenantRequest, tenant_id: UUID) -> HttpResponseBase:
    places = identity.places_of(request.identity.user)
    if tenant_id not in {place.tenant_id for place in places}:
        raise Http404
    identity.choose_in(request.session, tenant_id)
    return redirect("/")


def _try(request: TenantRequest, act: Callable[[], object], *, done: str) -> bool:
    """Carry out a change and tell the user what came of it; a refusal leaves nothing behind."""
    try:
        with transaction.atomic():
            act()
    except NotFound as error:
        raise Http404 from error
    except DomainError as refusal:
        messages.error(request, f"{refusal.message} {refusal.hint}".strip())
        return False
    messages.success(request, done)
    return True
