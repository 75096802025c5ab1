-- Limits that are too small: hit in several instances of a workload, by processes of which half were younger than an hour.
-- A process that is killed after days rather leaks memory.
SELECT
  workload,
  memory_limit,
  count(DISTINCT (node, incident)) AS incidents,
  count(DISTINCT instance) AS instances,
  quantile_disc(lifetime_s, 0.5) AS median_lifetime_s,
  max(resident) AS most_resident
FROM kills
WHERE scope = 'memcg' AND verdict = 'killed' AND limit_owner IN ('container', 'pod', 'job', 'unit')
GROUP BY workload, memory_limit
HAVING incidents >= 3 AND instances >= 2 AND median_lifetime_s < 3600
ORDER BY incidents DESC, workload, memory_limit;
