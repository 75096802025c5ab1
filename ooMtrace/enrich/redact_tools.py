# SPDX-License-Identifier: Apache-2.0
"""Programs whose options or operands are secrets without saying so, from their manual pages. A table, no code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Form = Literal["glued", "next", "exact", "operand"]


@dataclass(frozen=True, slots=True)
class Convention:
    """Where a program takes a secret.

    Attributes:
        flag: The option. Of an operand: the subcommand before it, or "".
        form: `glued`: in the same word only (`-px`); `exact`: in the next word only, or after `=`; `next`: either;
            `operand`: without an option.
        nth: Of an operand: which one after `flag`; 0 is every one.
        after: The secret begins after the first of these characters (`user:x`); "": at once.
        needs: A word that must come before, such as the subcommand; "": none.
    """

    flag: str
    form: Form
    nth: int = 0
    after: str = ""
    needs: str = ""


def _glued(*flags: str) -> tuple[Convention, ...]:
    return tuple(Convention(flag, "glued") for flag in flags)


def _next(*flags: str, after: str = "", needs: str = "") -> tuple[Convention, ...]:
    return tuple(Convention(flag, "next", after=after, needs=needs) for flag in flags)


def _exact(*flags: str, after: str = "") -> tuple[Convention, ...]:
    return tuple(Convention(flag, "exact", after=after) for flag in flags)


def _operand(nth: int, *, of: str = "", after: str = "", needs: str = "") -> tuple[Convention, ...]:
    return (Convention(of, "operand", nth, after, needs),)


LOGIN = _next("-p", "-t", needs="login")
ORACLE = (*_operand(0, after="/"), *_exact("userid", "USERID", after="/"))
CREDS = _exact("--creds", "--src-creds", "--dest-creds", after=":")
CURL = (
    *_next("-u", "-U", after=":"),
    *_exact("--user", "--proxy-user", after=":"),
    *_next("-b", after="="),
    *_exact("--cookie", after="="),
    *_exact("--oauth2-bearer", "--pass", "--proxy-pass", "--tlspassword"),
)
SAMBA = (*_next("-U", after="%"), *_exact("--user", after="%"))
SNMP = _next("-c", "-A", "-X", "-Z")
OPENSSL = _exact("-k", "-K", "-hmac", "-psk", "-srppass", "-nameopt_secret")
ARCHIVE = _glued("-p", "-hp")
SQLSERVER = _next("-P")
USERS = (*_next("-p"), *_exact("--password"))

PROGRAMS: Mapping[str, tuple[Convention, ...]] = {
    # `mysql -p x` asks for the password: x is the database.
    **dict.fromkeys(("mysql", "mysqldump", "mysqladmin", "mysqlimport", "mysqlcheck", "mysqlshow"), _glued("-p")),
    **dict.fromkeys(("mysqlslap", "mysqlbinlog", "mysqlpump", "mysql_upgrade", "mysqlsh", "mysqlrouter"), _glued("-p")),
    **dict.fromkeys(("mariadb", "mariadb-dump", "mariadb-admin", "mariadb-import", "mariadb-check"), _glued("-p")),
    **dict.fromkeys(("xtrabackup", "mariabackup", "mariadb-backup", "innobackupex", "pt-query-digest"), _glued("-p")),
    **dict.fromkeys(("mydumper", "myloader", "mycli", "sshpass", "proxysql-admin"), _next("-p")),
    **dict.fromkeys(("mongo", "mongosh", "mongodump", "mongorestore", "mongoexport", "mongoimport"), _next("-p")),
    **dict.fromkeys(("mongostat", "mongotop", "mongofiles", "bsondump"), _next("-p")),
    **dict.fromkeys(("redis-cli", "valkey-cli", "keydb-cli", "redis-benchmark"), (*_next("-a"), *_exact("--pass"))),
    **dict.fromkeys(("psql", "pg_dump", "pg_restore", "pg_basebackup", "createdb", "pgbench", "vacuumdb"), ()),
    **dict.fromkeys(("ssh", "scp", "rsync", "docker-compose", "ps", "kill", "gdb", "strace", "perf", "lsof"), ()),
    **dict.fromkeys(
        ("sqlcmd", "bcp", "tsql", "osql", "mosquitto_pub", "mosquitto_sub", "zip", "vmware-cmd"), SQLSERVER
    ),
    **dict.fromkeys(("unzip", "zipcloak", "ipmitool", "fence_ipmilan"), _next("-P")),
    **dict.fromkeys(("7z", "7za", "7zr", "7zz", "rar", "unrar"), ARCHIVE),
    "ipmiutil": _next("-P"),
    **dict.fromkeys(("ldapsearch", "ldapadd", "ldapmodify", "ldapdelete", "ldapwhoami", "ldapcompare"), _next("-w")),
    **dict.fromkeys(("ldappasswd", "ldapexop", "ldapmodrdn"), _next("-w", "-s", "-a")),
    **dict.fromkeys(("curl", "xh"), CURL),
    **dict.fromkeys(("http", "https"), _exact("-a", "--auth", after=":")),
    "wget": _exact("--password"),
    "etcdctl": _exact("--user", after=":"),
    **dict.fromkeys(("smbclient", "rpcclient", "smbget", "smbcacls", "smbmap", "winexe"), SAMBA),
    "net": (*SAMBA, *_operand(2, of="use"), *_operand(3, of="use"), *_operand(2, of="user")),
    "lftp": _next("-u", after=","),
    "openssl": OPENSSL,
    "htpasswd": (
        *(
            rule
            for flag in ("-b", "-bB", "-Bb", "-cb", "-bc", "-cbB", "-Bbc", "-bcB", "-ib", "-mb", "-bm", "-sb", "-db")
            for rule in _operand(3, needs=flag)
        ),
        *(
            rule
            for flag in ("-nb", "-bn", "-nbB", "-nBb", "-Bbn", "-bnB", "-bBn", "-nbm", "-nbs")
            for rule in _operand(2, needs=flag)
        ),
    ),
    **dict.fromkeys(("useradd", "usermod", "groupadd", "groupmod"), USERS),
    "wpa_passphrase": _operand(2),
    "rclone": (
        *_exact("pass", "password", "secret_access_key", "token"),
        *_operand(1, of="obscure"),
        *_operand(1, of="reveal"),
    ),
    **dict.fromkeys(
        ("mc", "mcli"), (*_operand(3, of="set"), *_operand(4, of="set"), *_operand(3, of="add"), *_operand(4, of="add"))
    ),
    **dict.fromkeys(
        ("vault", "bao"),
        (
            *_operand(1, of="login"),
            *_operand(1, of="unseal"),
            *_operand(2, of="put", after="="),
            *_operand(3, of="put", after="="),
            *_operand(4, of="put", after="="),
            *_operand(1, of="unwrap"),
            *_exact("-token", "-token-only"),
        ),
    ),
    "rabbitmqctl": (
        *_operand(2, of="add_user"),
        *_operand(2, of="change_password"),
        *_operand(2, of="authenticate_user"),
    ),
    **dict.fromkeys(("sqlplus", "expdp", "impdp", "exp", "imp", "rman", "sqlldr", "sqlcl", "tnsping"), ORACLE),
    **dict.fromkeys(("isql", "iusql"), _operand(3)),
    "db2": _exact("using"),
    **dict.fromkeys(("snmpget", "snmpwalk", "snmpset", "snmpbulkwalk", "snmpgetnext", "snmptable"), SNMP),
    **dict.fromkeys(("snmptrap", "snmpbulkget", "snmpinform", "snmpstatus", "snmpdf"), SNMP),
    "aws": tuple(
        rule
        for word in ("aws_secret_access_key", "aws_session_token", "aws_access_key_id")
        for rule in _operand(1, of=word)
    )
    + _exact("--secret-string", "--secret-binary")
    + _next("--value", needs="put-parameter"),
    "kubectl": _exact("--from-literal", after="="),
    **dict.fromkeys(
        ("docker", "podman", "nerdctl", "buildah", "skopeo", "helm", "crane", "oras", "ctr"), (*LOGIN, *CREDS)
    ),
    **dict.fromkeys(("az", "oc", "argocd", "cf", "regctl", "flux", "bw", "ibmcloud"), LOGIN),
    "gcloud": _operand(2, of="activate-refresh-token"),
    "gh": _exact("-b", "--body"),
    "glab": _exact("-t"),
    "npm": tuple(rule for rule in _operand(2, of="set")),
    "yarn": _operand(2, of="set"),
    "nmcli": _exact("password", "wifi-sec.psk", "802-11-wireless-security.psk", "wep-key0", "vpn.secrets"),
    **dict.fromkeys(("iwconfig", "iw"), _exact("key")),
    "wg": _exact("private-key", "preshared-key"),
    "ssh-keygen": _exact("-N", "-P"),
    "virsh": _operand(2, of="secret-set-value"),
    "grafana-cli": _operand(1, of="reset-admin-password"),
    "schtasks": _exact("/rp"),
    **dict.fromkeys(
        ("twine", "rabbitmqadmin", "rdesktop", "cqlsh", "hydra", "evil-winrm", "crackmapexec"), _next("-p")
    ),
    **dict.fromkeys(("netexec", "nxc", "stunnel", "ncftpput", "ncftpget", "psexec", "clickhouse-client"), _next("-p")),
    **dict.fromkeys(("xfreerdp", "wfreerdp", "sdl-freerdp"), (*_glued("/p:", "/gp:"), *_exact("/p"))),
    **dict.fromkeys(("pscp", "plink", "psftp", "putty"), _exact("-pw")),
    **dict.fromkeys(("consul", "nomad"), _exact("-token")),
    "keytool": _exact("-storepass", "-keypass", "-srcstorepass", "-deststorepass", "-new"),
    "x11vnc": _exact("-passwd"),
    "ceph": _exact("--key"),
    "steamcmd": _operand(2, of="+login"),
    "tailscale": _exact("--authkey", "--auth-key"),
    "certutil": _exact("-W"),
    "secret-tool": (),
    "swaks": _exact("-ap"),
    "sendemail": _exact("-xp"),
    "samba-tool": (*_operand(2, of="create"), *_operand(2, of="add"), *_operand(2, of="setpassword")),
    "smbpasswd": (*SAMBA, *_operand(2)),
    "pdbedit": _exact("-p"),
    "radtest": (*_operand(2), *_operand(5)),
    "radclient": _operand(3),
    **dict.fromkeys(("ss-server", "ss-local", "ss-redir", "ss-tunnel"), _next("-k")),
    **dict.fromkeys(("ipa-client-install", "freeipa-client-install", "ipa-server-install"), _exact("-w", "-a")),
    "doctl": _exact("-t", "--access-token"),
    "knife": _exact("-P"),
    "sfdx": _exact("-p"),
    "airdecap-ng": _exact("-p", "-w", "-k"),
    "rabbitmq-server": _exact("default_pass"),
    "qpdf": (*_operand(1, of="--encrypt"), *_operand(2, of="--encrypt")),
    "transmission-daemon": _exact("-v"),
    "transmission-remote": _exact("-n", "--auth", after=":"),
    "sudo": (),
    "pkcs11-tool": _exact("--pin", "--so-pin", "-p"),
    "cadaver": (),
}
"""Program -> its conventions. Those without any are listed so that the conventions of others do not apply to them."""

ANY_PROGRAM = (*LOGIN, *_glued("/p:"), *_exact("/p", "/password", "/pwd", "/pass", "/pw"))
"""What holds for programs that are not in the table."""

USER_OPTIONS = frozenset({"-u", "-U", "--user", "--username", "-user", "-username", "-l"})
PASSWORD_OPTIONS = ("-p", "-P")
"""Of programs that are not in the table, `-p x` is a password after `-u name`: unless x is a number, port or path."""

WRAPPER_END = frozenset({"|", "||", "&&", ";", "&", "then", "do", "else"})
"""Words after which another command begins."""
