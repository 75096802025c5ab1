# SPDX-License-Identifier: Apache-2.0
"""Secrets are not in the line; what operators need is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.probe_events import kill

from ooMtrace import record
from ooMtrace.enrich.redact import MASK, redact
from ooMtrace.output.encode import encode
from ooMtrace.record import Connection, Endpoint, Executable, Process


def process(**facts: Any) -> record.OomKill:
    return kill(process=Process(pid=100, **facts))


def titled(text: str) -> record.OomKill:
    return process(title=text)


def connected(**ends: Any) -> record.OomKill:
    return process(connections=(Connection(fd=3, transport="unix", **ends),))


def called(*arguments: str) -> record.OomKill:
    return process(command_args=arguments)


S = "hUnter2xQ7"
"""A secret without any shape of its own: what `$` stands for in these tables."""
LONG = "Zx9" * 14
HEX = "0123456789abcdef" * 2
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"

TITLES = [
    "app --password $", "app --password $ --verbose", "app --password=$", "app -password $", 'app --password "$ $" x',
    "app --password '$ cut", "app password=$", "app password = $", "app Password: $", "app DB_PASSWORD=$ x",
    "app 'PGPASSWORD=$' x", "app db_pwd=$,db=x", "app user[password]=$", "app user%5Bpassword%5D=$",
    "app :password=>'$'", "app {'secret': '$'}", 'app {"passwords": ["x", "$"]}', "app {token:$}",
    "Server=db;UID=sa;PWD=$;Database=x", "curl -H Authorization: Bearer $ http://host/",
    "curl -H 'Authorization: Basic $=='", "curl -u admin:$ http://host/", "mysql -h db -p$ shop",
    "redis-cli -h db -a $ INFO", "sshpass -p $ ssh host", "beam.smp -sname a -setcookie $ -noshell",
    "java -Djavax.net.ssl.trustStorePassword=$ -jar app.jar", "openssl -passin pass:$", "app bearer $abc",
]  # fmt: skip

ARGUMENTS = [
    # Between the arguments stands a bar.
    "app|--password|$", "app|--password|two words $", "app|--password=two words $", "app|PASSWORD=two words $",
    "app|-token|$", "app|--api-key|$", "app|--apikey|$", "app|--stripe-token|$", "app|--clientSecret|$",
    "app|--requirepass|$", "app|--auth|$", "app|--session=$", "app|--dsn=$", "app|signature=$", "app|credentials=$",
    "app|AWS_SECRET_ACCESS_KEY=$", "app|access_key=$", "app|private-key=$",
    "app|AccountName=x;AccountKey=$==;EndpointSuffix=y", "app|passphrase:$", "app|--set=image=x,db.password=$,y=z",
    "keytool|-storepass|$", 'app|{"user":"x","password":"$"}', r'app|{"password":"a\"$"}',
    r'app|{\"password\":\"a $\"}', 'app|{"auth":"$"}', 'app|{"credentials":{"a":"$"},"b":"c"}',
    "sh|-c|PGPASSWORD=$ psql -h db", "sh|-c|PGPASSWORD='a $' psql -h db", "/usr/bin/mysql|-p$",
    "sudo|mariadb-dump|-h|db|-pa $|shop", "redis-cli|-a|$|PING", "sshpass|-p$|ssh|host",
    "curl|-u|admin:$|http://host/", "curl|-su|admin:a $|http://host/", "curl|--user=admin:$",
    "curl|-H|Authorization: Digest username=x, response=$", "curl|-H|X-Api-Key: $", "curl|-H|Cookie: a=b; c=$",
    "mongodump|-u|app|-p|$", "7z|a|-p$|x.7z", "ldapsearch|-x|-w|$", "sqlcmd|-U|sa|-P|$", "smbclient|-U|app%$",
    "lftp|-u|app,$|host", "mysql|-e|CREATE USER x IDENTIFIED BY '$'", "psql|-c|ALTER USER x PASSWORD '$'",
    "app|-----BEGIN RSA PRIVATE KEY-----\n$\n-----END RSA PRIVATE KEY-----", "app|-----BEGIN PRIVATE KEY-----\n$",
    "sh|-c|mysqldump -p$ shop; sort x", "sh|-c|app --token $; sort x",
]  # fmt: skip

URLS = [
    "postgres://app:$@db/x", "redis://:$@db:6379/0", "amqp://app:a@$@mq/", "postgres://app:a/$@db/x",
    "smtp://me@example.org:$@mail", "mongodb://app:$@h1,h2/x?y=z", "http://host/x?a=b&access_token=$&c=d",
    "http://host/x?key=$", "http://host/x?X-Amz-Signature=$", "https://host/x?se=2026&sig=$", "app:$@tcp(db:3306)/x",
    "jdbc:oracle:thin:app/$@//db:1521/x", "jdbc:mysql://db/x?user=app&password=$",
    "https://hooks.slack.com/services/T0/B0/$", "https://discord.com/api/webhooks/123/$",
]  # fmt: skip

TOKENS = [
    "AKIA" + "Q7" * 8, "ghp_" + "a1B2" * 9, "github_pat_" + "a1B2" * 9, "glpat-" + "a1B2" * 5,
    "xoxb-" + "12345678-" * 3, "sk_live_" + "a1B2" * 6, "AIza" + "a1B2-" * 7, "npm_" + "a1B2" * 9,
    "pypi-AgEIcHlwaS5vcmc" + "a1B2" * 9, "sk-proj-" + "a1B2" * 9, "hf_" + "a1B2" * 9, "dop_v1_" + HEX * 2,
    "SG." + "a1B2" * 5 + "." + "a1B2" * 9, JWT,
]  # fmt: skip

SECRETS = [
    *((titled(text.replace("$", S)), S, "process.title") for text in TITLES),
    *((called(*text.replace("$", S).split("|")), S, "process.command_args") for text in ARGUMENTS),
    *((called("app", url.replace("$", S)), S, "process.command_args") for url in URLS),
    *((titled(f"app: [{url}] x".replace("$", S)), S, "process.title") for url in URLS),
    (called("app", f"RAILS_MASTER_KEY={HEX}"), HEX, "process.command_args"),
    (titled(f"app token {HEX}"), HEX, "process.title"),
    (called("git", "clone", f"https://{LONG}@github.com/x.git"), LONG, "process.command_args"),
    (called("curl", f"https://{LONG}:@api.example.org"), LONG, "process.command_args"),
    (called("curl", f"https://api.telegram.org/bot123456789:{LONG}/x"), LONG, "process.command_args"),
    *((called("app", "--with", token), token, "process.command_args") for token in TOKENS),
    *((titled(f"app {token}"), token, "process.title") for token in TOKENS),
    (process(environment={"DB_PASSWORD": S}), S, "process.environment"),
    (process(environment={"SESSION_SIGNATURE": f"two words {S}"}), S, "process.environment"),
    (process(environment={"DATABASE_URL": f"postgres://app:{S}@db/x"}), S, "process.environment"),
    (process(environment={"JAVA_OPTS": f"-Xmx1g -Ddb.password={S}"}), S, "process.environment"),
    (process(environment={"HEADERS": f"Authorization: Bearer {S}"}), S, "process.environment"),
    (process(executable=Executable(path=f"/srv/ftp://a:{S}@b/app")), S, "process.executable.path"),
    (process(working_directory=f"/mnt/sftp://app:{S}@host/x"), S, "process.working_directory"),
    *(
        (connected(**{end: Endpoint(address=path)}), S, fact)
        for fact in ("process.connections",)
        for end in ("local", "remote")
        for path in (f"@proxy?token={S}", f"/tmp/http://a:{S}@b.sock")
    ),
]


@pytest.mark.parametrize(("victim", "secret", "fact"), SECRETS)
def test_a_secret_is_not_in_the_line(victim, secret, fact):
    assert secret.encode() in encode(victim)

    scrubbed = redact()(victim)

    assert secret.encode() not in encode(scrubbed)
    assert MASK.encode() in encode(scrubbed)
    assert scrubbed.redacted == (fact,)


@pytest.mark.parametrize("victim", [victim for victim, _, _ in SECRETS])
def test_redacting_twice_changes_nothing_more(victim):
    scrubbed = redact()(victim)

    assert redact()(scrubbed) == scrubbed


HARMLESS_TITLES = [
    "rq:worker:x: Processing send_password_reset from default",
    "rq:worker:refresh-token: Processing app.tokens.refresh from auth since 1700000000",
    "resque-2.6: Processing default since 1700000000 [ResetPasswordJob]",
    "resque-2.6: Processing auth since 1700000000 [Auth::Token::RefreshJob]",
    "postgres: app tokens 10.0.0.1(5432) SELECT",
    "postgres: 15/main: auth secrets [local] idle in transaction",
    "sidekiq 6.4.1 myapp [1 of 5 busy]",
    "[celeryd: celery@auth:ForkPoolWorker-3]",
    "puma: cluster worker 0: 1 [session-service]",
    "gunicorn: worker [secrets.wsgi:app]",
    "php-fpm: pool password-manager",
    "nginx: worker process",
    "solid-queue-worker(1.2): waiting for jobs in token_refresh,password_mails",
    "airflow task runner: rotate_secrets.rotate scheduled__2026-01-01T00:00:00+00:00 123",
    "delayed_job.3 session cleanup",
    "auth: master process",
    "worker: refresh_token: running",
    "rake token:refresh[5]",
    "uvicorn token:app",
    "a bearer of bad news and basic authentication",
    "--password --host db",
]

HARMLESS_OPTIONS = [
    "--token-file /run/t", "--password_file=/run/p", "--secret-path /run/s", "--author x", "--tokenizer fast",
    "tokenizer=fast", "--compass north", "--bypass cache", "--no-auth next", "--auth-method scram", "--auth=true",
    "--auth --port 27017", "--password=", "--password-stdin x", "--secretary x", "--max-tokens 4096",
    "eos_token_id=502", "--max-num-batched-tokens=8192", "--ask-become-pass site.yml", "-pass 1 -af highpass=f=200",
    "-p 8080:80", "--authorization-mode=Node,RBAC", "--authentication-token-webhook-cache-ttl=2m",
    "--password-store=basic", "-c password_encryption=scram-sha-256",
    "-Djava.security.auth.login.config=/etc/jaas.conf *:6379",
    "-cp /lib/auth.jar:/lib/token.jar:/lib/spring-session.jar:x com.example.PasswordReset", "-p 2222 git@github.com",
    "postgres://app@db:5432/shop", "ssh://git@github.com:22/a/b.git", "git+ssh://git@github.com/a/b.git@main",
    "http://localhost:4873/@scope/package", "http://[::1]:8080/@x", "https://host:8443/?a=b#c@d",
    "registry:5000/team/secret:1.2", f"-id {HEX * 2} -namespace moby", HEX + "01234567", "hf_small npm_config",
    "sk-learn-worker-of-the-long-name",
]  # fmt: skip

HARMLESS_ARGUMENTS = [
    *(("app", *options.split(" ")) for options in HARMLESS_OPTIONS),
    ("mysql", "-h", "db", "-P", "3306", "-p", "shop"),
    ("sh", "-c", "cd /srv && PWD=/srv exec app"),
    ("sh", "-c", "mysql shop; app -pattern"),
    ("sh", "-c", "until mysql shop\ndo app -pattern\ndone"),
    ("",),
    (),
]


@pytest.mark.parametrize(
    "victim", [*map(titled, HARMLESS_TITLES), *(called(*arguments) for arguments in HARMLESS_ARGUMENTS)]
)
def test_harmless_text_is_unchanged(victim):
    scrubbed = redact()(victim)

    assert scrubbed == victim
    assert scrubbed.redacted is None


def test_other_harmless_facts_are_unchanged():
    victim = process(
        title="",
        executable=Executable(path="/usr/lib/auth/token-service"),
        working_directory="/srv/secrets",
        environment={"POD_NAME": "auth-0", "PWD": "/srv", "GIT_ASKPASS": "/bin/ask", "TOKEN_FILE": "/run/t", "A": ""},
        connections=(
            Connection(fd=3, transport="unix", remote=Endpoint(address="/run/secrets/token.sock")),
            Connection(fd=4, transport="tcp", remote=Endpoint(address="10.0.0.1", port=5432)),
        ),
    )

    assert redact()(victim) == victim


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (("a", "--url", f"postgres://app:{S}@db:5432/x"), ("a", "--url", f"postgres://app:{MASK}@db:5432/x")),
        (("a", f"http://host/?token={S}&page=2"), ("a", f"http://host/?token={MASK}&page=2")),
        (("curl", "-u", f"admin:{S}", "x"), ("curl", "-u", f"admin:{MASK}", "x")),
        (("mysql", f"-p{S}", "shop"), ("mysql", f"-p{MASK}", "shop")),
        (("mysql.exe", f"-p{S}", "shop"), ("mysql.exe", f"-p{MASK}", "shop")),
        (("a", f'{{"password":"{S}","b":1}}'), ("a", f'{{"password":"{MASK}","b":1}}')),
        (("sh", "-c", f"PGPASSWORD={S} psql -h db"), ("sh", "-c", f"PGPASSWORD={MASK} psql -h db")),
        (("a", "--token", S, "--token", S, "b"), ("a", "--token", MASK, "--token", MASK, "b")),
        (("a", f"A=b;PWD={S};Database=x"), ("a", f"A=b;PWD={MASK};Database=x")),
    ],
)
def test_only_the_secret_is_replaced(before, after):
    assert redact()(called(*before)).process.command_args == after


def test_redacted_lists_facts_in_the_order_of_the_record():
    scrubbed = redact()(process(environment={"TOKEN": S}, command_args=(f"secret={S}",), title=f"secret={S}"))

    assert scrubbed.redacted == ("process.title", "process.command_args", "process.environment")


def test_facts_that_were_redacted_before_stay_listed_in_the_order_of_the_record():
    before = replace(process(title=f"secret={S}", environment={"TOKEN": MASK}), redacted=("process.environment",))

    assert redact()(before).redacted == ("process.title", "process.environment")


@pytest.mark.parametrize(
    ("victim", "withheld"),
    [
        (process(title=S, command_args=(S,)), ("process.title", "process.command_args")),
        (process(title=S), ("process.title",)),
        (process(command_args=(S,)), ("process.command_args",)),
        (process(), ("process.command_args",)),
    ],
)
def test_title_and_arguments_are_withheld_without_cmdline(victim, withheld):
    held = redact(cmdline="none")(victim)

    assert S.encode() not in encode(held)
    assert (held.withheld, held.redacted) == (withheld, None)
    assert "process.command_args" not in record.missing_facts(held)
    assert redact(cmdline="none")(held) == held


def test_full_title_and_arguments_stay_as_they_are():
    victim = process(title=f"app --token={S}", environment={"TOKEN": S})
    full = redact(cmdline="full")(victim)

    assert full.process.title == victim.process.title
    assert (full.redacted, full.process.environment) == (("process.environment",), {"TOKEN": MASK})


def test_what_is_not_withheld_is_still_redacted():
    held = redact(cmdline="none")(process(title=S, environment={"TOKEN": S}))

    assert (held.withheld, held.redacted) == (("process.title",), ("process.environment",))


PIECES = st.sampled_from([
    "--password", "-p", "token", "auth", " ", "=", ":", "://", "@", '"', "'", "\\", "{", "}", "[", ",", ";", "&", "?",
    "*", "mysql", "curl", "-u", "a", "b1", "x.y", "/", "\n", "\0", "-", "--", "_", MASK, "Bearer", "eyJ", "\ud800",
    "é", "-c",
])  # fmt: skip
TEXTS = st.one_of(st.text(), st.lists(PIECES, max_size=30).map("".join))


@settings(deadline=None)  # the work is bounded by tests of their own; a busy machine is no fault
@given(title=TEXTS, arguments=st.lists(TEXTS, max_size=4), name=TEXTS, value=TEXTS)
def test_no_text_raises_and_redacting_once_is_enough(title, arguments, name, value):
    value = value.replace("\0", "")  # where a variable ends, in the memory that it is read from
    connection = Connection(fd=3, transport="unix", local=Endpoint(address=value), remote=Endpoint(address=title))
    victim = process(
        title=title,
        command_args=tuple(arguments),
        environment={name: value},
        connections=(connection,),
    )

    scrubbed = redact()(victim)

    assert redact()(scrubbed) == scrubbed
