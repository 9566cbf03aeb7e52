"""Whose rows are these? One entry, ``acting_for(tenant)``; the database holds the door.

``context`` signs and sets the tenant of a transaction, ``models`` are the tables that need one,
``schema`` puts the policies underneath them, ``Router`` picks the role a query runs as.
"""

from apps.core.tenancy.context import (
    NoTenant,
    OtherTenant,
    acting_across,
    acting_for,
    current_tenant_id,
    signed_user,
)
from apps.core.tenancy.models import TenantForeignKey, TenantManager, TenantModel
from apps.core.tenancy.router import Router

__all__ = [
    "NoTenant",
    "OtherTenant",
    "Router",
    "TenantForeignKey",
    "TenantManager",
    "TenantModel",
    "acting_across",
    "acting_for",
    "current_tenant_id",
    "signed_user",
]
