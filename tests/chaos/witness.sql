-- What the tests could not see from outside: each claim of an order, each send to the paper venue
-- and each halt, noted by triggers in the very transaction that does it. A transaction that never
-- committed leaves no note. pg_xact_commit_timestamp() then says in which order they committed.

CREATE SCHEMA witness;

CREATE TABLE witness.claim (
  order_id uuid, tenant_id uuid, reduce_only boolean, is_child boolean, halted boolean,
  transaction xid DEFAULT pg_current_xact_id()::xid, at timestamptz DEFAULT clock_timestamp()
);
CREATE TABLE witness.send (
  client_order_id text, tenant_id uuid, status text, has_passed_risk boolean,
  is_committed_before boolean, at timestamptz DEFAULT clock_timestamp()
);
-- Null: the whole service.
CREATE TABLE witness.halt (
  tenant_id uuid, is_halted boolean,
  transaction xid DEFAULT pg_current_xact_id()::xid, at timestamptz DEFAULT clock_timestamp()
);

CREATE FUNCTION witness.see_claim() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  INSERT INTO witness.claim (order_id, tenant_id, reduce_only, is_child, halted)
  VALUES (
    NEW.id, NEW.tenant_id, NEW.reduce_only, NEW.parent_id IS NOT NULL,
    EXISTS (SELECT FROM trading_servicestate WHERE is_halted)
      OR EXISTS (SELECT FROM trading_tradingstate s
                 WHERE s.tenant_id = NEW.tenant_id AND s.is_halted)
  );
  RETURN NEW;
END $$;
CREATE TRIGGER see_claim AFTER UPDATE ON public.trading_order FOR EACH ROW
  WHEN (NEW.status = 'submitting' AND OLD.status <> 'submitting')
  EXECUTE FUNCTION witness.see_claim();

-- BEFORE, so that a send of a name that the venue has already is noted too.
CREATE FUNCTION witness.see_send() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  INSERT INTO witness.send (client_order_id, tenant_id, status, has_passed_risk,
                            is_committed_before)
  SELECT NEW.client_order_id, NEW.tenant_id, o.status, coalesce((o.risk->>'passed')::boolean, false),
    o.xmin <> pg_current_xact_id()::xid
  FROM (VALUES (1)) AS one (n)
  LEFT JOIN trading_order o
    ON o.tenant_id = NEW.tenant_id AND o.client_order_id = NEW.client_order_id;
  RETURN NEW;
END $$;
CREATE TRIGGER see_send BEFORE INSERT ON public.trading_paperorder FOR EACH ROW
  EXECUTE FUNCTION witness.see_send();

CREATE FUNCTION witness.see_halt() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  INSERT INTO witness.halt (tenant_id, is_halted)
  VALUES (nullif(to_jsonb(NEW)->>'tenant_id', '')::uuid, NEW.is_halted);
  RETURN NEW;
END $$;
CREATE TRIGGER see_halt AFTER INSERT OR UPDATE ON public.trading_tradingstate FOR EACH ROW
  EXECUTE FUNCTION witness.see_halt();
CREATE TRIGGER see_halt AFTER INSERT OR UPDATE ON public.trading_servicestate FOR EACH ROW
  EXECUTE FUNCTION witness.see_halt();
