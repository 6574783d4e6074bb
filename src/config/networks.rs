//! Lists of addresses and networks, as settings name them: `10.0.0.0/8,127.0.0.1,fd00::/8`.

use std::net::IpAddr;

use super::setting_value;

/// Networks that addresses are looked up in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(Vec<Network>);

/// The addresses that have the first `bits` bits of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    bits: u32,
}

impl Networks {
    /// Parses a list, separated by commas. The error says what an entry must be.
    pub fn parse(text: &str) -> Result<Networks, String> {
        let entries = setting_value::list(text);
        let networks = entries.iter().map(|entry| Network::parse(entry)).collect::<Option<Vec<_>>>();
        match networks.filter(|networks| !networks.is_empty()) {
            Some(networks) => Ok(Networks(networks)),
            None => Err("addresses and networks such as 10.0.0.0/8 or fd00::1, separated by commas".to_owned()),
        }
    }

    /// Returns whether an address is in one of the networks. An IPv4 address may be written as
    /// IPv6.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(address))
    }

    /// Returns whether there is no network in the list.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Network {
    fn parse(text: &str) -> Option<Network> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u32>().ok()?)),
            None => (text, None),
        };
        let address = address.parse::<IpAddr>().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        (bits <= most).then_some(Network { address, bits })
    }

    fn contains(&self, address: IpAddr) -> bool {
        let differs = match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => u128::from(own.to_bits() ^ other.to_bits()) << 96,
            (IpAddr::V6(own), IpAddr::V6(other)) => own.to_bits() ^ other.to_bits(),
            _ => return false,
        };
        differs.leading_zeros() >= self.bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_networks() {
        let networks = Networks::parse("10.0.0.0/8, 192.168.1.7,fd00::/8").unwrap();
        for (text, expected) in [
            ("10.255.0.1", true),
            ("11.0.0.1", false),
            ("192.168.1.7", true),
            ("192.168.1.6", false),
            ("::ffff:10.1.2.3", true),
            ("fd12::1", true),
            ("fe80::1", false),
        ] {
            assert_eq!(networks.contains(text.parse().unwrap()), expected, "{text}");
        }
        assert!(Networks::parse("0.0.0.0/0").unwrap().contains(IpAddr::from([1, 2, 3, 4])));
        for wrong in ["", "10.0.0.0/33", "localhost", "10.0.0.1/x", "10.0.0.1,,x"] {
            assert!(Networks::parse(wrong).is_err(), "{wrong}");
        }
    }
}
