//! The compatible mode: what `check` of eth-phishing-detect 1.2.0 answers, bit for bit (`security-services.md` 5.1).
//!
//! Nothing is normalised here: no lower-casing, no IDNA, no port. Whoever wants that does it before.
//!
//! Cost: one hash look-up for each label of the host and, for a host that no list names, one comparison of two
//! bitmaps for each fuzzy target; no list is walked.

use std::collections::HashMap;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::distance::Targets;

/// The tolerance of a configuration that states none.
pub const DEFAULT_TOLERANCE: u32 = 3;

/// Why a configuration was refused; the texts of the original where it has one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not JSON, or neither an object nor a list.
    #[error("Invalid config")]
    NotAConfig,
    /// A tolerance without a list to apply it to.
    #[error("Fuzzylist tolerance provided without fuzzylist")]
    ToleranceWithoutFuzzylist,
    /// The name is empty or no text.
    #[error("Invalid config parameter: 'name'")]
    Name,
    /// The version is neither a number nor a text, or empty.
    #[error("Invalid config parameter: 'version'")]
    Version,
    /// A list that is no list of texts.
    #[error("Invalid config parameter: '{0}'")]
    List(&'static str),
    /// A tolerance that is no number.
    #[error("Invalid config parameter: 'tolerance'")]
    Tolerance,
}

impl Error {
    /// The stable code of this error.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotAConfig => "phishing-config",
            Self::ToleranceWithoutFuzzylist => "phishing-config-fuzzylist",
            Self::Name => "phishing-config-name",
            Self::Version => "phishing-config-version",
            Self::List(_) => "phishing-config-list",
            Self::Tolerance => "phishing-config-tolerance",
        }
    }
}

/// One configuration: three lists and how much a name may differ from those of the third.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// Its name; none in the legacy form.
    pub name: Option<String>,
    /// A number or a text; none in the legacy form.
    pub version: Option<Value>,
    /// Never blocked, with everything below.
    pub allow: Vec<String>,
    /// Blocked, with everything below.
    pub block: Vec<String>,
    /// What scams imitate.
    pub fuzzy: Vec<String>,
    /// Edits up to which a name counts as an imitation; none turns the comparison off.
    pub tolerance: Option<u32>,
}

/// The configurations of a file, and whether it has the legacy form.
#[derive(Clone, Debug, PartialEq)]
pub struct Configs {
    /// In order of precedence.
    pub list: Vec<Config>,
    /// Whether results use the names of the legacy form (whitelist, blacklist).
    pub legacy: bool,
}

impl Configs {
    /// Reads a configuration file of either form.
    ///
    /// # Errors
    /// [`Error`]; the list form is checked as the original checks it.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Error> {
        match serde_json::from_slice(bytes).map_err(|_| Error::NotAConfig)? {
            Value::Array(values) => {
                let list = values.iter().map(Config::current).collect::<Result<_, _>>()?;
                Ok(Self { list, legacy: false })
            }
            Value::Object(fields) => Ok(Self { list: vec![Config::legacy(&fields)?], legacy: true }),
            _ => Err(Error::NotAConfig),
        }
    }
}

impl Config {
    fn legacy(fields: &Map<String, Value>) -> Result<Self, Error> {
        Ok(Self {
            name: None,
            version: None,
            allow: texts(fields, "whitelist")?,
            block: texts(fields, "blacklist")?,
            fuzzy: texts(fields, "fuzzylist")?,
            tolerance: tolerance(fields)?,
        })
    }

