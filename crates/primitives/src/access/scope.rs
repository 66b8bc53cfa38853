//! Scopes: which methods and paths a sub-grant is good for (`market.md` D1).
//!
//! Paths are compared exactly as sent, segment by segment. Whatever a server behind could read as another path (dot
//! segments, encoded slashes, dots or percent signs, backslashes, empty segments) is outside every scope: refusing it
//! costs a strange request, accepting it could cost the restriction.

use super::error::Error;
use crate::hash::{Hash32, h};

const SCOPE: &str = "surety/access/scope/v1";

/// Most lines of a scope.
pub(super) const MAX_LINES: usize = 64;
/// Most bytes of a scope's text.
pub(super) const MAX_TEXT: usize = 4_096;

/// A list of methods with path prefixes, of which a request must match one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Lines "METHOD path-prefix\n", sorted.
    text: String,
}

impl Scope {
    /// A scope of `(method, path prefix)` pairs in any order; doubles count once.
    ///
    /// # Errors
    /// [`Error::BadScope`] when there is none or too many, or one is not in the form that [`Scope::parse`] accepts.
    pub fn new(pairs: &[(&str, &str)]) -> Result<Self, Error> {
        let mut lines: Vec<String> = pairs.iter().map(|(method, prefix)| format!("{method} {prefix}\n")).collect();
        lines.sort_unstable();
        lines.dedup();
        Self::parse(&lines.concat())
    }

    /// Reads the canonical text: 1 to 64 lines, at most 4,096 bytes, sorted, none twice, each a method in capital
    /// letters, one space, a plain absolute path prefix, a line feed.
    ///
    /// # Errors
    /// [`Error::BadScope`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > MAX_TEXT {
            return Err(Error::BadScope("too long"));
        }
        let body = text.strip_suffix('\n').ok_or(Error::BadScope("no line feed at the end"))?;
        let lines: Vec<&str> = body.split('\n').collect();
        if lines.len() > MAX_LINES {
            return Err(Error::BadScope("too many lines"));
        }
        if !lines.is_sorted_by(|a, b| a < b) {
            return Err(Error::BadScope("lines are not sorted or not unique"));
        }
        lines.into_iter().try_for_each(check_line)?;
        Ok(Self { text: text.to_owned() })
    }

    /// The canonical text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// H("surety/access/scope/v1", text).
    #[must_use]
    pub fn hash(&self) -> Hash32 {
        h(SCOPE, &[self.text.as_bytes()])
    }

    /// Whether a request with this method and path, both exactly as sent, is inside.
    #[must_use]
    pub fn allows(&self, method: &str, path: &str) -> bool {
        is_plain_path(path)
            && self
                .text
                .lines()
                .filter_map(|line| line.split_once(' '))
                .any(|(allowed, prefix)| allowed == method && is_below(path, prefix))
    }
}

fn check_line(line: &str) -> Result<(), Error> {
    let (method, prefix) = line.split_once(' ').ok_or(Error::BadScope("a line has no space"))?;
    if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Err(Error::BadScope("a method is not in capital letters"));
    }
    if !is_plain_path(prefix) {
        return Err(Error::BadScope("a prefix is not a plain absolute path"));
    }
    Ok(())
}

/// Whether `path` is the prefix itself or lies below it: `/a` holds `/a` and `/a/b`, never `/ab`.
fn is_below(path: &str, prefix: &str) -> bool {
    match path.strip_prefix(prefix) {
        Some(rest) => rest.is_empty() || prefix.ends_with('/') || rest.starts_with('/'),
        None => false,
    }
}

/// An absolute path that every server reads in the same way: no dot segments, no empty ones, no escapes that hide any.
#[must_use]
pub fn is_plain_path(path: &str) -> bool {
    let Some(segments) = path.strip_prefix('/') else { return false };
    let printable = path.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'?' | b'#'));
    let (inner, last) = segments.rsplit_once('/').map_or((None, segments), |(inner, last)| (Some(inner), last));
    // Only the last segment may be empty: "/a/" is a path of its own, "/a//b" is "/a/b" to some.
    let inner_ok = inner.is_none_or(|inner| inner.split('/').all(|segment| !segment.is_empty() && is_plain(segment)));
    printable && inner_ok && is_plain(last)
}

