//! A strict reader of JSON text. What two parsers could read differently is refused: duplicate keys however they are
//! written, lone surrogates, numbers out of range, a second document, a byte-order mark.
//!
//! Invariant: what [`Json::write`] gives reads back as the same value in every parser, so that nothing of a client's own
//! spelling reaches a node.

use std::borrow::Cow;

/// Values in one document: bounds what a small text can make of memory.
const MAX_VALUES: usize = 200_000;
/// Members of an object above which duplicates are looked for by sorting.
const FEW: usize = 16;

/// Why a text is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not JSON (RFC 8259), at a byte.
    #[error("not JSON at byte {0}")]
    Syntax(usize),
    /// Not UTF-8, or with a byte-order mark.
    #[error("the text is not UTF-8 without a byte-order mark")]
    Encoding,
    /// Deeper than is read.
    #[error("nested deeper than {0} levels")]
    Deep(usize),
    /// More values than are read.
    #[error("more than {MAX_VALUES} values")]
    Many,
    /// A key that comes twice in one object.
    #[error("a key comes twice in one object")]
    Twice,
    /// Half of a surrogate pair.
    #[error("a string has half of a surrogate pair")]
    Surrogate,
    /// A number beyond what a double holds: parsers refuse it, saturate or make it infinite.
    #[error("a number is out of range at byte {0}")]
    Range(usize),
}

