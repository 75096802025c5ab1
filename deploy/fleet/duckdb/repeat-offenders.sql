-- Workloads with at least three incidents within some 24 hours, the worst first.
WITH incidents AS (
  SELECT workload, node, incident, min(killed_at) AS started_at, date_trunc('second', min(killed_at)) AS second
  FROM kills
  GROUP BY workload, node, incident
),
counted AS (
  SELECT
    workload,
    started_at,
    count(*) OVER (
      PARTITION BY workload ORDER BY second RANGE BETWEEN INTERVAL 24 HOURS PRECEDING AND CURRENT ROW
    ) AS within_a_day
  FROM incidents
)
SELECT workload, max(within_a_day) AS most_within_a_day, count(*) AS incidents, max(started_at) AS last
FROM counted
GROUP BY workload
HAVING max(within_a_day) >= 3
ORDER BY most_within_a_day DESC, workload;
