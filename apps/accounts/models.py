"""Users, the tenants they belong to, and the keys their programs carry."""

from datetime import datetime
from typing import Any, ClassVar

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils import timezone

from apps.core.ids import uuid7
from apps.core.tenancy import TenantForeignKey, TenantModel


class UserManager(BaseUserManager["User"]):
    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        user = self.model(email=self.normalize_email(email).lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str, **fields: Any) -> "User":
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)


class User(AbstractBaseUser, PermissionsMixin):
    """A person, known by an e-mail address; belongs to tenants by Membership."""

    email = models.EmailField(unique=True)
    name = models.CharField(max_length=120, blank=True)
    # An IANA zone name; how times are shown to this person.
    time_zone = models.CharField(max_length=64, default="UTC")
    is_staff = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)
    date_joined = models.DateTimeField(default=timezone.now)

    objects: ClassVar[UserManager] = UserManager()

    EMAIL_FIELD = "email"
    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    def __str__(self) -> str:
        return self.email


class Tenant(models.Model):
    """The account that owns rows."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=120)
    created_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.name


class Membership(TenantModel):
    """A user's place in a tenant."""

    class Role(models.TextChoices):
        OWNER = "owner", "Owner"
        TRADER = "trader", "Trader"
        VIEWER = "viewer", "Viewer"

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    role = models.CharField(max_length=8, choices=Role)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "user"], name="one_membership_per_user"),
            models.CheckConstraint(
                condition=Q(role__in=["owner", "trader", "viewer"]), name="membership_role_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} {self.role}"


class Scope(models.TextChoices):
    """What a key may do; each includes the ones before it only where it is granted too."""

    READ = "read", "Read"
    TRADE = "trade", "Trade"
    MANAGE = "manage", "Manage"


class ApiKey(TenantModel):
    """A secret for programs: shown once, stored as its SHA-256."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    name = models.CharField(max_length=80)
    # The first characters, to recognise a key by.
    prefix = models.CharField(max_length=16)
    digest = models.BinaryField(max_length=32)
    scopes = ArrayField(models.CharField(max_length=8, choices=Scope))
    created_at = models.DateTimeField(default=timezone.now)
    last_used_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "digest"], name="api_key_digest_once"),
            models.CheckConstraint(
                condition=Q(scopes__contained_by=["read", "trade", "manage"])
                & Q(scopes__len__gt=0),
                name="api_key_scopes_known",
            ),
        ]
        indexes = [models.Index(fields=["digest"], name="api_key_digest")]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    def is_usable(self, now: datetime) -> bool:
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


class AuditEvent(TenantModel):
    """Who did what, append-only; each row carries the hash of the one before it."""

    append_only = True

    sequence = models.BigIntegerField()
    at = models.DateTimeField()
    # None when the service itself acted.
    user = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    api_key = TenantForeignKey(ApiKey, on_delete=models.PROTECT, null=True, related_name="+")
    action = models.CharField(max_length=48)
    subject = models.CharField(max_length=24)
    subject_id = models.CharField(max_length=64)
    detail = models.JSONField(default=dict)
    previous_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "sequence"], name="audit_sequence_once")
        ]

    def __str__(self) -> str:
        return f"{self.sequence} {self.action}"
