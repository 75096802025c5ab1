-- One row for each kill in the table `oomtrace`; a line that was delivered twice counts once.
CREATE OR REPLACE VIEW kills AS
SELECT DISTINCT ON (host.name, id)
  id,
  coalesce(time, observed) AS killed_at,
  host.name AS node,
  oom.incident AS incident,
  oom.verdict AS verdict,
  oom.scope AS scope,
  oom.limit_owner AS limit_owner,
  oom.memcg.limit AS memory_limit,
  -- what somebody is responsible for, as far as it is known: pods of one Deployment are one workload
  coalesce(
    coalesce(k8s.namespace.name || '/', '') || coalesce(k8s.workload.name, k8s.pod.name, k8s.pod.uid),
    container.name,
    scheduler.system || ' ' || scheduler.id,
    systemd.unit,
    cgroup.path,
    process.comm
  ) AS workload,
  coalesce(k8s.pod.uid, container.id, host.name || ' ' || cgroup.path) AS instance,
  process.comm AS comm,
  process.memory.anon + process.memory.file + process.memory.shmem AS resident,
  (epoch_us(time) - epoch_us(process.creation.time)) // 1000000 AS lifetime_s
FROM oomtrace
WHERE event = 'oom_kill';
