//! Which kind of place an IP address is, and whether it may be dialled.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::Rules;

/// Why an address is not an ordinary place on the internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AddressClass {
    /// Where clouds hand out credentials. Refused whatever the rules allow.
    Metadata,
    /// This machine.
    Loopback,
    /// A private network (RFC 1918).
    Private,
    /// A private network of IPv6 (RFC 4193).
    UniqueLocal,
    /// Between a provider and its customers (RFC 6598).
    SharedNat,
    /// The wire itself.
    LinkLocal,
    /// Many at once, or all.
    Multicast,
    /// No address: "this host on this network".
    Unspecified,
    /// For examples.
    Documentation,
    /// For measuring equipment.
    Benchmark,
    /// An IPv6 address with an IPv4 address inside, which a translator on the way would dial for us.
    Embedded,
    /// Anything else that is not ordinary unicast.
    Reserved,
}

impl AddressClass {
    /// A stable word for metrics and records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Metadata => "metadata",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::UniqueLocal => "unique_local",
            Self::SharedNat => "shared_nat",
            Self::LinkLocal => "link_local",
            Self::Multicast => "multicast",
            Self::Unspecified => "unspecified",
            Self::Documentation => "documentation",
            Self::Benchmark => "benchmark",
            Self::Embedded => "embedded",
            Self::Reserved => "reserved",
        }
    }
}

impl fmt::Display for AddressClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Metadata => "a cloud's metadata address",
            Self::Loopback => "a loopback address",
            Self::Private | Self::UniqueLocal => "a private address",
            Self::SharedNat => "a carrier's shared address",
            Self::LinkLocal => "a link-local address",
            Self::Multicast => "a multicast address",
            Self::Unspecified => "the unspecified address",
            Self::Documentation => "a documentation address",
            Self::Benchmark => "a benchmark address",
            Self::Embedded => "an IPv6 address that hides an IPv4 address",
            Self::Reserved => "a reserved address",
        })
    }
}

/// Whether an address may be dialled under these rules.
///
/// # Errors
/// The [`AddressClass`] of an address that may not.
pub fn judge(address: IpAddr, rules: &Rules) -> Result<(), AddressClass> {
    // `::ffff:a.b.c.d` is not a way of writing an IPv4 address, the kernel dials IPv4 for it.
    let address = address.to_canonical();
    match classify(address) {
        None => Ok(()),
        Some(AddressClass::Metadata) => Err(AddressClass::Metadata),
        Some(AddressClass::Loopback) if rules.allow_loopback => Ok(()),
        Some(_) if rules.allowed.iter().any(|network| network.contains(&address)) => Ok(()),
        Some(class) => Err(class),
    }
}

/// What an address is; `None` for ordinary unicast. IPv4-mapped addresses are to be made IPv4 before.
fn classify(address: IpAddr) -> Option<AddressClass> {
    match address {
        IpAddr::V4(address) => classify_v4(address),
        IpAddr::V6(address) => classify_v6(address),
    }
}

/// The registry of special IPv4 addresses (RFC 6890 and later), and metadata addresses of clouds.
fn classify_v4(address: Ipv4Addr) -> Option<AddressClass> {
    use AddressClass as C;
    Some(match address.octets() {
        // AWS, Azure and Google; tasks and pods of AWS; Alibaba; Oracle; Azure's host, which is a public address.
        [169, 254, 169, 254]
        | [169, 254, 170, 2 | 23]
        | [100, 100, 100, 200]
        | [192, 0, 0, 192]
        | [168, 63, 129, 16] => C::Metadata,
        [0, ..] => C::Unspecified,
        [127, ..] => C::Loopback,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => C::Private,
        [100, 64..=127, ..] => C::SharedNat,
        [169, 254, ..] => C::LinkLocal,
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => C::Documentation,
        [198, 18..=19, ..] => C::Benchmark,
        // Relays of 6to4 (RFC 7526).
        [192, 88, 99, _] => C::Embedded,
        [224..=239, ..] | [255, 255, 255, 255] => C::Multicast,
        [192, 0, 0, _] | [240..=255, ..] => C::Reserved,
        _ => return None,
    })
}

