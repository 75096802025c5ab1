-- Workloads with at least three incidents within some 24 hours, the worst first.
WITH incidents AS (
  SELECT workload, node, incident, min(killed_at) AS started_at, toUnixTimestamp(min(killed_at)) AS second
  FROM kills
  GROUP BY workload, node, incident
),
counted AS (
  SELECT
    workload,
    started_at,
    count() OVER (PARTITION BY workload ORDER BY second RANGE BETWEEN 86400 PRECEDING AND CURRENT ROW) AS within_a_day
  FROM incidents
)
SELECT
  workload,
  max(within_a_day) AS most_within_a_day,
  count() AS incidents,
  max(started_at) AS last
FROM counted
GROUP BY workload
HAVING most_within_a_day >= 3
ORDER BY most_within_a_day DESC, workload;
