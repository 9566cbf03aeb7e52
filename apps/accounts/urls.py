"""Where the settings pages and the API of this room are."""

from django.urls import URLPattern, path
from django.views.generic import RedirectView

from apps.accounts import api, views
from apps.accounts.doors import outside_tenant

# Under /settings/.
urlpatterns: list[URLPattern] = [
    path("", RedirectView.as_view(pattern_name="settings-profile"), name="settings"),
    path("profile", views.profile, name="settings-profile"),
    path("keys", views.keys, name="settings-keys"),
    path("keys/<uuid:key_id>/revoke", views.revoke_key, name="settings-key-revoke"),
    path("members", views.members, name="settings-members"),
    path("members/<uuid:member_id>/role", views.member_role, name="settings-member-role"),
    path(
        "members/<uuid:member_id>/remove",
        views.remove_member,
        name="settings-member-remove",
    ),
    path("audit", views.audit_log, name="settings-audit"),
    path("tenants/<uuid:tenant_id>", views.switch_tenant, name="settings-tenants"),
]

# Under /api/v1/.
api_urlpatterns: list[URLPattern] = [
    # Logging in happens before one is anybody; logging out does not.
    path(
        "auth/token",
        outside_tenant(api.TokenView.as_view(), methods={"POST"}),
        name="api-auth-token",
    ),
    path("me", api.Me.as_view(), name="api-me"),
    path("tenants/switch", api.Switch.as_view(), name="api-tenants-switch"),
    path("keys", api.Keys.as_view(), name="api-keys"),
    path("keys/<uuid:key_id>", api.Key.as_view(), name="api-key"),
    path("members", api.Members.as_view(), name="api-members"),
    path("members/<uuid:member_id>", api.Member.as_view(), name="api-member"),
    path("audit", api.Audit.as_view(), name="api-audit"),
]