/// A segment that is no dot segment, not even with parameters ("..;x"), and that hides no separator in an escape.
fn is_plain(segment: &str) -> bool {
    let name = segment.split(';').next().unwrap_or_default();
    name != "." && name != ".." && escapes_are_plain(segment)
}

/// Whether every `%` begins the escape of a byte that has no meaning for paths, even if it is decoded twice or as overlong
/// UTF-8 (0xc0, 0xc1).
fn escapes_are_plain(segment: &str) -> bool {
    segment.split('%').skip(1).all(|after| {
        let digits = after.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match digits.map(|digits| u8::from_str_radix(digits, 16)) {
            Some(Ok(byte)) => {
                byte >= 0x20 && !matches!(byte, b'.' | b'/' | b'\\' | b'%' | b';' | b'?' | b'#' | 0x7f | 0xc0 | 0xc1)
            }
            _ => false,
        }
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_holds_what_is_below_it_and_nothing_beside_it() {
        let scope = Scope::new(&[("POST", "/v1/check/"), ("GET", "/v1/site")]).unwrap();
        assert_eq!(scope.text(), "GET /v1/site\nPOST /v1/check/\n");
        for (method, path) in [
            ("GET", "/v1/site"),
            ("GET", "/v1/site/"),
            ("GET", "/v1/site/example.com"),
            ("GET", "/v1/site/caf%C3%A9"),
            ("GET", "/v1/site/.hidden"),
            ("POST", "/v1/check/"),
            ("POST", "/v1/check/a/b"),
        ] {
            assert!(scope.allows(method, path), "{method} {path}");
        }
        for (method, path) in [
            ("GET", "/v1/sites"),
            ("GET", "/v1/site.json"),
            ("get", "/v1/site"),
            ("POST", "/v1/site"),
            ("POST", "/v1/check"),
            ("GET", "/V1/site"),
            ("GET", "v1/site"),
            ("GET", ""),
        ] {
            assert!(!scope.allows(method, path), "{method} {path}");
        }
    }

    #[test]
    fn a_path_that_some_server_reads_as_another_is_outside() {
        let scope = Scope::new(&[("GET", "/a")]).unwrap();
        for path in [
            "/a/../b",
            "/a/..",
            "/a/./b",
            "/a/%2e%2e/b",
            "/a/%2E./b",
            "/a/..%2fb",
            "/a%2f..%2fb",
            "/a/%2fb",
            "/a/..%5cb",
            "/a\\..\\b",
            "/a//../b",
            "/a//b",
            "/a/%252e%252e/b",
            "/a/..;x/b",
            "/a/..;/b",
            "/a/.;/b",
            "/a/%",
            "/a/%2",
            "/a/%zz",
            "/a/%00",
            "/a/\u{0}",
            "/a/b c",
            "/a/é",
            "/a?x",
            "/a#x",
            "/a/%3b",
            "/a/%0a",
            "//a",
            "/./a",
        ] {
            assert!(!scope.allows("GET", path), "{path}");
        }
        let all = Scope::new(&[("GET", "/")]).unwrap();
        assert!(all.allows("GET", "/") && all.allows("GET", "/x/y"));
        assert!(!all.allows("GET", "/x/../y"));
    }

    #[test]
    fn only_the_canonical_text_is_read() {
        for text in [
            "",
            "\n",
            "GET /a",
            "GET /b\nGET /a\n",
            "GET /a\nGET /a\n",
            "get /a\n",
            "GET  /a\n",
            "GET a\n",
            "GET /a/..\n",
            " /a\n",
            "GET /a\r\n",
            "GET /a\n\n",
            "GET /a//b\n",
        ] {
            assert!(Scope::parse(text).is_err(), "{text:?}");
        }
        let long: Vec<String> = (0..=MAX_LINES).map(|n| format!("/{n}")).collect();
        let pairs: Vec<(&str, &str)> = long.iter().map(|path| ("GET", path.as_str())).collect();
        assert_eq!(Scope::new(&pairs), Err(Error::BadScope("too many lines")));
        let scope = Scope::new(&pairs[1..]).unwrap();
        assert_eq!(Scope::parse(scope.text()).unwrap(), scope);
    }
}
