-- The order's state machine and the append-only books, held by the database itself.
-- The pairs below are those of transitions.py; a test tries every pair through raw SQL.

CREATE OR REPLACE FUNCTION app.guard_order() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF TG_OP = 'DELETE' THEN
    RAISE EXCEPTION 'orders are never deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  IF OLD.status IN ('filled', 'canceled', 'expired', 'rejected', 'denied') THEN
    RAISE EXCEPTION 'order % is closed (%)', OLD.id, OLD.status
      USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.status <> OLD.status AND (OLD.status, NEW.status) NOT IN (
    ('new', 'submitting'), ('new', 'denied'), ('new', 'canceled'), ('new', 'expired'),
    ('submitting', 'accepted'), ('submitting', 'partially_filled'), ('submitting', 'filled'),
    ('submitting', 'canceled'), ('submitting', 'expired'), ('submitting', 'rejected'),
    ('submitting', 'unknown'),
    ('unknown', 'new'), ('unknown', 'accepted'), ('unknown', 'partially_filled'),
    ('unknown', 'filled'), ('unknown', 'canceled'), ('unknown', 'expired'),
    ('unknown', 'rejected'),
    ('accepted', 'partially_filled'), ('accepted', 'filled'), ('accepted', 'canceled'),
    ('accepted', 'expired'), ('accepted', 'rejected'),
    ('partially_filled', 'filled'), ('partially_filled', 'canceled'),
    ('partially_filled', 'expired')
  ) THEN
    RAISE EXCEPTION 'order % cannot go from % to %', OLD.id, OLD.status, NEW.status
      USING ERRCODE = 'restrict_violation';
  END IF;
  IF (NEW.client_order_id, NEW.account_id, NEW.instrument_id, NEW.side, NEW.kind, NEW.quantity,
      NEW.limit_price, NEW.stop_price, NEW.tenant_id, NEW.created_at, NEW.reduce_only,
      NEW.parent_id, NEW.role, NEW.deployment_id, NEW.signal_id, NEW.risk, NEW.decision_price)
    IS DISTINCT FROM
     (OLD.client_order_id, OLD.account_id, OLD.instrument_id, OLD.side, OLD.kind, OLD.quantity,
      OLD.limit_price, OLD.stop_price, OLD.tenant_id, OLD.created_at, OLD.reduce_only,
      OLD.parent_id, OLD.role, OLD.deployment_id, OLD.signal_id, OLD.risk, OLD.decision_price)
  THEN
    RAISE EXCEPTION 'the terms of order % are fixed', OLD.id
      USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.filled_quantity < OLD.filled_quantity THEN
    RAISE EXCEPTION 'order % cannot lose fills', OLD.id USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER guard_order BEFORE UPDATE OR DELETE ON public.trading_order
  FOR EACH ROW EXECUTE FUNCTION app.guard_order();

-- Fills are facts.
CREATE OR REPLACE FUNCTION app.refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;

CREATE OR REPLACE TRIGGER facts BEFORE UPDATE OR DELETE ON public.trading_fill
  FOR EACH ROW EXECUTE FUNCTION app.refuse_change();

INSERT INTO public.trading_servicestate (id, is_halted, reason, flattens)
  VALUES (1, false, '', false)
  ON CONFLICT (id) DO NOTHING;