/// A value that borrows from its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number as it was written: no digit is lost.
    Number(&'a str),
    /// A string, unescaped.
    Text(Cow<'a, str>),
    /// An array.
    List(Vec<Self>),
    /// An object in its order; no key comes twice.
    Map(Vec<(Cow<'a, str>, Self)>),
}

impl<'a> Json<'a> {
    /// Reads exactly one document of at most `depth` levels.
    ///
    /// # Errors
    /// [`JsonError`].
    pub fn read(text: &'a [u8], depth: usize) -> Result<Self, JsonError> {
        let text = utf8(text)?;
        let mut scanner = Scanner::new(text, depth);
        scanner.blank();
        let value = scanner.value(depth)?;
        scanner.end()?;
        Ok(value)
    }

    /// The member of an object.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(members) => members.iter().find(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The text of a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The elements of an array.
    #[must_use]
    pub fn as_list(&self) -> Option<&[Self]> {
        match self {
            Self::List(values) => Some(values),
            _ => None,
        }
    }

    /// The members of an object.
    #[must_use]
    pub fn as_map(&self) -> Option<&[(Cow<'a, str>, Self)]> {
        match self {
            Self::Map(members) => Some(members),
            _ => None,
        }
    }

    /// Writes the value in one plain form: no blanks, escapes only where JSON demands them.
    pub fn write(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(true) => out.push_str("true"),
            Self::Bool(false) => out.push_str("false"),
            Self::Number(digits) => out.push_str(digits),
            Self::Text(text) => write_text(text, out),
            Self::List(values) => {
                out.push('[');
                for (at, value) in values.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    value.write(out);
                }
                out.push(']');
            }
            Self::Map(members) => {
                out.push('{');
                for (at, (key, value)) in members.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    write_text(key, out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }

    /// [`Self::write`] as a string.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }
}

/// Writes a JSON string.
pub(crate) fn write_text(text: &str, out: &mut String) {
    out.push('"');
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"".to_owned(),
            b'\\' => "\\\\".to_owned(),
            0..=0x1f => format!("\\u{byte:04x}"),
            _ => continue,
        };
        out.push_str(&text[plain..at]);
        out.push_str(&escape);
        plain = at + 1;
    }
    out.push_str(&text[plain..]);
    out.push('"');
}

fn utf8(text: &[u8]) -> Result<&str, JsonError> {
    let text = std::str::from_utf8(text).map_err(|_| JsonError::Encoding)?;
    if text.starts_with('\u{feff}') { Err(JsonError::Encoding) } else { Ok(text) }
}

/// Reads a JSON object's members without building their values: each value as its own text.
///
/// # Errors
/// [`JsonError`], also when the text is another value than an object.
pub(crate) fn members(text: &[u8], depth: usize) -> Result<Vec<(Cow<'_, str>, &str)>, JsonError> {
    let text = utf8(text)?;
    let mut scanner = Scanner::new(text, depth);
    scanner.blank();
    let mut members = Vec::new();
    scanner.object(|scanner, key| {
        members.push((key, scanner.skip(depth)?));
        Ok(())
    })?;
    scanner.end()?;
    refuse_twice(&members, |(key, _)| key)?;
    Ok(members)
}

/// A member of an object, with the value's own text.
pub(crate) struct Member<'a> {
    pub(crate) key: Cow<'a, str>,
    pub(crate) value: Json<'a>,
    pub(crate) text: &'a str,
}

/// A document by its outermost form.
pub(crate) enum Document<'a> {
    /// An object.
    Object(Vec<Member<'a>>),
    /// An array; elements that are no objects are `None`.
    Array(Vec<Option<Vec<Member<'a>>>>),
    /// Anything else.
    Other,
}

/// Reads exactly one document of at most `depth` levels, and keeps the texts of the outermost objects' members.
///
/// # Errors
/// [`JsonError`].
pub(crate) fn document(text: &[u8], depth: usize) -> Result<Document<'_>, JsonError> {
    let text = utf8(text)?;
    let mut scanner = Scanner::new(text, depth);
    scanner.blank();
    let document = match scanner.peek() {
        Some(b'{') => Document::Object(scanner.members(depth)?),
        Some(b'[') => {
            let mut elements = Vec::new();
            scanner.array(|scanner| {
                scanner.values += 1;
                elements.push(match scanner.peek() {
                    Some(b'{') => Some(scanner.members(depth)?),
                    _ => scanner.value(depth).map(|_| None)?,
                });
                Ok(())
            })?;
            Document::Array(elements)
        }
        _ => scanner.value(depth).map(|_| Document::Other)?,
    };
    scanner.end()?;
    Ok(document)
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    values: usize,
}

impl<'a> Scanner<'a> {
    const fn new(text: &'a str, depth: usize) -> Self {
        Self { text, at: 0, depth, values: 0 }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    const fn wrong<T>(&self) -> Result<T, JsonError> {
        Err(JsonError::Syntax(self.at))
    }

    fn blank(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.peek() == Some(byte) {
            self.at += 1;
            return Ok(());
        }
        self.wrong()
    }

    fn word(&mut self, word: &str) -> Result<(), JsonError> {
        if self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            return Ok(());
        }
        self.wrong()
    }

    fn end(&mut self) -> Result<(), JsonError> {
        self.blank();
        if self.at == self.text.len() { Ok(()) } else { self.wrong() }
    }

    fn value(&mut self, left: usize) -> Result<Json<'a>, JsonError> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(JsonError::Many);
        }
        match self.peek() {
            Some(b'n') => self.word("null").map(|()| Json::Null),
            Some(b't') => self.word("true").map(|()| Json::Bool(true)),
            Some(b'f') => self.word("false").map(|()| Json::Bool(false)),
            Some(b'"') => self.string().map(Json::Text),
            Some(b'-' | b'0'..=b'9') => self.number().map(Json::Number),
            Some(b'[') => self.list(left.checked_sub(1).ok_or(JsonError::Deep(self.depth))?),
            Some(b'{') => self.map(left.checked_sub(1).ok_or(JsonError::Deep(self.depth))?),
            _ => self.wrong(),
        }
    }

    fn list(&mut self, left: usize) -> Result<Json<'a>, JsonError> {
        let mut values = Vec::new();
        self.array(|scanner| {
            values.push(scanner.value(left)?);
            Ok(())
        })?;
        Ok(Json::List(values))
    }

    fn map(&mut self, left: usize) -> Result<Json<'a>, JsonError> {
        let mut members = Vec::new();
        self.object(|scanner, key| {
            members.push((key, scanner.value(left)?));
            Ok(())
        })?;
        refuse_twice(&members, |(key, _)| key)?;
        Ok(Json::Map(members))
    }

    fn members(&mut self, left: usize) -> Result<Vec<Member<'a>>, JsonError> {
        let mut members = Vec::new();
        self.object(|scanner, key| {
            let from = scanner.at;
            let value = scanner.value(left)?;
            members.push(Member { key, value, text: &scanner.text[from..scanner.at] });
            Ok(())
        })?;
        refuse_twice(&members, |member| &member.key)?;
        Ok(members)
    }

    fn array(&mut self, mut each: impl FnMut(&mut Self) -> Result<(), JsonError>) -> Result<(), JsonError> {
        self.take(b'[')?;
        self.blank();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.blank();
            each(self)?;
            self.blank();
            if self.peek() == Some(b',') {
                self.at += 1;
                continue;
            }
            return self.take(b']');
        }
    }

    fn object(
        &mut self,
        mut each: impl FnMut(&mut Self, Cow<'a, str>) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        self.take(b'{')?;
        self.blank();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.blank();
            let key = self.string()?;
            self.blank();
            self.take(b':')?;
            self.blank();
            each(self, key)?;
            self.blank();
            if self.peek() == Some(b',') {
                self.at += 1;
                continue;
            }
            return self.take(b'}');
        }
    }

    /// Passes over one value and gives its text. It must be well formed; its keys are the sender's affair.
    fn skip(&mut self, left: usize) -> Result<&'a str, JsonError> {
        let from = self.at;
        match self.peek() {
            Some(b'n') => self.word("null")?,
            Some(b't') => self.word("true")?,
            Some(b'f') => self.word("false")?,
            Some(b'"') => drop(self.string()?),
            Some(b'-' | b'0'..=b'9') => drop(self.number()?),
            Some(b'[') => {
                let left = left.checked_sub(1).ok_or(JsonError::Deep(self.depth))?;
                self.array(|scanner| scanner.skip(left).map(drop))?;
            }
            Some(b'{') => {
                let left = left.checked_sub(1).ok_or(JsonError::Deep(self.depth))?;
                self.object(|scanner, _| scanner.skip(left).map(drop))?;
            }
            _ => return self.wrong(),
        }
        Ok(&self.text[from..self.at])
    }

    fn number(&mut self) -> Result<&'a str, JsonError> {
        let from = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits()?,
            _ => return self.wrong(),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        let exponent = matches!(self.peek(), Some(b'e' | b'E'));
        if exponent {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        let text = &self.text[from..self.at];
        // No double overflows in 300 digits without an exponent, as nearly all numbers are.
        let in_range = (!exponent && text.len() <= 300) || text.parse::<f64>().is_ok_and(f64::is_finite);
        if in_range { Ok(text) } else { Err(JsonError::Range(from)) }
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let from = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == from { self.wrong() } else { Ok(()) }
    }

    fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        self.take(b'"')?;
        let from = self.at;
        self.plain()?;
        if self.peek() == Some(b'"') {
            let text = &self.text[from..self.at];
            self.at += 1;
            return Ok(Cow::Borrowed(text));
        }
        let mut text = self.text[from..self.at].to_owned();
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Cow::Owned(text));
                }
                Some(b'\\') => text.push(self.escape()?),
                _ => {
                    let from = self.at;
                    self.plain()?;
                    text.push_str(&self.text[from..self.at]);
                }
            }
        }
    }

    /// Up to the next quotation mark or backslash.
    fn plain(&mut self) -> Result<(), JsonError> {
        let rest = &self.text.as_bytes()[self.at..];
        match rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f)) {
            Some(end) if rest[end] >= 0x20 => {
                self.at += end;
                Ok(())
            }
            Some(end) => Err(JsonError::Syntax(self.at + end)),
            None => Err(JsonError::Syntax(self.text.len())),
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        self.take(b'\\')?;
        let Some(byte) = self.peek() else { return self.wrong() };
        let char = match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                self.at += 1;
                return self.unicode();
            }
            _ => return self.wrong(),
        };
        self.at += 1;
        Ok(char)
    }

    fn unicode(&mut self) -> Result<char, JsonError> {
        let high = self.unit()?;
        if !(0xd800..0xe000).contains(&high) {
            return char::from_u32(high).ok_or(JsonError::Surrogate);
        }
        if high >= 0xdc00 || self.word("\\u").is_err() {
            return Err(JsonError::Surrogate);
        }
        let low = self.unit()?;
        if !(0xdc00..0xe000).contains(&low) {
            return Err(JsonError::Surrogate);
        }
        char::from_u32(0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00)).ok_or(JsonError::Surrogate)
    }

    fn unit(&mut self) -> Result<u32, JsonError> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4).ok_or(JsonError::Syntax(self.at))?;
        let mut unit = 0;
        for digit in digits {
            let digit = char::from(*digit).to_digit(16).ok_or(JsonError::Syntax(self.at))?;
            unit = (unit << 4) | digit;
        }
        self.at += 4;
        Ok(unit)
    }
}

fn refuse_twice<T>(members: &[T], key: impl Fn(&T) -> &Cow<'_, str>) -> Result<(), JsonError> {
    let twice = if members.len() <= FEW {
        members.iter().enumerate().any(|(at, one)| members[..at].iter().any(|other| key(other) == key(one)))
    } else {
        let mut keys: Vec<&str> = members.iter().map(|member| key(member).as_ref()).collect();
        keys.sort_unstable();
        keys.windows(2).any(|pair| pair[0] == pair[1])
    };
    if twice { Err(JsonError::Twice) } else { Ok(()) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
