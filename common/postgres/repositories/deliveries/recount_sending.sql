-- Recount the deliveries being sent to each origin, and derive anew which origins are at their
-- limit: dispatchers die, and the limit changes.
--
-- Everything is read in one snapshot, and a row is updated only if its version (xmin) is the one
-- read: a row updated meanwhile is right, or is corrected by the next recount.

WITH counted AS (
    SELECT deliveries.tenant_id, deliveries.origin, count(*) AS number
    FROM deliveries
    WHERE deliveries.state = 'sending'
    GROUP BY deliveries.tenant_id, deliveries.origin
),

derived AS (
    SELECT
        tenant_origins.tenant_id,
        tenant_origins.origin,
        tenant_origins.xmin AS version,
        tenant_origins.sending AS recorded_sending,
        tenant_origins.held_until AS recorded_held_until,
        coalesce(counted.number, 0) AS sending,
        CASE
            WHEN tenant_origins.open_until > '-infinity' THEN tenant_origins.open_until
            WHEN coalesce(counted.number, 0) >= CAST(:per_origin AS integer) THEN 'infinity'
            ELSE '-infinity'
        END AS held_until
    FROM tenant_origins
    LEFT JOIN counted
        ON counted.tenant_id = tenant_origins.tenant_id
        AND counted.origin = tenant_origins.origin
),

wrong AS (
    SELECT *
    FROM derived
    WHERE recorded_sending <> sending OR recorded_held_until <> held_until
)

UPDATE tenant_origins
SET sending = wrong.sending,
    held_until = wrong.held_until
FROM wrong
WHERE tenant_origins.tenant_id = wrong.tenant_id
  AND tenant_origins.origin = wrong.origin
  AND tenant_origins.xmin = wrong.version
