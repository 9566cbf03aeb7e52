-- What the policies stand on. Run by the owner's role after every migration; idempotent.

CREATE SCHEMA IF NOT EXISTS app;
GRANT USAGE ON SCHEMA app TO pinelab_app, pinelab_ops, pinelab_hooks;

-- The key that signs tenant contexts, as the two padded blocks of HMAC (RFC 2104). Nobody is
-- granted anything on it: only the functions below, which run as the owner, can read it.
CREATE TABLE IF NOT EXISTS app.context_key (
  id          smallint PRIMARY KEY,
  inner_block bytea NOT NULL,
  outer_block bytea NOT NULL
);

-- Checks 'subject|expiry|signature' and returns the subject, or raises.
CREATE OR REPLACE FUNCTION app.verified(context text) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  parts text[] := string_to_array(context, '|');
  message bytea;
BEGIN
  IF array_length(parts, 1) IS DISTINCT FROM 3 THEN
    RAISE EXCEPTION 'tenant context is malformed' USING ERRCODE = 'insufficient_privilege';
  END IF;
  message := convert_to(parts[1] || '|' || parts[2], 'UTF8');
  IF NOT EXISTS (
    SELECT FROM app.context_key k
    WHERE encode(sha256(k.outer_block || sha256(k.inner_block || message)), 'hex') = parts[3]
  ) THEN
    RAISE EXCEPTION 'tenant context is not signed by us' USING ERRCODE = 'insufficient_privilege';
  END IF;
  IF to_timestamp(parts[2]::bigint) < clock_timestamp() THEN
    RAISE EXCEPTION 'tenant context has expired' USING ERRCODE = 'insufficient_privilege';
  END IF;
  RETURN parts[1];
END $$;

-- The tenant of this transaction. No context is an error, never an empty result.
CREATE OR REPLACE FUNCTION app.tenant() RETURNS uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  context text := nullif(current_setting('app.context', true), '');
  subject text;
BEGIN
  IF context IS NULL THEN
    RAISE EXCEPTION 'no tenant context' USING ERRCODE = 'insufficient_privilege',
      HINT = 'Enter a tenant with acting_for(tenant).';
  END IF;
  subject := app.verified(context);
  IF subject NOT LIKE 'tenant:%' THEN
    RAISE EXCEPTION 'the context names no tenant' USING ERRCODE = 'insufficient_privilege';
  END IF;
  RETURN substr(subject, 8)::uuid;
END $$;

GRANT EXECUTE ON FUNCTION app.tenant() TO pinelab_app, pinelab_ops;
