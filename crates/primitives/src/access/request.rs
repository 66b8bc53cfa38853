//! What a call is bound to: method, authority, path, query and body of its HTTP request (`market.md` D1).

use crate::hash::{Hash32, h};

const REQUEST: &str = "surety/access/request/v1";

/// The parts of a request, exactly as sent, except for the authority: see [`normalize_authority`].
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method, as sent.
    pub method: &'a str,
    /// Public host and port of the API, in the form of [`normalize_authority`].
    pub authority: &'a str,
    /// The path as sent, never decoded.
    pub path: &'a str,
    /// What follows the `?` as sent, empty when nothing does.
    pub query: &'a str,
    /// [`body_hash`] of the body.
    pub body: Hash32,
}

impl Request<'_> {
    /// H("surety/access/request/v1", len4 | bytes of each part, then the body's hash): also the request digest of the
    /// Answer.
    #[must_use]
    pub fn hash(&self) -> Hash32 {
        request_hash(self.method, self.authority, self.path, self.query, &self.body)
    }
}

/// See [`Request::hash`].
#[must_use]
pub fn request_hash(method: &str, authority: &str, path: &str, query: &str, body: &Hash32) -> Hash32 {
    let parts = [method, authority, path, query].map(str::as_bytes);
    // No HTTP stack takes parts of 4 GiB, so that no length is ever cut.
    let len = parts.map(|part| u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
    h(REQUEST, &[&len[0], parts[0], &len[1], parts[1], &len[2], parts[2], &len[3], parts[3], &body.0])
}

/// BLAKE3 of a body, before any transfer coding.
#[must_use]
pub fn body_hash(body: &[u8]) -> Hash32 {
    Hash32(*blake3::hash(body).as_bytes())
}

/// The authority in lower case and without the scheme's default port, such as 443 for https.
#[must_use]
pub fn normalize_authority(authority: &str, default_port: u16) -> String {
    let lower = authority.to_ascii_lowercase();
    let default = format!(":{default_port}");
    match lower.strip_suffix(&default) {
        // "[::443" ends an IPv6 address, it is no port.
        Some(host) if !host.contains('[') || host.ends_with(']') => host.to_owned(),
        _ => lower,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_move_from_one_part_to_the_next_change_the_hash() {
        let body = body_hash(b"");
        let base = request_hash("GET", "api.example", "/a", "b", &body);
        for other in [
            request_hash("GET", "api.example", "/ab", "", &body),
            request_hash("GET", "api.example/", "a", "b", &body),
            request_hash("get", "api.example", "/a", "b", &body),
            request_hash("GET", "api.example", "/a", "b", &body_hash(b"x")),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn an_authority_is_lower_case_and_without_the_default_port() {
        assert_eq!(normalize_authority("API.Example:443", 443), "api.example");
        assert_eq!(normalize_authority("api.example:8443", 443), "api.example:8443");
        assert_eq!(normalize_authority("[::1]:443", 443), "[::1]");
        assert_eq!(normalize_authority("[::443]", 443), "[::443]");
    }
}
