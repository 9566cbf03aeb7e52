-- Row-level security audit: every row returned is a defect. No row means that each table with
-- tenants' rows is closed to other tenants, for every statement and through every side door.
--
--     psql "$DATABASE_OWNER_URL" --file=row_security_audit.sql
--
-- Shared on purpose (docs/security.md): identity before a tenant is known, market data, the
-- framework's own tables.
WITH shared (name) AS (VALUES
  ('django_migrations'), ('django_content_type'), ('django_session'),
  ('auth_group'), ('auth_group_permissions'), ('auth_permission'),
  ('accounts_user'), ('accounts_user_groups'), ('accounts_user_user_permissions'),
  ('account_emailaddress'), ('account_emailconfirmation'), ('mfa_authenticator'),
  ('marketdata_instrument'), ('marketdata_bar'), ('marketdata_quote'), ('marketdata_replay'),
  ('trading_servicestate'), ('trading_paperclock')
), relation AS (
  SELECT c.oid, c.relname AS name, c.relkind AS kind, c.relrowsecurity AS secured,
    c.relforcerowsecurity AS forced, c.reloptions AS options, pg_get_userbyid(c.relowner) AS owner
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p', 'v', 'm')
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
), tenanted AS (
  SELECT *, CASE name WHEN 'accounts_tenant' THEN 'id' ELSE 'tenant_id' END AS tenant_column
  FROM relation WHERE kind IN ('r', 'p') AND name NOT IN (SELECT name FROM shared)
), policy AS (
  SELECT t.name, p.polname, p.polcmd, p.polpermissive,
    pg_get_expr(p.polqual, p.polrelid) AS reads,
    pg_get_expr(p.polwithcheck, p.polrelid) AS writes, t.tenant_column
  FROM tenanted t JOIN pg_policy p ON p.polrelid = t.oid
)
SELECT 'row security is not enabled and forced' AS defect, name AS object
FROM tenanted WHERE NOT (secured AND forced)
UNION ALL
SELECT 'no policy for all commands with both USING and WITH CHECK', name
FROM tenanted t WHERE NOT EXISTS (
  SELECT FROM policy p
  WHERE p.name = t.name AND p.polcmd = '*' AND p.reads IS NOT NULL AND p.writes IS NOT NULL)
UNION ALL
SELECT 'policy is not exactly the tenant''s', name || '.' || polname
FROM policy
WHERE reads IS DISTINCT FROM format('(%s = ( SELECT app.tenant() AS tenant))', tenant_column)
  OR writes IS DISTINCT FROM format('(%s = ( SELECT app.tenant() AS tenant))', tenant_column)
UNION ALL
SELECT 'a second permissive policy widens access', name
FROM policy WHERE polpermissive GROUP BY name HAVING count(*) > 1
UNION ALL
SELECT 'tenant column is missing or nullable', name
FROM tenanted t WHERE NOT EXISTS (
  SELECT FROM pg_attribute a
  WHERE a.attrelid = t.oid AND a.attname = t.tenant_column AND a.attnotnull
    AND NOT a.attisdropped)
UNION ALL
SELECT 'unique index without the tenant (tells about other tenants)', t.name || ' ' || c.relname
FROM tenanted t
JOIN pg_index i ON i.indrelid = t.oid AND i.indisunique AND NOT i.indisprimary
JOIN pg_class c ON c.oid = i.indexrelid
WHERE t.name <> 'accounts_tenant' AND NOT EXISTS (
  SELECT FROM pg_attribute a
  WHERE a.attrelid = t.oid AND a.attnum = ANY (i.indkey) AND a.attname = 'tenant_id')
  -- A primary key's own column may head another unique index: it is a random identifier.
  AND NOT EXISTS (
    SELECT FROM pg_attribute a
    WHERE a.attrelid = t.oid AND a.attnum = ANY (i.indkey) AND a.attname = 'id')
UNION ALL
SELECT 'foreign key to a tenant''s table without the tenant', t.name || '.' || k.conname
FROM tenanted t JOIN pg_constraint k ON k.conrelid = t.oid AND k.contype = 'f'
JOIN tenanted target ON target.oid = k.confrelid
WHERE target.name <> 'accounts_tenant' AND NOT EXISTS (
  SELECT FROM pg_attribute a
  WHERE a.attrelid = t.oid AND a.attnum = ANY (k.conkey) AND a.attname = 'tenant_id')
UNION ALL
SELECT 'view without security_invoker', name
FROM relation
WHERE kind = 'v'
  AND coalesce(array_to_string(options, ','), '') !~ 'security_invoker=(true|on|1)'
UNION ALL
SELECT 'materialized view (policies cannot apply)', name FROM relation WHERE kind = 'm'
UNION ALL
SELECT 'table is owned by a serving role', name
FROM relation WHERE owner IN ('pinelab_app', 'pinelab_hooks', 'pinelab_ops')
UNION ALL
SELECT 'application role may TRUNCATE, REFERENCE or TRIGGER', name
FROM relation
WHERE kind IN ('r', 'p') AND (
  has_table_privilege('pinelab_app', oid, 'TRUNCATE')
  OR has_table_privilege('pinelab_app', oid, 'REFERENCES')
  OR has_table_privilege('pinelab_app', oid, 'TRIGGER'))
UNION ALL
SELECT 'hooks role may touch a table', name
FROM relation
WHERE has_table_privilege('pinelab_hooks', oid, 'SELECT, INSERT, UPDATE, DELETE')
UNION ALL
SELECT 'application role passes policies, by itself or as a member', rolname
FROM pg_roles
WHERE (rolsuper OR rolbypassrls) AND pg_has_role('pinelab_app', oid, 'MEMBER')
UNION ALL
SELECT 'SECURITY DEFINER function without a fixed search_path', p.proname
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname IN ('public', 'app') AND p.prosecdef
  AND coalesce(array_to_string(p.proconfig, ','), '') !~ 'search_path'
UNION ALL
SELECT 'SECURITY DEFINER function that everyone may execute', p.proname
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname IN ('public', 'app') AND p.prosecdef
  AND has_function_privilege('public', p.oid, 'EXECUTE')
