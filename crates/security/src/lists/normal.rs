//! The one form of a name and of an address (`security-services.md` 4.3).

use std::net::{Ipv4Addr, Ipv6Addr};

use idna::AsciiDenyList;

/// Most labels of a listed name. A look-up asks for as many suffixes of a host, so this bounds its claims.
pub const MAX_LABELS: usize = 10;
/// Longest host name, in bytes.
pub(crate) const MAX_HOST: usize = 253;
/// Longest label of a host name, in bytes.
const MAX_LABEL: usize = 63;

/// What normalising changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) trimmed: bool,
    pub(crate) lowered: bool,
    pub(crate) trailing_dots: bool,
    pub(crate) to_ascii: bool,
}

/// The host name in lower-case ASCII without trailing dots, or nothing when the text is no host name.
///
/// Blanks around it go, UTS 46 (non-transitional) makes ASCII of it. An IPv4 or IPv6 literal stays as it is written in
/// its canonical form.
pub fn domain(text: &str) -> Option<String> {
    domain_with_changes(text).map(|(name, _)| name)
}

pub(crate) fn domain_with_changes(text: &str) -> Option<(String, Changes)> {
    // Longer than any text that could shrink to a host name; UTS 46 is not asked to chew on it.
    if text.len() > 4 * MAX_HOST {
        return None;
    }
    let trimmed = text.trim();
    if let Some(ip) = ip_literal(trimmed) {
        return Some((ip, Changes { trimmed: trimmed.len() != text.len(), ..Changes::default() }));
    }
    let dotless = trimmed.trim_end_matches(['.', '。', '．', '｡']);
    let name = idna::domain_to_ascii_cow(dotless.as_bytes(), AsciiDenyList::URL).ok()?;
    let name = name.trim_end_matches('.').to_owned();
    let changes = Changes {
        trimmed: trimmed.len() != text.len(),
        trailing_dots: dotless.len() != trimmed.len(),
        lowered: dotless.bytes().any(|byte| byte.is_ascii_uppercase()),
        to_ascii: !dotless.is_ascii(),
    };
    is_host(&name).then_some((name, changes))
}

/// Whether a name in lower-case ASCII has the lengths and characters of a host name. Underscores occur and are kept.
pub(crate) fn is_host(name: &str) -> bool {
    let sound = |label: &str| {
        (1..=MAX_LABEL).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_'))
    };
    name.len() <= MAX_HOST && name.split('.').all(sound)
}

/// The canonical text of an IPv4 or (with or without brackets) IPv6 literal.
pub(crate) fn ip_literal(text: &str) -> Option<String> {
    if let Ok(ip) = text.parse::<Ipv4Addr>() {
        return Some(ip.to_string());
    }
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    inner.parse::<Ipv6Addr>().ok().map(|ip| ip.to_string())
}

/// The 20 bytes of an address in hex of any case, with 0x before it.
pub fn address(text: &str) -> Option<[u8; 20]> {
    let digits = text.trim().strip_prefix("0x").or_else(|| text.trim().strip_prefix("0X"))?;
    // The decoder would take a second 0x for a prefix.
    if digits.len() != 40 {
        return None;
    }
    const_hex::decode_to_array(digits).ok()
}

/// A label in lower case; characters that labels are joined with become hyphens. At most 48 bytes are kept.
pub(crate) fn label(text: &str) -> String {
    let plain =
        |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '|' | '.') { c.to_ascii_lowercase() } else { '-' };
    text.trim().chars().take(48).map(plain).collect()
}

/// Whether a name is a public suffix, private section included (github.io), or a bare top-level label.
pub(crate) fn is_public_suffix(name: &str) -> bool {
    ip_literal(name).is_none() && psl::domain_str(name).is_none()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_get_one_form() {
        for (text, name) in [
            (" MetaMask.IO.. ", "metamask.io"),
            ("мyetherwallet.com", "xn--yetherwallet-dfk.com"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("faß.de", "xn--fa-hia.de"),
            ("ether_promo.kissr.com", "ether_promo.kissr.com"),
            ("metamask。io", "metamask.io"),
            ("104.168.169.107", "104.168.169.107"),
            ("[2001:DB8::0:1]", "2001:db8::1"),
        ] {
            assert_eq!(domain(text).as_deref(), Some(name), "{text}");
        }
    }

    #[test]
    fn what_is_no_host_name_is_refused() {
        let long = format!("{}.com", "a".repeat(64));
        let longer = "a.".repeat(130);
        for text in [
            "",
            ".",
            "..",
            "a..b",
            ".a",
            "a b.com",
            "a/b",
            "http://a.com",
            "a@b.com",
            "a:80",
            "*.com",
            "a\u{0}.com",
            &long,
            &longer,
        ] {
            assert_eq!(domain(text), None, "{text}");
        }
    }

    #[test]
    fn addresses_are_twenty_bytes_in_hex() {
        assert_eq!(address("0X00000000000000000000000000000000000000fF").unwrap()[19], 0xff);
        for text in
            ["", "0x", "00000000000000000000000000000000000000ff", "0x00", "0x0x000000000000000000000000000000000000ff"]
        {
            assert_eq!(address(text), None, "{text}");
        }
    }

    #[test]
    fn shared_hosts_and_top_level_names_are_public_suffixes() {
        for name in ["com", "github.io", "vercel.app", "pages.dev", "co.uk", "nonsense"] {
            assert!(is_public_suffix(name), "{name}");
        }
        for name in ["evil.github.io", "metamask.io", "10.0.0.1"] {
            assert!(!is_public_suffix(name), "{name}");
        }
    }

    proptest! {
        #[test]
        fn normalising_twice_changes_nothing(text in "\\PC{0,40}") {
            if let Some(name) = domain(&text) {
                let again = domain(&name);
                prop_assert_eq!(again, Some(name));
            }
        }
    }
}
