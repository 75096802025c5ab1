# SPDX-License-Identifier: Apache-2.0
"""TLS for outputs: the other side's certificate is always verified."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping

from ooMtrace.errors import SinkError
from ooMtrace.output.sink import LaterError
from ooMtrace.output.stream_socket import open_tcp


def client_context(name: str, options: Mapping[str, str]) -> ssl.SSLContext:
    """Return the settings of a client.

    Args:
        name: Of the output, for messages.
        options: `ca` is a file of certificates to trust instead of the system's, `cert` and `key` are our own.

    Raises:
        SinkError: A file cannot be read, or is not what it should be.
    """
    ca, cert, key = (options.get(option) for option in ("ca", "cert", "key"))
    if key and not cert:
        raise SinkError(f"{name}: there is a key and no cert", "add cert=FILE")
    try:
        context = ssl.create_default_context(cafile=ca)
    except (OSError, ValueError) as error:
        raise SinkError(f"{name}: {ca}: {_reason(error)}", "ca= takes a file of PEM certificates") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if cert:
        try:
            context.load_cert_chain(cert, key)
        except (OSError, ValueError) as error:
            fact = f"{name}: {cert}{f', {key}' if key else ''}: {_reason(error)}"
            raise SinkError(
                fact, "cert= and key= take PEM files that belong together, the key without a password"
            ) from error
    return context


def open_tls(name: str, host: str, port: int, context: ssl.SSLContext, server_name: str) -> socket.socket:
    """Return a connection whose other side has proved that it is `server_name`.

    Raises:
        LaterError: It has not, and nothing was sent; or there is no TLS there.
        OSError: There is no connection.
    """
    connection = open_tcp(host, port)
    try:
        connection.settimeout(10)
        secured = context.wrap_socket(connection, server_hostname=server_name)
        secured.settimeout(None)
    except ssl.SSLError as error:
        connection.close()
        raise LaterError(refusal(name, error)) from error
    except BaseException:
        connection.close()
        raise
    return secured


def refusal(name: str, error: ssl.SSLError) -> str:
    """Return what is wrong with the other side."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"{name}: the certificate is refused ({error.verify_message.rstrip('.')}), nothing was sent"
    return f"{name}: no TLS connection ({_reason(error)}), nothing was sent"


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "not in PEM format").replace("_", " ").lower()
    return (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__
