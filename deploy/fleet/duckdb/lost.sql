-- Nodes that lost events: kills without a line, records lost before oomtrace read them (their kills are backfilled or
-- among the lost ones), and lines that an output had no room for.
WITH lines AS (
  SELECT DISTINCT ON (host.name, event, id)
    host.name AS node,
    observed,
    lost.count AS lost_kills,
    dropped_before AS dropped_records,
    output_dropped_before AS dropped_lines
  FROM oomtrace
)
SELECT
  node,
  coalesce(sum(lost_kills), 0) AS lost_kills,
  coalesce(sum(dropped_records), 0) AS dropped_records,
  coalesce(sum(dropped_lines), 0) AS dropped_lines,
  max(observed) AS last
FROM lines
WHERE lost_kills IS NOT NULL OR dropped_records IS NOT NULL OR dropped_lines IS NOT NULL
GROUP BY node
ORDER BY lost_kills DESC, dropped_records DESC, dropped_lines DESC, node;
