-- The four roles of PineLab and what they may do in one database.
--
-- Run as a superuser, connected to the database that PineLab will use; it may be run again at
-- any time and then puts everything back as written here:
--
--     createdb pinelab
--     psql --dbname=pinelab --file=roles.sql
--
-- Then give each role a password of its own (\password pinelab_app, ...). `make run` does all
-- of this by itself for the embedded server.

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['pinelab_owner', 'pinelab_app', 'pinelab_hooks', 'pinelab_ops']
    LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('CREATE ROLE %I', name);
        END IF;
    END LOOP;
END
$$;

-- Owns the schema and changes it: migrations, nothing else. It passes the policies because the
-- few functions that answer before a tenant is known (log-in, keys, intake) run as their owner.
ALTER ROLE pinelab_owner LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION BYPASSRLS;
-- Web and live socket: sees the rows of the tenant for which its transaction was signed.
ALTER ROLE pinelab_app LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
-- The webhook intake: no table at all; migrations let it execute one function.
ALTER ROLE pinelab_hooks LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
-- Pipeline, desk, feed, background work: every tenant's rows. Never given to the web.
ALTER ROLE pinelab_ops LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION BYPASSRLS;

-- A forgotten transaction holds locks and keeps dead rows alive.
ALTER ROLE pinelab_app SET idle_in_transaction_session_timeout = '30s';
ALTER ROLE pinelab_hooks SET idle_in_transaction_session_timeout = '30s';
ALTER ROLE pinelab_ops SET idle_in_transaction_session_timeout = '30s';
ALTER ROLE pinelab_app SET statement_timeout = '15s';
-- The sender gives up after three seconds: fail before, so that it sends again.
ALTER ROLE pinelab_hooks SET statement_timeout = '1500ms';
ALTER ROLE pinelab_hooks SET lock_timeout = '500ms';
-- Answered means on the disk, whatever the server's own setting is.
ALTER ROLE pinelab_hooks SET synchronous_commit = 'on';

-- What PUBLIC may do by default, nobody may here unless it is named.
DO $$
DECLARE
    here text := current_database();
BEGIN
    EXECUTE format('ALTER DATABASE %I OWNER TO pinelab_owner', here);
    EXECUTE format('REVOKE CONNECT, TEMPORARY ON DATABASE %I FROM PUBLIC', here);
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO pinelab_app, pinelab_hooks, pinelab_ops', here);
END
$$;

ALTER SCHEMA public OWNER TO pinelab_owner;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO pinelab_app, pinelab_ops;

-- Who may use which table is granted after each migration, table by table; a new function is
-- nobody's until the migration that makes it grants it.
ALTER DEFAULT PRIVILEGES FOR ROLE pinelab_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
