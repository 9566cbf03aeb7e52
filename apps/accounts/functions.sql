-- The two questions that must be answered before a tenant is entered.

-- Which tenants does the user who is logged in belong to? The context proves the log-in: it is
-- signed like a tenant's, for 'user:<id>'.
CREATE OR REPLACE FUNCTION app.memberships_of(context text)
RETURNS TABLE (tenant_id uuid, tenant_name text, role text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  subject text := app.verified(context);
BEGIN
  IF subject NOT LIKE 'user:%' THEN
    RAISE EXCEPTION 'the context names no user' USING ERRCODE = 'insufficient_privilege';
  END IF;
  RETURN QUERY
    SELECT m.tenant_id, t.name::text, m.role::text
    FROM public.accounts_membership m JOIN public.accounts_tenant t ON t.id = m.tenant_id
    WHERE m.user_id = substr(subject, 6)::bigint
    ORDER BY m.created_at, m.id;
END $$;

-- Whose key is this? Only someone who holds the secret can name its digest.
CREATE OR REPLACE FUNCTION app.api_key(key_digest bytea)
RETURNS TABLE (key_id uuid, tenant_id uuid, user_id bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
  SELECT k.id, k.tenant_id, k.user_id FROM public.accounts_apikey k WHERE k.digest = key_digest
$$;

GRANT EXECUTE ON FUNCTION app.memberships_of(text), app.api_key(bytea) TO pinelab_app;