    fn current(value: &Value) -> Result<Self, Error> {
        let fields = match value {
            Value::Object(fields) => fields,
            // A list is an object to the original; its name is what is missing.
            Value::Array(_) => return Err(Error::Name),
            _ => return Err(Error::NotAConfig),
        };
        if is_truthy(fields.get("tolerance")) && !is_truthy(fields.get("fuzzylist")) {
            return Err(Error::ToleranceWithoutFuzzylist);
        }
        let name = match fields.get("name") {
            Some(Value::String(name)) if !name.is_empty() => name.clone(),
            _ => return Err(Error::Name),
        };
        let version = match fields.get("version") {
            Some(version @ Value::Number(_)) => version.clone(),
            Some(Value::String(version)) if !version.is_empty() => version.clone().into(),
            _ => return Err(Error::Version),
        };
        Ok(Self {
            name: Some(name),
            version: Some(version),
            allow: texts(fields, "allowlist")?,
            block: texts(fields, "blocklist")?,
            fuzzy: texts(fields, "fuzzylist")?,
            tolerance: tolerance(fields)?,
        })
    }
}

/// What JavaScript takes for true.
fn is_truthy(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::Number(number)) => number.as_f64() != Some(0.0),
        Some(Value::String(text)) => !text.is_empty(),
        Some(_) => true,
    }
}

fn texts(fields: &Map<String, Value>, name: &'static str) -> Result<Vec<String>, Error> {
    match fields.get(name) {
        value if !is_truthy(value) => Ok(Vec::new()),
        Some(Value::Array(values)) => {
            values.iter().map(|value| value.as_str().map(str::to_owned).ok_or(Error::List(name))).collect()
        }
        _ => Err(Error::List(name)),
    }
}

/// A distance is whole, so a tolerance of 2.5 is one of 2; one above 0 and below 1 still compares.
fn tolerance(fields: &Map<String, Value>) -> Result<Option<u32>, Error> {
    match fields.get("tolerance") {
        None => Ok(Some(DEFAULT_TOLERANCE)),
        Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) => match number.as_f64() {
            Some(number) if number > 0.0 => Ok(Some(number as u32)),
            _ => Ok(None),
        },
        Some(_) => Err(Error::Tolerance),
    }
}

/// Which rule decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An allow list names the host or what it lies under.
    Allow,
    /// A block list names the host or what it lies under.
    Block,
    /// The host resembles a fuzzy target.
    Fuzzy,
    /// No rule applied.
    All,
}

/// What the detector says of a host; serialises as the original's result.
#[derive(Clone, Debug, PartialEq)]
pub struct Check<'a> {
    /// Which rule decided.
    pub kind: Kind,
    /// The number of the configuration that decided; none when no rule applied.
    pub config: Option<usize>,
    /// The suffix of the host that a list names, or the fuzzy target.
    pub matched: Option<&'a str>,
    detector: &'a Detector,
}

impl Check<'_> {
    /// Whether the host is taken for phishing.
    pub const fn is_phishing(&self) -> bool {
        matches!(self.kind, Kind::Block | Kind::Fuzzy)
    }

    /// The word of the form that the configuration came in.
    pub const fn type_name(&self) -> &'static str {
        match (self.kind, self.detector.legacy) {
            (Kind::Allow, true) => "whitelist",
            (Kind::Allow, false) => "allowlist",
            (Kind::Block, true) => "blacklist",
            (Kind::Block, false) => "blocklist",
            (Kind::Fuzzy, _) => "fuzzy",
            (Kind::All, _) => "all",
        }
    }
}

impl Serialize for Check<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let config = self.config.and_then(|index| self.detector.configs.get(index));
        let mut result = Map::new();
        if let Some(name) = config.and_then(|config| config.name.as_deref()) {
            result.insert("name".into(), name.into());
        }
        if let (Kind::Fuzzy, Some(target)) = (self.kind, self.matched) {
            result.insert("match".into(), target.into());
        }
        result.insert("result".into(), self.is_phishing().into());
        result.insert("type".into(), self.type_name().into());
        if let Some(version) = config.and_then(|config| config.version.clone()) {
            result.insert("version".into(), version);
        }
        result.serialize(serializer)
    }
}

