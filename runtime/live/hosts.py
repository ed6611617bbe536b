"""Whether a request was meant for this server: what keeps a web page on the internet from using a local one."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

LOOPBACK = "127.0.0.1"


def refusal(listens_on: str, client: str, headers: Any) -> str | None:
    """Why a request is not answered; None if it is.

    Args:
        listens_on: the host that the server was told to listen on; where that is this machine alone, other addresses
            are refused.
        headers: a mapping of its headers by their names in small letters, or regardless of case.
    """
    host, origin = headers.get("host"), headers.get("origin")
    if is_loopback(listens_on) and not is_loopback(client):
        return "This page is for the machine that it runs on."
    if not host_is_ours(host, listens_on):
        return "This page does not go by that name."
    foreign = headers.get("sec-fetch-site") in ("cross-site", "same-site")
    if foreign and headers.get("sec-fetch-mode") != "navigate":  # a link elsewhere may lead here
        return "Another site may not use this page."
    if origin is not None and origin.partition("://")[2] != host:
        return "Another site may not use this page."
    return None


def is_loopback(host: str) -> bool:
    """Whether an address, or ``localhost``, is reachable from this machine alone."""
    return host == "localhost" or (_is_address(host) and ip_address(host).is_loopback)


def host_is_ours(header: str | None, listens_on: str) -> bool:
    """Whether a request's Host header, with or without a port, names this server.

    A page that points its own domain name at this machine (DNS rebinding) sends that name. So only names that no one
    else can own are accepted: numeric addresses, ``localhost``, and the name that the server was told to listen on.
    """
    name = (header or "").lower()
    name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
    if is_loopback(listens_on):
        return is_loopback(name)
    return name in ("localhost", listens_on.lower()) or _is_address(name)


def in_url(host: str) -> str:
    """A host as it is written in a URL, where IPv6 wants brackets."""
    return f"[{host}]" if ":" in host else host


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
