"""Whether a request was meant for this server: what keeps a web page on the internet from reading a local one."""

from __future__ import annotations

from ipaddress import ip_address

LOOPBACK = "127.0.0.1"


def is_loopback(host: str) -> bool:
    """Whether an address, or ``localhost``, is reachable from this machine alone."""
    return host == "localhost" or (_is_address(host) and ip_address(host).is_loopback)


def host_is_ours(header: str | None, told: str) -> bool:
    """Whether a request's Host header names this server.

    A page that points its own domain name at this machine (DNS rebinding) sends that name. So only names that no one
    else can own are accepted: numeric addresses, ``localhost``, and the name that the server was told to listen on.

    Args:
        header: the Host header, with or without a port; None where it is missing.
        told: the host that the server was told to listen on.
    """
    name = _without_port(header or "").lower()
    if is_loopback(told):
        return is_loopback(name)
    return name in ("localhost", told.lower()) or _is_address(name)


def in_url(host: str) -> str:
    """A host as it is written in a URL, where IPv6 wants brackets."""
    return f"[{host}]" if ":" in host else host


def _without_port(header: str) -> str:
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0]


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
