"""Which IP addresses may be reached: the rules, apart from names and URLs."""

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Instance metadata hands out credentials to whoever asks. Most clouds serve it link-local; these do not.
_METADATA = frozenset(
    map(ipaddress.ip_address, ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "192.0.0.192", "168.63.129.16"))
)
_THIS_NETWORK = ipaddress.IPv4Network("0.0.0.0/8")
_BROADCAST_AND_RESERVED = ipaddress.IPv4Network("240.0.0.0/4")
_LOCAL_CONTROL = ipaddress.IPv4Network("224.0.0.0/24")  # RFC 5771, 4
_LINK_SCOPE = 2  # RFC 4291, 2.7: 0 is reserved, 1 the interface, 2 the link
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052; how IPv6-only networks reach IPv4
# Other IPv6 ranges with an IPv4 address inside: compatible (RFC 4291), mapped, translated (RFC 2765), 6to4,
# Teredo, local NAT64 (RFC 8215). Nobody needs them to name a host, and filters tend to overlook them.
_EMBEDDING = tuple(
    map(
        ipaddress.IPv6Network,
        ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "2002::/16", "2001::/32", "64:ff9b:1::/48"),
    )
)


def refusal(address: Address, allow_private: bool, *, groups: bool = False) -> str | None:
    """Why `address` may not be reached; None when it may.

    With `groups` multicast addresses may, but for those that never leave the link.

    Loopback and private networks need `allow_private`; link-local, multicast, unspecified, reserved and metadata
    addresses are never reached, and neither are IPv6 spellings of IPv4 addresses (NAT64 counts as what is inside).
    """
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return refusal(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF), allow_private)
        if address.is_unspecified:
            return "is the unspecified address"
        if not address.is_loopback and any(address in network for network in _EMBEDDING):
            return "is an IPv6 spelling of an IPv4 address"
        if address.is_site_local:  # fec0::/10, deprecated; is_private misses it
            return None if allow_private else "is in a private network"
    elif address in _THIS_NETWORK:
        return "is the unspecified address"
    if groups and address.is_multicast:
        return "is for the protocols of routers and hosts" if _is_of_the_link(address) else None
    if address in _METADATA:
        return "is a metadata service"
    if address.is_link_local:
        return "is link-local"
    if address.is_multicast:
        return "is multicast"
    if isinstance(address, ipaddress.IPv4Address) and address in _BROADCAST_AND_RESERVED:
        return "is reserved"
    if address.is_loopback:
        return None if allow_private else "is this machine"
    if not address.is_global:
        return None if allow_private else "is in a private network"
    return None


def _is_of_the_link(group: Address) -> bool:
    if isinstance(group, ipaddress.IPv6Address):
        return group.packed[1] & 0x0F <= _LINK_SCOPE
    return group in _LOCAL_CONTROL


def refusal_to_listen(address: Address, multicast: bool) -> str | None:
    """Why nothing may be received at `address`; None when it may.

    All addresses of this machine, and private ones; with `multicast` groups too.
    """
    if address.is_unspecified or (multicast and address.is_multicast):
        return None
    return refusal(address, allow_private=True)