/// The first configuration that allows, and the first that blocks, a name.
#[derive(Clone, Copy, Debug)]
struct Marks {
    allow: u32,
    block: u32,
}

const NONE: u32 = u32::MAX;

/// A configuration and the name that it lists.
type Mark<'a> = Option<(usize, &'a str)>;

#[derive(Clone, Debug)]
struct Compiled {
    name: Option<String>,
    version: Option<Value>,
    targets: Targets,
    tolerance: Option<u32>,
}

/// Configurations made ready to be asked.
#[derive(Clone, Debug)]
pub struct Detector {
    names: HashMap<Box<str>, Marks>,
    configs: Vec<Compiled>,
    legacy: bool,
}

// Two detectors are never compared; a result is only ever compared with one of the same detector.
impl PartialEq for Detector {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Detector {
    /// Makes configurations ready.
    pub fn new(configs: Configs) -> Self {
        let mut names = HashMap::new();
        let mut compiled = Vec::with_capacity(configs.list.len());
        for (index, config) in configs.list.into_iter().enumerate() {
            let index = index as u32;
            for name in config.allow {
                let marks = mark(&mut names, name);
                marks.allow = marks.allow.min(index);
            }
            for name in config.block {
                let marks = mark(&mut names, name);
                marks.block = marks.block.min(index);
            }
            compiled.push(Compiled {
                name: config.name,
                version: config.version,
                targets: Targets::new(config.fuzzy, |target| without_last_label(target).to_owned()),
                tolerance: config.tolerance,
            });
        }
        Self { names, configs: compiled, legacy: configs.legacy }
    }

    /// What the configurations say of `host`, taken as it is.
    pub fn check<'a>(&'a self, host: &'a str) -> Check<'a> {
        let host = host.strip_suffix('.').unwrap_or(host);
        let (allow, block) = self.first_marks(host);
        if let Some((config, name)) = allow {
            return self.decided(Kind::Allow, config, name);
        }
        for (index, config) in self.configs.iter().enumerate() {
            if let Some((blocking, name)) = block
                && blocking == index
            {
                return self.decided(Kind::Block, index, name);
            }
            if let Some(tolerance) = config.tolerance
                && let Some(target) = config.targets.first_within(without_last_label(host), "www.", tolerance)
            {
                return self.decided(Kind::Fuzzy, index, target);
            }
        }
        Check { kind: Kind::All, config: None, matched: None, detector: self }
    }

    /// Whether a list allows or blocks exactly this name.
    pub fn lists(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    /// The first configurations that allow and block the host or what it lies under, each with the name they list.
    fn first_marks<'a>(&self, host: &'a str) -> (Mark<'a>, Mark<'a>) {
        let (mut allow, mut block) = ((NONE, ""), (NONE, ""));
        for name in suffixes(host) {
            if let Some(marks) = self.names.get(name) {
                if marks.allow < allow.0 {
                    allow = (marks.allow, name);
                }
                if marks.block < block.0 {
                    block = (marks.block, name);
                }
            }
        }
        let some = |(config, name)| (config != NONE).then_some((config as usize, name));
        (some(allow), some(block))
    }

    const fn decided<'a>(&'a self, kind: Kind, config: usize, matched: &'a str) -> Check<'a> {
        Check { kind, config: Some(config), matched: Some(matched), detector: self }
    }
}

fn mark(names: &mut HashMap<Box<str>, Marks>, name: String) -> &mut Marks {
    names.entry(name.into_boxed_str()).or_insert(Marks { allow: NONE, block: NONE })
}

/// The host and everything that it lies under: `a.b.c`, `b.c`, `c`.
pub(crate) fn suffixes(host: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(host), |name| name.split_once('.').map(|(_, above)| above))
}

/// All labels but the last; nothing for a single label.
fn without_last_label(host: &str) -> &str {
    host.rsplit_once('.').map_or("", |(labels, _)| labels)
}

#[cfg(test)]
mod tests;
