"""Where a request came from: proxies say it, and only those that are known are believed."""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from aiohttp import web

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_FORWARDED_FOR = "X-Forwarded-For"
_FORWARDED = "Forwarded"
"""RFC 7239's: nobody who is asked for here reads it, but who sends it has come through a proxy."""


def client_address(request: web.Request, trusted: Sequence[Network]) -> Address | None:
    """The address that a request came from; None where that is not known.

    Each proxy adds to X-Forwarded-For whom it was asked by, behind what was there already and may be made up. So it is
    read from its end, as far as those who wrote it are trusted.

    Args:
        request: as it came.
        trusted: proxies.
    """
    address = _address(request.remote or "")
    hops = [hop for line in request.headers.getall(_FORWARDED_FOR, []) for hop in line.split(",")]
    if not _is_one_of(address, trusted):
        is_forwarded = hops or _FORWARDED in request.headers
        return None if is_forwarded and address and address.is_loopback else address
    while hops and _is_one_of(address, trusted):
        address = _address(hops.pop())
    return None if _is_one_of(address, trusted) else address


def is_local(request: web.Request, trusted: Sequence[Network]) -> bool:
    """Whether a request comes from this machine, and not by way of a proxy on it."""
    address = client_address(request, trusted)
    return address is not None and address.is_loopback


def _address(text: str) -> Address | None:
    try:
        address = ip_address(text.strip())
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_one_of(address: Address | None, networks: Iterable[Network]) -> bool:
    return address is not None and any(address in network for network in networks)
