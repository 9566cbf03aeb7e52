"""Who is asking, and for whom: users, tenants, memberships, API keys, the audit log."""
