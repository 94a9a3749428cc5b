"""Which addresses `/probe` and a list of discovered targets may name. Standard library only, no resolver."""

import re
from collections.abc import Collection
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network
IPV4_IN_IPV6 = ip_network("64:ff9b::/96")  # NAT64
# A resolver takes such a name for an address: 2130706433, 0x7f.1, 0177.0.0.1
NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0[xX][0-9a-fA-F]*)\.?")


def is_number(host: str) -> bool:
    """The host's last part is a number, so resolvers may take all of it for an address in another spelling."""
    return NUMBER.fullmatch(host) is not None


def is_forbidden(address: IPv4Address | IPv6Address) -> bool:
    """No gateway has such an address: link-local (where clouds keep credentials), multicast, unspecified, reserved."""
    if isinstance(address, IPv6Address):
        inner = _inner(address)
        if inner is not None:
            return is_forbidden(inner)
    return address.is_link_local or address.is_multicast or address.is_unspecified or _is_reserved(address)


def is_allowed(address: IPv4Address | IPv6Address, networks: Collection[Network]) -> bool:
    """The address is in one of the networks."""
    return any(address in network for network in networks)


def connected_address(host: str) -> IPv4Address | IPv6Address:
    """The address that a connect to this text goes to. Raises ValueError for a name, and for an address with a zone."""
    address = ip_address(host)
    if isinstance(address, IPv4Address):
        return address
    if address.scope_id is not None:
        msg = "a zone may be any text"
        raise ValueError(msg)
    return address.ipv4_mapped or address


def _inner(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address within an IPv6 one."""
    if address in IPV4_IN_IPV6:
        return IPv4Address(address.packed[-4:])
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None)


def _is_reserved(address: IPv4Address | IPv6Address) -> bool:
    return isinstance(address, IPv4Address) and address.is_reserved  # 240.0.0.0/4, the broadcast address among them
