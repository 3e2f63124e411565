"""The settings of encrypted HTTP connections."""

from __future__ import annotations

import ssl

from modelport.client.options import TLS
from modelport.errors import ClientError


def context(tls: TLS | None) -> ssl.SSLContext:
    """Read the certificates.

    Raises:
        ClientError: a file cannot be read, or is not what it should be.
    """
    tls = tls or TLS()
    path = tls.ca
    try:
        made = ssl.create_default_context(cafile=path)
        made.set_alpn_protocols(["http/1.1"])
        if tls.certificate:
            path = tls.certificate
            made.load_cert_chain(tls.certificate, tls.key)
    except OSError as error:  # ssl.SSLError is one
        why = error.strerror or str(error)
        raise ClientError(
            f"cannot use {str(path)!r}: {why}",
            cause="it is missing, no PEM file, or the key is not the certificate's",
            next_step="see the files that TLS(…) names",
        ) from error
    return made
