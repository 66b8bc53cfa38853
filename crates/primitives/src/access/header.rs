//! How the call protocol stands in HTTP headers (`market.md` D2): base64url without padding, in one form only.

use core::fmt;
use core::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::error::Error;
use super::grant::{MAX_DEPTH, SubGrant};
use super::head::Call;
use super::scope::{MAX_TEXT, Scope};
use crate::ids::{Lane, Seconds};

/// Request: the call, 96, 139 or 182 characters.
pub const CALL_HEADER: &str = "surety-call";
/// Request: 1 to 4 sub-grants, one after the other.
pub const CHAIN_HEADER: &str = "surety-chain";
/// Request: the texts of the chain's scopes, each encoded, with commas between.
pub const SCOPE_HEADER: &str = "surety-scope";
/// Reply: a signed Answer or a tag reply; a trailer when the body is streamed.
pub const ANSWER_HEADER: &str = "surety-answer";
/// Reply: the claims that the signed Answer commits to, borsh.
pub const CLAIMS_HEADER: &str = "surety-claims";
/// From the API behind a sidecar: the basis of its answer, base64url of borsh without padding. Ends at the sidecar; it goes on
/// inside the Answer.
pub const BASIS_HEADER: &str = "surety-basis";
/// Reply: what is left of the package.
pub const QUOTA_HEADER: &str = "surety-quota";

/// Characters of an encoded call: with a tag, signed, opening.
const CALL_CHARS: [usize; 3] = [96, 139, 182];

/// base64url without padding.
#[must_use]
pub fn encode_b64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads base64url without padding, in the one form that [`encode_b64`] writes, up to `limit` bytes.
///
/// # Errors
/// [`Error::Length`] above the limit, [`Error::Text`].
pub fn decode_b64(text: &str, limit: usize, what: &'static str) -> Result<Vec<u8>, Error> {
    // Four characters are three bytes; looked at before anything is allocated.
    if text.len() > limit.div_ceil(3).saturating_mul(4) {
        return Err(Error::Length { what, len: text.len() / 4 * 3 });
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| Error::Text(what))?;
    if bytes.len() > limit { Err(Error::Length { what, len: bytes.len() }) } else { Ok(bytes) }
}

/// The value of [`CALL_HEADER`].
#[must_use]
pub fn encode_call(call: &Call) -> String {
    encode_b64(&call.to_bytes())
}

/// Reads the value of [`CALL_HEADER`].
///
/// # Errors
/// [`Error::Text`] for another number of characters or another alphabet, and as [`Call::from_bytes`].
pub fn decode_call(text: &str) -> Result<Call, Error> {
    if !CALL_CHARS.contains(&text.len()) {
        return Err(Error::Text("a call"));
    }
    Call::from_bytes(&decode_b64(text, 136, "a call")?)
}

/// The value of [`CHAIN_HEADER`].
#[must_use]
pub fn encode_chain(chain: &[SubGrant]) -> String {
    encode_b64(&chain.iter().flat_map(crate::codec::encode).collect::<Vec<u8>>())
}

/// Reads the value of [`CHAIN_HEADER`].
///
/// # Errors
/// [`Error::Length`] unless there are 1 to 4 sub-grants, [`Error::Text`].
pub fn decode_chain(text: &str) -> Result<Vec<SubGrant>, Error> {
    let bytes = decode_b64(text, MAX_DEPTH * SubGrant::LEN, "a chain")?;
    if bytes.is_empty() {
        return Err(Error::Length { what: "a chain", len: 0 });
    }
    bytes.chunks(SubGrant::LEN).map(SubGrant::from_bytes).collect()
}

/// The value of [`SCOPE_HEADER`].
#[must_use]
pub fn encode_scopes(scopes: &[Scope]) -> String {
    scopes.iter().map(|scope| encode_b64(scope.text().as_bytes())).collect::<Vec<_>>().join(",")
}

