-- Kills by workload: processes, runs of the OOM killer, nodes, and whether the workload's own limit or the host was full.
SELECT
  workload,
  count(*) AS kills,
  count(DISTINCT (node, incident)) AS incidents,
  count(DISTINCT node) AS nodes,
  count(*) FILTER (scope = 'memcg') AS at_a_limit,
  count(*) FILTER (scope = 'global') AS host_out_of_memory,
  min(killed_at) AS first,
  max(killed_at) AS last
FROM kills
GROUP BY workload
ORDER BY kills DESC, workload;
