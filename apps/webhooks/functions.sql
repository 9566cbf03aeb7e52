-- The whole of what the intake's role may do: store what arrived, and note what was refused.

-- Whose address is this? The token's own endpoint, or within the overlap of a rotation the one
-- that had it before.
CREATE OR REPLACE FUNCTION app.endpoint_of(token bytea, moment timestamptz)
RETURNS TABLE (endpoint_id uuid, tenant_id uuid)
LANGUAGE sql STABLE AS $$
  (SELECT e.id, e.tenant_id FROM public.webhooks_endpoint e
   WHERE e.token_digest = token AND e.deleted_at IS NULL
   UNION ALL
   SELECT e.id, e.tenant_id FROM public.webhooks_endpoint e
   WHERE e.previous_token_digest = token AND e.previous_token_until > moment
     AND e.deleted_at IS NULL)
  LIMIT 1
$$;

-- Stores a batch of alerts in one commit and answers one row per message: 'stored', 'repeat'
-- (the same bytes at the same endpoint within the window; with the first one's id) or 'unknown'
-- (no endpoint has this token). A batch may be sent again whole: what it stored stays stored,
-- under the same ids. Times are the database's; one batch's alerts keep their order by them.
--
-- An index is always right here, and one plan for any batch: a few rows are looked for, whatever
-- the tables' size was when the plan was made, and making it costs more than a small batch.
CREATE OR REPLACE FUNCTION app.store_alerts(
  alert_ids uuid[], token_digests bytea[], bodies bytea[], content_types text[],
  source_ips text[], resend_window interval
) RETURNS TABLE (place integer, outcome text, alert_id uuid, tenant_id uuid)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
  arrived timestamptz := clock_timestamp();
  answered integer;
BEGIN
  -- The unique row of webhooks_recentbody decides which of several equal sends is the alert:
  -- an insert, or an update of a row that is older than the window, wins. Rows are taken in one
  -- order, so that two batches cannot deadlock.
  RETURN QUERY
  WITH incoming AS MATERIALIZED (
    SELECT i.place, i.id, i.body, i.content_type, i.source_ip, sha256(i.body) AS digest,
      e.endpoint_id, e.tenant_id
    FROM unnest(alert_ids, token_digests, bodies, content_types, source_ips)
      WITH ORDINALITY AS i (id, token, body, content_type, source_ip, place)
    LEFT JOIN LATERAL app.endpoint_of(i.token, arrived) e ON true
  ), won AS (
    INSERT INTO webhooks_recentbody AS r (id, tenant_id, endpoint_id, digest, alert_id, at)
    SELECT id, tenant_id, endpoint_id, digest, id, arrived FROM (
      SELECT DISTINCT ON (endpoint_id, digest) * FROM incoming
      WHERE endpoint_id IS NOT NULL ORDER BY endpoint_id, digest, place
    ) AS firsts
    ON CONFLICT (tenant_id, endpoint_id, digest) DO UPDATE
      SET alert_id = excluded.alert_id, at = excluded.at
      WHERE r.at <= excluded.at - resend_window AND r.alert_id <> excluded.alert_id
    RETURNING r.alert_id
  ), kept AS (
    INSERT INTO webhooks_alert
      (id, tenant_id, endpoint_id, body, content_type, source_ip, received_at)
    SELECT i.id, i.tenant_id, i.endpoint_id, i.body, i.content_type,
      nullif(i.source_ip, '')::inet, arrived + i.place * interval '1 microsecond'
    FROM incoming i JOIN won ON won.alert_id = i.id
  )
  SELECT i.place::integer, CASE WHEN won.alert_id IS NULL THEN 'unknown' ELSE 'stored' END,
    won.alert_id, i.tenant_id
  FROM incoming i LEFT JOIN won ON won.alert_id = i.id
  WHERE won.alert_id IS NOT NULL OR i.endpoint_id IS NULL;

  GET DIAGNOSTICS answered = ROW_COUNT;
  IF answered > 0 THEN
    -- Wakes the pipeline at the commit; now and then for an unknown token alone.
    PERFORM pg_notify('pinelab_alerts', '');
  END IF;
  IF answered = cardinality(alert_ids) THEN
    RETURN;
  END IF;

  -- A statement of its own, and so a fresh snapshot: it sees the winners of other batches too.
  RETURN QUERY
  WITH again AS MATERIALIZED (
    SELECT i.place, i.id, e.tenant_id, r.alert_id, r.at
    FROM unnest(alert_ids, token_digests, bodies) WITH ORDINALITY AS i (id, token, body, place)
    JOIN LATERAL app.endpoint_of(i.token, arrived) e ON true
    JOIN webhooks_recentbody r ON r.tenant_id = e.tenant_id AND r.endpoint_id = e.endpoint_id
      AND r.digest = sha256(i.body)
    -- Not those that were answered above.
    WHERE r.alert_id <> i.id OR r.at <> arrived
  ), counted AS (
    INSERT INTO webhooks_repeat AS c (id, tenant_id, alert_id, count, last_at)
    SELECT gen_random_uuid(), tenant_id, alert_id, count(*), arrived
    FROM again WHERE alert_id <> id
    GROUP BY tenant_id, alert_id ORDER BY alert_id
    ON CONFLICT (tenant_id, alert_id) DO UPDATE
      SET count = c.count + excluded.count, last_at = excluded.last_at
  )
  SELECT place::integer, CASE WHEN alert_id = id THEN 'stored' ELSE 'repeat' END,
    alert_id, tenant_id
  FROM again;
END $$;

-- Counts refused requests (too large, too many, ...) where the token is a known one.
CREATE OR REPLACE FUNCTION app.note_refusals(
  token_digests bytea[], refusal_codes text[], statuses smallint[], counts integer[]
) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
  INSERT INTO webhooks_refusal AS r
    (id, tenant_id, endpoint_id, minute, code, status, count, last_at)
  SELECT gen_random_uuid(), e.tenant_id, e.endpoint_id, date_trunc('minute', clock_timestamp()),
    i.code, min(i.status), sum(i.n), clock_timestamp()
  FROM unnest(token_digests, refusal_codes, statuses, counts) AS i (token, code, status, n)
  JOIN LATERAL app.endpoint_of(i.token, clock_timestamp()) e ON true
  GROUP BY e.tenant_id, e.endpoint_id, i.code
  ORDER BY e.endpoint_id, i.code
  ON CONFLICT (tenant_id, endpoint_id, minute, code) DO UPDATE
    SET count = r.count + excluded.count, last_at = excluded.last_at
$$;

-- Also from the application's roles, which default privileges let execute every new function.
REVOKE ALL ON FUNCTION
  app.store_alerts(uuid[], bytea[], bytea[], text[], text[], interval),
  app.note_refusals(bytea[], text[], smallint[], integer[]),
  app.endpoint_of(bytea, timestamptz)
FROM PUBLIC, pinelab_app, pinelab_ops;
GRANT EXECUTE ON FUNCTION
  app.store_alerts(uuid[], bytea[], bytea[], text[], text[], interval),
  app.note_refusals(bytea[], text[], smallint[], integer[])
TO pinelab_hooks;