/// The registry of special IPv6 addresses: only `2000::/3` is unicast on the internet, and not all of it.
fn classify_v6(address: Ipv6Addr) -> Option<AddressClass> {
    use AddressClass as C;
    Some(match address.segments() {
        // AWS, its pods, and Google.
        [0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254 | 0x0023] | [0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254] => C::Metadata,
        [0, 0, 0, 0, 0, 0, 0, 0] => C::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => C::Loopback,
        // NAT64 of the network (RFC 6052): reaches what its IPv4 address reaches.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => return embedded(high, low),
        // IPv4-compatible, IPv4-translated, NAT64 of one's own, Teredo, 6to4.
        [0, 0, 0, 0, 0 | 0xffff, 0, ..]
        | [0, 0, 0, 0, 0xffff, ..]
        | [0x64, 0xff9b, ..]
        | [0x2001, 0, ..]
        | [0x2002, ..] => C::Embedded,
        [0x2001, 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => C::Documentation,
        [0x2001, 2, 0, ..] => C::Benchmark,
        [0x2001, 0..=0x01ff, ..] => C::Reserved,
        [0xff00..=0xffff, ..] => C::Multicast,
        [0xfe80..=0xfebf, ..] => C::LinkLocal,
        [0xfc00..=0xfdff, ..] => C::UniqueLocal,
        [0x2000..=0x3fff, ..] => return None,
        _ => C::Reserved,
    })
}

/// What the IPv4 address is that a translator would dial; a special one is never reached through it.
fn embedded(high: u16, low: u16) -> Option<AddressClass> {
    let address = Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    classify_v4(address).map(|class| if class == AddressClass::Metadata { class } else { AddressClass::Embedded })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn judged(address: &str, rules: &Rules) -> Result<(), AddressClass> {
        judge(address.parse().unwrap(), rules)
    }

    #[test]
    fn every_special_address_is_refused_by_its_class() {
        use AddressClass as C;
        let table: &[(C, &[&str])] = &[
            (C::Metadata, &["169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "fd00:ec2::254"]),
            (C::Metadata, &["168.63.129.16", "100.100.100.200", "169.254.170.2", "fd20:ce::254"]),
            (C::Loopback, &["127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1"]),
            (C::Private, &["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "::ffff:10.0.0.1"]),
            (C::UniqueLocal, &["fc00::1", "fdff::1"]),
            (C::SharedNat, &["100.64.0.1", "100.127.255.255"]),
            (C::LinkLocal, &["169.254.0.1", "fe80::1", "febf::1"]),
            (C::Multicast, &["224.0.0.1", "239.1.1.1", "255.255.255.255", "ff02::1"]),
            (C::Unspecified, &["0.0.0.0", "0.1.2.3", "::"]),
            (C::Documentation, &["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff:fff::1"]),
            (C::Benchmark, &["198.18.0.1", "198.19.255.255", "2001:2::1"]),
            (C::Embedded, &["::127.0.0.1", "::8.8.8.8", "2002:7f00:1::", "2002:808:808::1", "2001::1"]),
            (C::Embedded, &["64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::808:808", "::ffff:0:8.8.8.8"]),
            (C::Embedded, &["192.88.99.1"]),
            (C::Reserved, &["240.0.0.1", "192.0.0.1", "2001:10::1", "100::1", "fec0::1", "4000::1", "5f00::1"]),
        ];
        for (class, addresses) in table {
            for address in *addresses {
                assert_eq!(judged(address, &Rules::default()), Err(*class), "{address}");
            }
        }
    }

    #[test]
    fn ordinary_addresses_may_be_dialled() {
        for address in [
            "8.8.8.8",
            "1.1.1.1",
            "172.15.255.255",
            "172.32.0.1",
            "100.63.255.255",
            "100.128.0.1",
            "192.0.1.1",
            "198.17.255.255",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00::1",
            "2001:200::1",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
        ] {
            assert_eq!(judged(address, &Rules::default()), Ok(()), "{address}");
        }
    }

    #[test]
    fn what_is_allowed_is_allowed_and_metadata_never() {
        let rules = Rules {
            allowed: vec!["10.1.0.0/16".parse().unwrap(), "169.254.0.0/16".parse().unwrap()],
            ..Rules::default()
        };
        assert_eq!(judged("10.1.2.3", &rules), Ok(()));
        assert_eq!(judged("::ffff:10.1.2.3", &rules), Ok(()), "the mapped form is the same place");
        assert_eq!(judged("10.2.0.1", &rules), Err(AddressClass::Private));
        assert_eq!(judged("127.0.0.1", &rules), Err(AddressClass::Loopback));
        assert_eq!(judged("169.254.1.1", &rules), Ok(()));
        assert_eq!(judged("169.254.169.254", &rules), Err(AddressClass::Metadata));
        let rules = Rules { allow_loopback: true, ..Rules::default() };
        assert_eq!((judged("127.0.0.1", &rules), judged("::1", &rules)), (Ok(()), Ok(())));
        assert_eq!(judged("10.0.0.1", &rules), Err(AddressClass::Private));
        assert_eq!(judged("::127.0.0.1", &rules), Err(AddressClass::Embedded));
    }

    proptest! {
        /// However an IPv4 address is hidden in an IPv6 address, a special one is not reached.
        #[test]
        fn no_embedding_reaches_what_the_inner_address_may_not(
            (a, b) in prop_oneof![
                (prop::sample::select(vec![0_u8, 10, 127, 224, 255]), any::<u8>()),
                prop::sample::select(vec![(172_u8, 16_u8), (192, 168), (169, 254), (100, 64), (198, 18)]),
            ],
            c: u8,
            d: u8,
        ) {
            let inner = Ipv4Addr::new(a, b, c, d);
            prop_assert!(judge(IpAddr::V4(inner), &Rules::default()).is_err());
            let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            for outer in [
                inner.to_ipv6_mapped(),
                inner.to_ipv6_compatible(),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
                Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, high, low),
                Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
                Ipv6Addr::new(0x2001, 0, 0x0808, 0x0808, 0, 0, !high, !low),
                Ipv6Addr::new(0x2001, 0, high, low, 0, 0, 0, 0),
                Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, high, low),
            ] {
                prop_assert!(judge(IpAddr::V6(outer), &Rules::default()).is_err(), "{outer}");
            }
        }

        /// The standard library's own (stable) notions agree.
        #[test]
        fn nothing_the_standard_library_calls_special_is_ordinary(v4: u32, v6: u128) {
            let v4 = Ipv4Addr::from(v4);
            if v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_multicast() || v4.is_documentation() {
                prop_assert!(judge(IpAddr::V4(v4), &Rules::default()).is_err());
            }
            let v6 = Ipv6Addr::from(v6);
            if v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_multicast() || v6.is_loopback() {
                prop_assert!(judge(IpAddr::V6(v6), &Rules::default()).is_err());
            }
        }
    }
}
