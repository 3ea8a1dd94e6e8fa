# SPDX-License-Identifier: Apache-2.0
"""Whom to trust: certificate authorities and client certificates, where other tools look for them.

Sources: OpenSSL's SSL_CERT_FILE and SSL_CERT_DIR, requests' REQUESTS_CA_BUNDLE,
containers-certs.d(5), Docker's "Verify repository client with certificates".
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Mapping
from typing import Final

from pycontain.errors import RegistryError

# For an interpreter whose OpenSSL was built for another distribution.
_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
_SYSTEM: Final = ("/etc/containers/certs.d", "/etc/docker/certs.d")


def certs_directory(host: str, environ: Mapping[str, str]) -> str | None:
    """Return the first directory of certificates for a host (with its port, if any), or None."""
    if host.strip(".") == "":
        return None
    home = environ.get("HOME")
    own = [f"{home}/.config/{tool}/certs.d" for tool in ("containers", "docker")] if home else []
    for place in (*own, *_SYSTEM):
        if os.path.isdir(path := os.path.join(place, host)):
            return path
    return None


def context(directory: str | None, environ: Mapping[str, str], *, verify: bool) -> ssl.SSLContext:
    """Return how to speak TLS.

    Args:
        directory: With more authorities and a certificate of ours, or None.
        environ: The environment.
        verify: False: take any certificate.

    Raises:
        RegistryError: A file of certificates cannot be read.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    else:
        _load_authorities(made, environ)
    if directory:
        _load_directory(made, directory)
    return made


def _load_authorities(made: ssl.SSLContext, environ: Mapping[str, str]) -> None:
    if bundle := environ.get("REQUESTS_CA_BUNDLE"):
        _load(made, bundle, "REQUESTS_CA_BUNDLE")
        return
    # As OpenSSL does it, but with the environment that we were given.
    defaults = ssl.get_default_verify_paths()
    folders = (environ.get("SSL_CERT_DIR") or defaults.openssl_capath).split(":")
    found = [folder for folder in folders if os.path.isdir(folder)]
    for folder in found:
        made.load_verify_locations(capath=folder)
    if file := environ.get("SSL_CERT_FILE"):
        _load(made, file, "SSL_CERT_FILE")
        return
    bundles = (defaults.openssl_cafile, *(() if found else _BUNDLES))
    for bundle in filter(os.path.isfile, bundles):
        _load(made, bundle, "the system's certificates")
        return


def _load(made: ssl.SSLContext, path: str, origin: str) -> None:
    try:
        if os.path.isdir(path):
            made.load_verify_locations(capath=path)
        else:
            made.load_verify_locations(cafile=path)
    except (OSError, ssl.SSLError) as error:
        raise RegistryError(
            f"no certificates can be read from {path!r} ({origin}): {_reason(error)}"
        ) from None


def _load_directory(made: ssl.SSLContext, directory: str) -> None:
    """Trust each *.crt; present each *.cert with its *.key."""
    try:
        names = sorted(os.listdir(directory))
    except OSError as error:
        raise RegistryError(f"{directory!r} cannot be read: {error.strerror}") from None
    for path in _with_suffix(directory, names, ".crt"):
        _load(made, path, "a certificate authority")
    for path in _with_suffix(directory, names, ".cert"):
        key = f"{path.removesuffix('.cert')}.key"
        try:
            # An encrypted key must not ask at the terminal.
            made.load_cert_chain(path, key, password="")
        except (OSError, ssl.SSLError, ValueError) as error:
            raise RegistryError(
                f"the client certificate {path!r} with the key {key!r} cannot be used: "
                f"{_reason(error)}"
            ) from None


def _with_suffix(directory: str, names: list[str], suffix: str) -> Iterator[str]:
    return (os.path.join(directory, name) for name in names if name.endswith(suffix))


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason or "not in PEM form"
    return (isinstance(error, OSError) and error.strerror) or str(error)
