# SPDX-License-Identifier: Apache-2.0
"""Which proxy a URL is fetched through: HTTP_PROXY, HTTPS_PROXY and NO_PROXY as Go reads them.

Source: golang.org/x/net/http/httpproxy, which all container tools follow.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from pycontain.errors import RegistryError

_PORTS: Final = {"http": 80, "https": 443}


def proxy_for(url: str, environ: Mapping[str, str]) -> str | None:
    """Return the URL of the proxy, None to go directly. Loopback hosts have none.

    Raises:
        RegistryError: The variable does not hold the URL of an HTTP proxy.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    name = f"{parts.scheme}_proxy"
    value = _variable(environ, name)
    # Under CGI, HTTP_PROXY is the request header "Proxy" (CVE-2016-5385).
    if not value or ("REQUEST_METHOD" in environ and parts.scheme == "http"):
        return None
    if is_loopback(host) or _excluded(host, port, _variable(environ, "no_proxy")):
        return None
    proxy = value if "://" in value else f"http://{value}"
    try:
        split = urlsplit(proxy)
        usable = split.scheme in _PORTS and split.hostname and (split.port or 1) > 0
    except ValueError:
        usable = False
    if not usable:  # without its text: it may hold a password
        raise RegistryError(f"{name.upper()} is not the URL of a proxy, such as http://host:3128")
    return proxy


def is_loopback(host: str) -> bool:
    """Tell whether a host, without port and brackets, is this machine by name or address."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _variable(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name.upper()) or environ.get(name) or ""


def _excluded(host: str, port: int, rules: str) -> bool:
    return any(_matches(host, port, rule.strip().lower()) for rule in rules.split(","))


def _matches(host: str, port: int, rule: str) -> bool:
    if rule in {"", "*"}:
        return rule == "*"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    if address is not None and "/" in rule:
        try:
            return address in ipaddress.ip_network(rule, strict=False)
        except ValueError:
            return False
    name, _, wanted = rule.partition(":") if rule.count(":") == 1 else (rule, "", "")
    if wanted and wanted != str(port):
        return False
    if address is not None:
        return host == name.strip("[]")
    # ".example.com" is for subdomains only, "example.com" for itself too.
    domain = name.removeprefix("*")
    return host == domain or host.endswith(domain if domain.startswith(".") else f".{domain}")
