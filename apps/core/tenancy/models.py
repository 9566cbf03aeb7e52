"""Tables whose rows belong to a tenant."""

from typing import Any, TypeVar

from django.db import models

from apps.core.ids import uuid7
from apps.core.tenancy.context import NoTenant, active_scope, current_tenant_id

M = TypeVar("M", bound=models.Model, covariant=True)


class TenantManager(models.Manager[M]):
    """A manager that refuses to look outside a tenant."""

    def get_queryset(self) -> models.QuerySet[M]:
        if active_scope() is None:
            raise NoTenant(
                f"{self.model.__name__} belongs to a tenant: enter it with acting_for(tenant)"
            )
        return super().get_queryset()


class TenantModel(models.Model):
    """A row of one tenant; core.tenancy.schema puts the policy underneath its table."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(
        "accounts.Tenant", on_delete=models.CASCADE, related_name="+", db_index=False
    )

    objects = TenantManager()

    class Meta:
        abstract = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # A row made inside acting_for(tenant) is that tenant's; across tenants it says whose.
        if not self.tenant_id and (tenant_id := current_tenant_id()):
            self.tenant_id = tenant_id


class TenantForeignKey(models.ForeignKey[Any, Any]):
    """A reference between two rows of the same tenant.

    The database's own constraint is on (tenant_id, this column): an ordinary foreign key is
    checked without the policies, and would let one tenant hang a row on another's.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["db_constraint"] = False
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> Any:
        name, path, args, kwargs = super().deconstruct()
        kwargs.pop("db_constraint", None)
        return name, path, args, kwargs
