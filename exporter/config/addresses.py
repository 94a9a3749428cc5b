"""Which addresses `/probe` and a list of discovered targets may name. Standard library only, no resolver."""

import re
from collections.abc import Collection
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network
# The last four bytes are the IPv4 address: NAT64, also within a network, and the old form ::a.b.c.d.
IPV4_IN_IPV6 = tuple(map(ip_network, ("64:ff9b::/96", "64:ff9b:1::/48", "::/96")))
# Where clouds keep credentials outside the link-local network: AWS, Google, Alibaba, Oracle, Azure.
METADATA = frozenset(
    map(ip_address, ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "192.0.0.192", "168.63.129.16"))
)
# A resolver takes such a name for an address: 2130706433, 0x7f.1, 0177.0.0.1
NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0[xX][0-9a-fA-F]*)\.?")


def is_number(host: str) -> bool:
    """The host's last part is a number, so resolvers may take all of it for an address in another spelling."""
    return NUMBER.fullmatch(host) is not None


def is_forbidden(address: IPv4Address | IPv6Address) -> bool:
    """No gateway has such an address: where clouds keep credentials, link-local, multicast, unspecified, reserved."""
    if isinstance(address, IPv6Address):
        inner = _inner(address)
        if inner is not None:
            return is_forbidden(inner)
    if address in METADATA or address.is_link_local or address.is_multicast:
        return True
    return address.is_unspecified or _is_reserved(address)


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
    if is_allowed(address, IPV4_IN_IPV6) and not (address.is_loopback or address.is_unspecified):
        return IPv4Address(address.packed[-4:])
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None)


def _is_reserved(address: IPv4Address | IPv6Address) -> bool:
    return isinstance(address, IPv4Address) and address.is_reserved  # 240.0.0.0/4, the broadcast address among them
