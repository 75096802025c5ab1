# SPDX-License-Identifier: Apache-2.0
"""The examples in deploy/pipeline that no test runs agree with documented formats, with oomtrace and with themselves.

The others are run by tests/host/test_pipelines.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.explained import POD, changed
from support.recipes import lines

from ooMtrace.output.url import parse_output
from ooMtrace.record.json_schema import json_schema

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy/pipeline"
README = (FOLDER / "README.md").read_text()
EXAMPLES = sorted(str(file.relative_to(FOLDER)) for file in FOLDER.glob("*/*"))
LOGS = "/var/log/oomtrace"

# from each program's reference of its configuration; a list stands for any name
KEYS: dict[str, Any] = {
    "fluent-bit/fluent-bit.yaml": {
        "parsers": {"name", "format", "time_key", "time_format", "time_keep", "time_offset", "types"},
        "pipeline": {
            "inputs": {
                *("name", "tag", "path", "parser", "db", "read_from_head", "buffer_chunk_size", "buffer_max_size"),
                *("skip_long_lines", "rotate_wait", "refresh_interval", "mem_buf_limit", "storage.type"),
            },
            "outputs": {
                *("name", "match", "host", "port", "uri", "tls", "labels", "label_keys", "remove_keys", "line_format"),
                *("drop_single_key", "tenant_id", "retry_limit"),
            },
        },
    },
    "filebeat/filebeat.yml": {
        "filebeat.inputs": {
            "type": {},
            "id": {},
            "paths": {},
            "parsers": {"ndjson": {"target", "overwrite_keys", "add_error_key", "expand_keys", "message_key"}},
        },
        "output.elasticsearch": {"hosts", "index", "pipeline", "username", "password", "api_key", "ssl"},
        "setup.ilm.enabled": {},
        "setup.template.enabled": {},
    },
    "opentelemetry/collector.yaml": {
        "receivers": {"otlp": {"protocols": {"http": {"endpoint", "tls", "cors"}, "grpc": {"endpoint"}}}},
        "processors": {
            "memory_limiter": {"check_interval", "limit_mib", "limit_percentage", "spike_limit_mib"},
            "resource": {"attributes": {"key", "value", "action", "from_attribute"}},
            "batch": {"timeout", "send_batch_size", "send_batch_max_size"},
        },
        "exporters": {
            "otlphttp": {
                "endpoint": {},
                "sending_queue": {"enabled", "num_consumers", "queue_size", "storage"},
                "retry_on_failure": {"enabled", "initial_interval", "max_interval", "max_elapsed_time"},
            }
        },
        "extensions": {"file_storage": {"directory", "timeout", "create_directory"}},
        "service": {
            "extensions": {},
            "pipelines": {"logs": {"receivers", "processors", "exporters"}},
        },
    },
    "vector/vector.yaml": {
        "data_dir": {},
        "sources": {"oomtrace": {"type", "include", "exclude", "read_from", "max_line_bytes"}},
        "transforms": {
            "oomtrace_lines": {"type", "inputs", "source", "drop_on_error", "drop_on_abort", "reroute_dropped"}
        },
        "sinks": {
            "store": {
                "type": {},
                "inputs": {},
                "endpoint": {},
                "database": {},
                "table": {},
                "skip_unknown_fields": {},
                "date_time_best_effort": {},
                "buffer": {"type", "max_size", "when_full"},
            }
        },
    },
}


def loaded(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text())


def unknown(found: Any, known: Any, path: str = "") -> Iterator[str]:
    """Yield the keys of a file that are not among the known ones; those of list items are those of the list."""
    for item in found if isinstance(found, list) else [found]:
        for key, value in item.items() if isinstance(item, dict) else ():
            if key not in known:
                yield f"{path}{key}"
            elif isinstance(known, dict):
                yield from unknown(value, known[key], f"{path}{key}.")


def value_at(line: Any, expression: str) -> Any:
    """Evaluate a JMESPath of the kind that the examples have: dotted names, and `||`."""
    for path in expression.split(" || "):
        found = reduce(lambda part, name: part.get(name) if isinstance(part, dict) else None, path.split("."), line)
        if found is not None:
            return found
    return None


def urls(text: str) -> list[str]:
    return re.findall(r'"((?:syslog|otlp|unix|file)[+\w]*:[^"]+)"', text)


def test_the_page_has_every_example_and_says_which_are_not_run():
    rows = dict(re.findall(r"^\| \[[^]]+\]\(([^)]+)\) \|[^|]*\| (.*) \|$", README, re.MULTILINE))

    assert sorted(rows) == EXAMPLES
    for name, row in rows.items():
        head = (FOLDER / name).read_text()[:900].lower()
        assert ("not run" in head) == ("not run" in row), name
        assert "test" in head, name


@pytest.mark.parametrize("name", KEYS)
def test_every_key_is_a_documented_one(name):
    assert list(unknown(loaded(name), KEYS[name])) == []
    assert list(unknown({"parsers": [{"tpyes": ""}]}, KEYS["fluent-bit/fluent-bit.yaml"])) == ["parsers.tpyes"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_files_and_outputs_named_are_those_that_oomtrace_writes(name):
    text = (FOLDER / name).read_text()
    for path in re.findall(rf"{LOGS}/[\w.]+", text):
        assert path in (f"{LOGS}/oomtrace.log", f"{LOGS}/ecs.log")
    for url in urls(text):
        parse_output(url)


def test_examples_that_need_another_output_name_it():
    named = {name for name in EXAMPLES if urls((FOLDER / name).read_text())}

    assert named >= {"opentelemetry/collector.yaml", "filebeat/filebeat.yml", "syslog-ng/oomtrace.conf"}
    assert named >= {"rsyslog/file.conf", "rsyslog/server.conf", "vector/vector.yaml"}


def test_fluent_bit_understands_the_times_of_all_lines():
    (parser,) = loaded("fluent-bit/fluent-bit.yaml")["parsers"]
    # %L is a fraction of a second, of any length
    as_python = parser["time_format"].replace("%L", "%f")

    for line in lines():
        if parser["time_key"] in line:
            assert datetime.strptime(line["time"], as_python)


def test_the_collector_uses_what_it_declares_and_listens_where_oomtrace_sends():
    config = loaded("opentelemetry/collector.yaml")
    pipeline = config["service"]["pipelines"]["logs"]
    port = config["receivers"]["otlp"]["protocols"]["http"]["endpoint"].rpartition(":")[2]

    for kind in ("receivers", "processors", "exporters"):
        assert set(pipeline[kind]) == set(config[kind])
    assert pipeline["processors"][0] == "memory_limiter"
    assert config["service"]["extensions"] == list(config["extensions"])
    assert config["exporters"]["otlphttp"]["sending_queue"]["storage"] in config["extensions"]
    assert port == "4318"


def test_vector_uses_what_it_declares():
    config = loaded("vector/vector.yaml")

    assert config["transforms"]["oomtrace_lines"]["inputs"] == list(config["sources"])
    assert config["sinks"]["store"]["inputs"] == list(config["transforms"])


def test_filebeat_takes_the_hosts_time_from_the_line():
    (source,) = loaded("filebeat/filebeat.yml")["filebeat.inputs"]
    (parser,) = source["parsers"]

    assert parser["ndjson"]["target"] == ""
    assert parser["ndjson"]["overwrite_keys"]


ALLOY = (FOLDER / "alloy/config.alloy").read_text()
EXPRESSIONS = dict(re.findall(r'^      (\w+) += "(.+)",$', ALLOY, re.MULTILINE))


def test_alloy_refers_to_components_that_there_are():
    code = re.sub(r"//.*|\"[^\"]*\"", lambda match: match[0] if match[0][0] == '"' else "", ALLOY)
    declared = {f"{kind}.{name}" for kind, name in re.findall(r'^([\w.]+) "(\w+)" \{$', code, re.MULTILINE)}
    used = set(re.findall(r"\b((?:local|loki)\.[\w.]+)\.(?:targets|receiver)\b", code))

    assert {kind.rpartition(".")[0] for kind in declared} == {
        *("local.file_match", "loki.source.file", "loki.process", "loki.write"),
    }
    assert used == {name for name in declared if not name.startswith("loki.source")}
    for opening, closing in ("{}", "[]", "()"):
        assert code.count(opening) == code.count(closing)


def test_alloy_extracts_fields_that_there_are_and_makes_labels_and_metadata_of_them():
    names = {
        kind: set(re.findall(r"(\w+) = \"\"", re.findall(rf"stage.{kind} {{\n    values = {{(.*?)}}", ALLOY)[0]))
        for kind in ("labels", "structured_metadata")
    }
    kill = changed("spike", {**POD, "systemd.unit": "web.service"})
    loss = lines()[-1]

    assert names["labels"] | names["structured_metadata"] | {"time"} == set(EXPRESSIONS)
    assert not names["labels"] & names["structured_metadata"]
    assert {name for name, expression in EXPRESSIONS.items() if value_at(kill, expression) is None} == set()
    assert value_at(loss, EXPRESSIONS["time"]) == loss["observed"]
    assert set(json_schema()["properties"]["event"]["enum"]) >= {value_at(kill, EXPRESSIONS["event"])}
    # Loki refuses more than 15 labels; job is one, and each combination is a stream
    assert len(names["labels"]) + 1 <= 6
