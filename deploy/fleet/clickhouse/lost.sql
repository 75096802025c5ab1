-- Nodes that lost events: kills without a line, records lost before oomtrace read them (their kills are backfilled or
-- among the lost ones), and lines that an output had no room for.
SELECT
  host.name AS node,
  sum(ifNull(lost.count, 0)) AS lost_kills,
  sum(ifNull(dropped_before, 0)) AS dropped_records,
  sum(ifNull(output_dropped_before, 0)) AS dropped_lines,
  max(observed) AS last
FROM oomtrace FINAL
WHERE lost.count IS NOT NULL OR dropped_before IS NOT NULL OR output_dropped_before IS NOT NULL
GROUP BY node
ORDER BY lost_kills DESC, dropped_records DESC, dropped_lines DESC, node;
