//! A policy as it is written: TOML, with unknown fields refused.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use surety_primitives::Amount;
use toml::Spanned;

use super::super::verdict::{Disagreement, Reaction, Verdict};

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) dry_run: bool,
    #[serde(default)]
    pub(super) limits: BTreeMap<String, Spanned<Limit>>,
    #[serde(default)]
    pub(super) checks: BTreeMap<Spanned<String>, CheckEntry>,
    #[serde(default)]
    pub(super) methods: Methods,
    #[serde(default)]
    pub(super) hold: HoldLimits,
    #[serde(default, rename = "rule")]
    pub(super) rules: Vec<Spanned<RuleEntry>>,
    #[serde(default, rename = "remote")]
    pub(super) remotes: Vec<Spanned<RemoteTerms>>,
}

/// A named number of the policy: in quotes an amount, else a plain number.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Limit {
    Amount(String),
    Plain(i64),
}

/// What differs from a check's own failure rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct CheckEntry {
    pub(super) deadline_ms: Option<u64>,
    pub(super) on_timeout: Option<Reaction>,
    pub(super) on_error: Option<Reaction>,
    pub(super) on_unknown: Option<Reaction>,
    pub(super) on_disagree: Option<Disagreement>,
    pub(super) required: Option<bool>,
    pub(super) release: Option<Release>,
}

/// Methods that differ from the gateway's table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Methods {
    /// Refused, whatever the table says: exact names, or `prefix*`.
    pub refuse: Vec<String>,
    /// Methods by which the node itself would sign, and that are screened instead of refused: exact names.
    pub unsigned: Vec<String>,
}

impl Methods {
    /// Whether the policy refuses a method.
    #[must_use]
    pub fn refuses(&self, method: &str) -> bool {
        self.refuse.iter().any(|name| match name.strip_suffix('*') {
            Some(prefix) => method.starts_with(prefix),
            None => name == method,
        })
    }

    /// Whether a method by which the node signs is screened instead of refused.
    #[must_use]
    pub fn takes_unsigned(&self, method: &str) -> bool {
        !self.refuses(method) && self.unsigned.iter().any(|name| name == method)
    }
}

/// Bounds on what is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HoldLimits {
    /// Transactions of one client.
    pub per_client: usize,
    /// Transactions of all clients.
    pub total: usize,
    /// Bytes of all transactions.
    pub bytes: u64,
    /// Seconds after which a held transaction is dropped.
    pub expire_s: u64,
    /// Seconds that an override token is good for.
    pub token_s: u64,
}

impl Default for HoldLimits {
    fn default() -> Self {
        Self { per_client: 64, total: 10_000, bytes: 256 << 20, expire_s: 7 * 86_400, token_s: 3_600 }
    }
}

/// How a held transaction may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Release {
    /// By itself, after so many seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_s: Option<u64>,
    /// By its sender, with the override token of the answer.
    pub token: bool,
    /// By the administrator.
    pub admin: bool,
}

impl Default for Release {
    fn default() -> Self {
        Self { after_s: None, token: false, admin: true }
    }
}

impl Release {
    /// Every way: what several causes are narrowed from.
    pub(super) const ANY: Self = Self { after_s: Some(0), token: true, admin: true };

    /// What both of two causes let pass.
    #[must_use]
    pub(super) fn and(self, other: Self) -> Self {
        let after_s = self.after_s.zip(other.after_s).map(|(one, two)| one.max(two));
        Self { after_s, token: self.token && other.token, admin: self.admin && other.admin }
    }
}

/// One rule.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleEntry {
    pub(super) id: String,
    pub(super) when: Spanned<String>,
    pub(super) then: Verdict,
    #[serde(default)]
    pub(super) dry_run: bool,
    #[serde(default)]
    pub(super) lifts: Vec<String>,
    pub(super) release: Option<Release>,
    #[serde(default)]
    pub(super) message: String,
}

/// What of a submission a remote service is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sight {
    /// Addresses that a submission names.
    Address,
    /// Host names.
    Name,
    /// Typed data that is to be signed.
    TypedData,
    /// Messages that are to be signed.
    Message,
    /// Whole pending transactions.
    Transaction,
}

impl Sight {
    /// Whether this is something pending: its reader could act on it before it is public.
    #[must_use]
    pub const fn is_pending(self) -> bool {
        matches!(self, Self::TypedData | Self::Message | Self::Transaction)
    }
}

/// How an address or a name is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShownAs {
    /// By the first bits of its hash, which very many share: the service answers with all that it lists under them.
    #[default]
    Prefix,
    /// As it is.
    Whole,
}

/// Which remote service may see what, and at what price.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoteTerms {
    /// The service's name here: what its findings are recorded under.
    pub name: String,
    /// The check that it takes part in; services of one check are asked the same question.
    #[serde(default = "remote")]
    pub check: String,
    /// What it is shown; nothing by default.
    #[serde(default)]
    pub sees: Vec<Sight>,
    /// How addresses and names are shown to it.
    #[serde(default)]
    pub shown_as: ShownAs,
    /// Path and query below the listing's endpoint, with `{prefix}`, `{address}`, `{name}` and `{chain}` filled in. What is
    /// pending is sent as the body of a POST.
    pub path: String,
    /// JSON pointers of flags: "1", 1 and true are hits, "0", 0 and false are none, anything else is unknown. They are
    /// looked up in the answer, or in the part about one address or name of an answer about a prefix.
    pub flags: Vec<String>,
    /// What a hit comes to.
    #[serde(default = "quarantine")]
    pub verdict: Verdict,
    /// Milliseconds for one answer.
    #[serde(default = "deadline_ms")]
    pub deadline_ms: u64,
    /// Most that all purchases of this service may cost, base units of CALL; nothing is bought by default.
    #[serde(default)]
    pub budget: Amount,
    /// Units of quota left below which the next package is bought.
    #[serde(default)]
    pub buy_below: u64,
}

fn remote() -> String {
    "remote".to_owned()
}

const fn quarantine() -> Verdict {
    Verdict::Quarantine
}

const fn deadline_ms() -> u64 {
    20
}