/// Reads the value of [`SCOPE_HEADER`]: 1 to 4 scopes.
///
/// # Errors
/// [`Error::Text`], [`Error::Length`], [`Error::BadScope`].
pub fn decode_scopes(text: &str) -> Result<Vec<Scope>, Error> {
    if text.split(',').count() > MAX_DEPTH {
        return Err(Error::Text("scopes"));
    }
    text.split(',')
        .map(|part| {
            let bytes = decode_b64(part, MAX_TEXT, "a scope")?;
            Scope::parse(&String::from_utf8(bytes).map_err(|_| Error::Text("a scope"))?)
        })
        .collect()
}

/// What is left of a package, as [`QUOTA_HEADER`] says it:
/// `limit=1000, remaining=412, lane=3, seq=88, cum=85, window=64, pending=3, expires=1767225600`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaState {
    /// Calls bought.
    pub limit: u64,
    /// Calls left.
    pub remaining: u64,
    /// The lane that was called in.
    pub lane: Lane,
    /// Its highest `seq`.
    pub seq: u64,
    /// Its highest acknowledged `cum`.
    pub cum: u64,
    /// Calls that may stay unacknowledged, over all lanes.
    pub window: u32,
    /// Calls that are.
    pub pending: u64,
    /// When the package ends, ledger time.
    pub expires: Seconds,
}

impl fmt::Display for QuotaState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, remaining, lane, seq, cum, window, pending, expires } = self;
        write!(
            f,
            "limit={limit}, remaining={remaining}, lane={lane}, seq={seq}, cum={cum}, window={window}, \
             pending={pending}, expires={expires}"
        )
    }
}

impl FromStr for QuotaState {
    type Err = Error;

    /// Reads the fields in any order; those that a later version may add are passed over.
    fn from_str(text: &str) -> Result<Self, Error> {
        const BAD: Error = Error::Text("a quota");
        if text.len() > 1_024 {
            return Err(BAD);
        }
        let pairs: Vec<(&str, &str)> =
            text.split(',').map(|pair| pair.trim().split_once('=').ok_or(BAD)).collect::<Result<_, _>>()?;
        let number = |name: &str| {
            let mut values = pairs.iter().filter(|(field, _)| *field == name).map(|(_, value)| *value);
            match (values.next(), values.next()) {
                (Some(value), None) if value.bytes().all(|byte| byte.is_ascii_digit()) => {
                    value.parse::<u64>().map_err(|_| BAD)
                }
                _ => Err(BAD),
            }
        };
        Ok(Self {
            limit: number("limit")?,
            remaining: number("remaining")?,
            lane: Lane(number("lane")?.try_into().map_err(|_| BAD)?),
            seq: number("seq")?,
            cum: number("cum")?,
            window: number("window")?.try_into().map_err(|_| BAD)?,
            pending: number("pending")?,
            expires: Seconds(number("expires")?),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_written_as_the_sheet_shows_it_and_read_back() {
        let text = "limit=1000, remaining=412, lane=3, seq=88, cum=85, window=64, pending=3, expires=1767225600";
        let quota: QuotaState = text.parse().unwrap();
        assert_eq!(quota.to_string(), text);
        assert_eq!((quota.lane, quota.pending), (Lane(3), 3));
        assert_eq!(format!("{text}, later=x").parse::<QuotaState>().unwrap(), quota);
        for bad in [
            "",
            "limit=1",
            &text.replace("lane=3", "lane=65536"),
            &text.replace("seq=88", "seq=-8"),
            &format!("{text}, cum=1"),
        ] {
            assert!(bad.parse::<QuotaState>().is_err(), "{bad}");
        }
    }

    #[test]
    fn base64_has_one_form() {
        assert_eq!(decode_b64("_-8", 2, "x").unwrap(), [0xff, 0xef]);
        for bad in ["_-9", "_-8=", "/+8", "_-8A", "_", " _-8"] {
            assert!(decode_b64(bad, 2, "x").is_err(), "{bad}");
        }
    }
}
