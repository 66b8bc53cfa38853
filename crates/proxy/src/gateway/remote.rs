//! Remote services: questions to providers of the marketplace, asked in parallel and paid by the call (section 7.6).
//!
//! A gateway holds one caller for each service, with a purchase's grant or a sub-grant of one; the policy names what a service
//! may see. An answer that is not valid, or not here in time, is not acknowledged, and so not paid.
//!
//! Always true: what a service does not see by the policy is not sent to it; nothing pending leaves by default; a service
//! that did not answer never counts as one that found nothing.

mod answer;
mod breaker;
mod budget;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use alloy_consensus::Transaction as _;
use alloy_primitives::{Address, Bytes, hex};
use futures::future::{BoxFuture, join_all};
use surety_client::Caller;
use surety_client::caller::{Reply, Request};
use surety_primitives::Amount;
use surety_primitives::access::{self, ProblemKind};
use surety_primitives::dataset::{Key, Prefix};
use surety_primitives::typed_data::Bytes16;
use tokio::time::Instant;

use super::policy::{Policy, RemoteTerms, ShownAs, Sight};
use super::subject::Subject;
use super::verdict::Finding;
use answer::{Said, Voice};
use breaker::Breaker;
use budget::Ledger;

pub use budget::BudgetError;

/// Name of the file of what was spent, within the gateway's folder.
pub const SPENT_FILE: &str = "spent.json";
/// Questions that one submission asks at most.
const MOST_QUESTIONS: usize = 4;
/// Arguments of a call that accounts are looked for in.
const MOST_WORDS: usize = 8;
/// Services that are asked one question, unless the policy says otherwise.
const ASK: usize = 2;

/// Something to ask about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// An account.
    Address(Address),
    /// A host name.
    Name(String),
    /// Typed data, as JSON.
    TypedData(String),
    /// A message.
    Message(Bytes),
    /// A raw transaction.
    Transaction(Bytes),
}

impl Question {
    /// What there is to ask about a submission; a policy's terms say which of it leaves. Whoever sends it is not asked about:
    /// a user's own address is nobody's business.
    #[must_use]
    pub fn of_subject(subject: &Subject) -> Vec<Self> {
        let mut questions = match subject {
            Subject::Transaction(screened) => {
                let delegates = screened.envelope.authorization_list().unwrap_or_default();
                let parties = delegates.iter().map(|authorization| authorization.address).chain(screened.to());
                Self::of_call(parties, screened.input(), Some(&screened.raw))
            }
            Subject::Unsigned(unsigned) => Self::of_call(unsigned.to, &unsigned.data, None),
            Subject::UserOperation(operation) => {
                let named = [operation.paymaster.as_ref(), operation.factory.as_ref()];
                let parties = named.into_iter().flatten().map(|(address, _)| *address).chain(operation.delegate);
                Self::of_call(parties, &operation.call_data, None)
            }
            Subject::TypedData { json, .. } => vec![Self::TypedData(json.clone())],
            Subject::Message { message, .. } => vec![Self::Message(message.clone())],
        };
        questions.retain(|question| !matches!(question, Self::Address(address) if subject.sender() == Some(*address)));
        questions
    }

    /// What there is to ask about a call: its parties, and the accounts that stand among its arguments. `raw` is the
    /// transaction, where it is one.
    #[must_use]
    pub fn of_call(parties: impl IntoIterator<Item = Address>, input: &[u8], raw: Option<&Bytes>) -> Vec<Self> {
        // An argument that is an account has twelve bytes of zeros, and then hardly any.
        let words = input.get(4..).unwrap_or_default().chunks_exact(32).take(MOST_WORDS);
        let named = words.filter(|word| word[..12] == [0; 12] && word[12..20] != [0; 8]);
        let mut questions: Vec<Self> = raw.cloned().map(Self::Transaction).into_iter().collect();
        for account in parties.into_iter().chain(named.map(|word| Address::from_slice(&word[12..]))) {
            if !questions.contains(&Self::Address(account)) {
                questions.push(Self::Address(account));
            }
        }
        questions
    }

    /// What it shows.
    #[must_use]
    pub const fn sight(&self) -> Sight {
        match self {
            Self::Address(_) => Sight::Address,
            Self::Name(_) => Sight::Name,
            Self::TypedData(_) => Sight::TypedData,
            Self::Message(_) => Sight::Message,
            Self::Transaction(_) => Sight::Transaction,
        }
    }

    /// What is asked of services that see no more than prefixes: this, but of a name each name that it lies below too, for
    /// a list means all below what it names. The shortest first.
    fn parts(&self) -> Vec<Self> {
        let Self::Name(name) = self else { return vec![self.clone()] };
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let below = name.match_indices('.').map(|(dot, _)| &name[dot + 1..]).filter(|parent| parent.contains('.'));
        let mut parts: Vec<Self> =
            std::iter::once(name.as_str()).chain(below).map(|part| Self::Name(part.to_owned())).collect();
        parts.reverse();
        parts
    }

    /// The name that is looked for in an answer about a prefix, and the prefix that tells of it.
    fn sought(&self) -> Option<(String, Prefix)> {
        match self {
            Self::Address(address) => Some((hex::encode_prefixed(address), Prefix::of(address.as_slice()))),
            Self::Name(name) => Some((name.clone(), Prefix::of(name.as_bytes()))),
            _ => None,
        }
    }

    /// The request to a service, with `{prefix}`, `{address}`, `{name}` and `{chain}` filled in. The policy was refused when
    /// it was loaded if its path shows more than it may.
    fn request(&self, terms: &RemoteTerms, chain_id: u64) -> Request {
        let path = self.fill(&terms.path, chain_id);
        let post = |name: &str, value: &str| {
            Request::post_json(path.clone(), &serde_json::json!({ "chain_id": chain_id.to_string(), name: value }))
        };
        match self {
            Self::Address(_) | Self::Name(_) => Request::get(path),
            Self::TypedData(json) => post("typed_data", json),
            Self::Message(message) => post("message", &hex::encode_prefixed(message)),
            Self::Transaction(raw) => post("raw_transaction", &hex::encode_prefixed(raw)),
        }
    }

    fn fill(&self, text: &str, chain_id: u64) -> String {
        let text = text.replace("{chain}", &chain_id.to_string());
        let text = match self.sought() {
            Some((_, prefix)) => text.replace("{prefix}", &prefix.to_string()),
            None => text,
        };
        match self {
            Self::Address(address) => text.replace("{address}", &hex::encode_prefixed(address)),
            Self::Name(name) => text.replace("{name}", &escape(name)),
            _ => text,
        }
    }
}

/// A service that can be called.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its name in the policy.
    pub name: String,
    /// Calls it, by a purchase's grant or a sub-grant.
    pub caller: Caller,
    /// What a call costs, base units of CALL.
    pub price: Amount,
    /// The keys that an answer to a path and query must make claims about where cover is promised: without them a wrong
    /// answer could not be contradicted.
    pub must_claim: fn(&str) -> Vec<Key>,
}

/// What a buyer is to buy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The service's name in the policy.
    pub name: String,
    /// The most to spend, base units of CALL.
    pub most: Amount,
    /// Names the purchase: however often it is ordered under this reference, it is bought once.
    pub reference: Bytes16,
}

/// What a buyer bought.
#[derive(Debug)]
pub struct Bought {
    /// Calls under the new purchase.
    pub caller: Caller,
    /// What it cost, base units of CALL.
    pub cost: Amount,
    /// What a call costs, base units of CALL.
    pub price: Amount,
}

/// Why a buyer comes back without a package. Both say why, in words for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuyError {
    /// Nothing was bought, and nothing will be by this order.
    #[error("{0}")]
    Refused(String),
    /// It may have been bought, or may yet be: only the same order again can tell.
    #[error("{0}; whether it was bought is not known yet")]
    Doubtful(String),
}

/// Buys the next package of a service.
pub type Buyer = Arc<dyn Fn(Order) -> BoxFuture<'static, Result<Bought, BuyError>> + Send + Sync>;

/// What became of the calls to one service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// Valid answers in time.
    pub answered: u64,
    /// No answer in time.
    pub timed_out: u64,
    /// No connection, or nothing that is an answer.
    pub failed: u64,
    /// Quota that was used up.
    pub exhausted: u64,
    /// Not made, because the service is paused after failures.
    pub paused: u64,
}

/// A service as it is known now.
struct Line {
    caller: Caller,
    price: Amount,
    must_claim: fn(&str) -> Vec<Key>,
    breaker: Breaker,
    /// Quota left, as the provider last said.
    remaining: Option<u64>,
    buying: bool,
    calls: Calls,
    /// Answers that were paid under packages before this one.
    paid_before: u64,
}

/// The remote services of one gateway.
#[derive(Clone)]
pub struct Remote {
    inner: Arc<Inner>,
}

struct Inner {
    chain_id: u64,
    begun: Instant,
    lines: Mutex<BTreeMap<String, Line>>,
    ledger: Ledger,
    buyer: Option<Buyer>,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("services", &self.inner.lines().keys()).finish_non_exhaustive()
    }
}

impl Remote {
    /// The services that can be called for a chain. What is spent is kept in `folder`; without a buyer nothing is bought.
    ///
    /// # Errors
    /// [`BudgetError`].
    pub fn new(
        chain_id: u64,
        services: Vec<Service>,
        folder: &Path,
        buyer: Option<Buyer>,
    ) -> Result<Self, BudgetError> {
        let ledger = Ledger::open(&folder.join(SPENT_FILE))?;
        let lines = services.into_iter().map(|service| (service.name.clone(), Line::new(service)));
        let lines = Mutex::new(lines.collect());
        let begun = Instant::now();
        Ok(Self { inner: Arc::new(Inner { chain_id, begun, lines, ledger, buyer }) })
    }

    /// Asks the services of a check what the policy lets them see of these questions, and judges the answers. What no service
    /// may see is not asked, and is no part of the outcome.
    pub async fn assess(&self, check: &str, policy: &Policy, questions: &[Question]) -> Finding {
        self.assess_within(check, policy, questions, Duration::MAX).await
    }

    /// The same, with no service waited for any longer than this.
    pub async fn assess_within(
        &self,
        check: &str,
        policy: &Policy,
        questions: &[Question],
        within: Duration,
    ) -> Finding {
        let terms_of = |question: &Question| -> Vec<&RemoteTerms> {
            let sees = |terms: &&RemoteTerms| terms.check == check && terms.sees.contains(&question.sight());
            policy.remotes().iter().filter(sees).collect()
        };
        let mut shown: Vec<_> = questions.iter().flat_map(|question| shown(question, terms_of(question))).collect();
        let left_out = shown.len().saturating_sub(MOST_QUESTIONS);
        shown.truncate(MOST_QUESTIONS);
        let asked = shown.iter().map(|(question, terms)| self.ask(question, terms, within));
        let mut finding = answer::judge(check, join_all(asked).await);
        if left_out > 0 && finding.outcome.passed() {
            finding = Finding { evidence: finding.evidence, ..Finding::unknown(check, "too_many_questions") };
        }
        finding
    }

    /// What became of the calls, by service.
    #[must_use]
    pub fn calls(&self) -> BTreeMap<String, Calls> {
        self.inner.lines().iter().map(|(name, line)| (name.clone(), line.calls)).collect()
    }

    /// Answers that were acknowledged and so paid, by service, over all packages. Waits for calls under way.
    pub async fn paid(&self) -> BTreeMap<String, u64> {
        let of_line = |(name, line): (&String, &Line)| (name.clone(), line.caller.clone(), line.paid_before);
        let lines: Vec<_> = self.inner.lines().iter().map(of_line).collect();
        let paid = lines
            .into_iter()
            .map(|(name, caller, before)| async move { (name, before.saturating_add(caller.acknowledged().await)) });
        join_all(paid).await.into_iter().collect()
    }

    /// What was spent on packages, by service, base units of CALL: with what a purchase in doubt may cost.
    #[must_use]
    pub fn spent(&self) -> BTreeMap<String, Amount> {
        self.inner.ledger.spent()
    }

    /// Acknowledges what was answered, as far as the next calls have not done so: before the gateway ends.
    pub async fn settle(&self) {
        let callers: Vec<Caller> = self.inner.lines().values().map(|line| line.caller.clone()).collect();
        let settled = callers.iter().map(|caller| async move {
            if let Err(error) = caller.settle().await {
                tracing::warn!(%error, "a remote service was not settled with; its answers count at the next call");
            }
        });
        join_all(settled).await;
    }

    /// One question to the best services that are at hand.
    async fn ask(&self, question: &Question, terms: &[&RemoteTerms], within: Duration) -> Vec<Voice> {
        let now_ms = self.inner.now_ms();
        let mut voices = Vec::new();
        let mut ready = Vec::new();
        {
            let mut lines = self.inner.lines();
            for terms in terms.iter().copied() {
                match lines.get_mut(&terms.name) {
                    None => voices.push(Voice::new(terms, Said::Unknown("no_grant"))),
                    Some(line) => {
                        if line.breaker.is_closed(now_ms) {
                            ready.push((line.breaker.cost(line.price), terms));
                        } else {
                            line.calls.paused = line.calls.paused.saturating_add(1);
                            voices.push(Voice::new(terms, Said::Failed("it is paused after failures".to_owned())));
                        }
                    }
                }
            }
        }
        // Price times latency; equals by their place in the policy.
        ready.sort_by_key(|(cost, _)| *cost);
        let most = ASK.min(ready.len());
        if most == ASK {
            // Enough others are at hand: what is absent or paused has no voice.
            voices.clear();
        }
        let calls = ready.into_iter().take(most).map(|(_, terms)| self.call(question, terms, within));
        voices.extend(join_all(calls).await);
        voices
    }

    async fn call(&self, question: &Question, terms: &RemoteTerms, within: Duration) -> Voice {
        let line = self.inner.lines().get(&terms.name).map(|line| (line.caller.clone(), line.must_claim));
        let Some((caller, must_claim)) = line else {
            return Voice::new(terms, Said::Unknown("no_grant"));
        };
        let request = question.request(terms, self.inner.chain_id);
        let keys = must_claim(&request.path);
        let request = request.claiming(keys);
        let begun = Instant::now();
        let within = Duration::from_millis(terms.deadline_ms).min(within);
        let outcome = caller.call_within(&request, within).await;
        let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        let said = match &outcome {
            Ok(reply) => self.heard(question, terms, reply),
            Err(error) => {
                tracing::warn!(service = %terms.name, %error, "a remote service gave no valid answer");
                Said::of_error(error)
            }
        };
        self.note(terms, &said, micros, outcome.as_ref().ok());
        let mut voice = Voice::new(terms, said);
        if let Ok(reply) = &outcome {
            voice.cite(caller.package().grant.purchase, reply);
        }
        voice
    }

    fn heard(&self, question: &Question, terms: &RemoteTerms, reply: &Reply) -> Said {
        let flags: Vec<String> = terms.flags.iter().map(|flag| question.fill(flag, self.inner.chain_id)).collect();
        match question.sought().filter(|_| terms.shown_as == ShownAs::Prefix) {
            Some((name, prefix)) => answer::read_under(reply, prefix, &name, &flags),
            None => answer::read(reply, &flags),
        }
    }

    /// Counts, learns the latency, opens or closes the breaker, buys where the quota runs low.
    fn note(&self, terms: &RemoteTerms, said: &Said, micros: u64, reply: Option<&Reply>) {
        let now_ms = self.inner.now_ms();
        let mut lines = self.inner.lines();
        let Some(line) = lines.get_mut(&terms.name) else { return };
        let calls = &mut line.calls;
        let counter = match said {
            Said::Late => &mut calls.timed_out,
            Said::Failed(_) => &mut calls.failed,
            Said::Exhausted => &mut calls.exhausted,
            Said::Clean | Said::Hit(_) | Said::Unknown(_) => &mut calls.answered,
        };
        *counter = counter.saturating_add(1);
        match said {
            Said::Late | Said::Failed(_) => line.breaker.failed(now_ms, terms.deadline_ms.saturating_mul(1_000)),
            Said::Exhausted => {}
            _ => line.breaker.answered(micros),
        }
        if let Some(quota) = reply.and_then(|reply| reply.quota) {
            line.remaining = Some(quota.remaining);
        }
        if *said == Said::Exhausted {
            line.remaining = Some(0);
        }
        let is_low =
            line.remaining.is_some_and(|left| left < terms.buy_below || (left == 0 && !terms.budget.is_zero()));
        if is_low && !line.buying && self.inner.buyer.is_some() {
            line.buying = true;
            drop(lines);
            tokio::spawn(Arc::clone(&self.inner).buy(terms.name.clone(), terms.budget));
        }
    }
}

impl Inner {
    fn lines(&self) -> MutexGuard<'_, BTreeMap<String, Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Buys the next package of a service within its budget, and calls under it from then on.
    async fn buy(self: Arc<Self>, name: String, budget: Amount) {
        let bought = match &self.buyer {
            Some(buyer) => self.ledger.buy(&name, budget, buyer).await,
            None => Err(BudgetError::NoBuyer),
        };
        let before = {
            let mut lines = self.lines();
            let Some(line) = lines.get_mut(&name) else { return };
            line.buying = false;
            match bought {
                Ok(bought) => {
                    line.remaining = None;
                    line.price = bought.price;
                    Some(std::mem::replace(&mut line.caller, bought.caller))
                }
                Err(error) => {
                    tracing::warn!(service = %name, %error, "no further package of a remote service was bought");
                    None
                }
            }
        };
        // The provider is paid for what it answered under the package that ends.
        let Some(before) = before else { return };
        if let Err(error) = before.settle().await {
            tracing::warn!(service = %name, %error, "the last answers of a package were not acknowledged");
        }
        let paid = before.acknowledged().await;
        if let Some(line) = self.lines().get_mut(&name) {
            line.paid_before = line.paid_before.saturating_add(paid);
        }
    }
}

impl Line {
    fn new(service: Service) -> Self {
        Self {
            caller: service.caller,
            price: service.price,
            must_claim: service.must_claim,
            breaker: Breaker::new(),
            remaining: None,
            buying: false,
            calls: Calls::ZERO,
            paid_before: 0,
        }
    }
}

impl Calls {
    const ZERO: Self = Self { answered: 0, timed_out: 0, failed: 0, exhausted: 0, paused: 0 };

    /// Each count with its word.
    pub(crate) const fn by_outcome(&self) -> [(&'static str, u64); 5] {
        [
            ("answered", self.answered),
            ("timeout", self.timed_out),
            ("failed", self.failed),
            ("quota_exhausted", self.exhausted),
            ("paused", self.paused),
        ]
    }
}

impl Said {
    /// What a call that brought no valid answer says.
    fn of_error(error: &surety_client::Error) -> Self {
        match error {
            surety_client::Error::Timeout { .. } => Self::Late,
            surety_client::Error::Problem(problem)
                if matches!(
                    problem.kind,
                    ProblemKind::QuotaExhausted | ProblemKind::BudgetSpent | ProblemKind::ExpiredPurchase
                ) =>
            {
                Self::Exhausted
            }
            // This side counts, too: it signs for no call beyond what was bought or granted.
            surety_client::Error::Access(access::Error::BudgetSpent { .. }) => Self::Exhausted,
            other => Self::Failed(other.to_string()),
        }
    }
}

/// What services are shown of one question. Whoever sees prefixes alone is asked about its parts.
fn shown<'t>(question: &Question, terms: Vec<&'t RemoteTerms>) -> Vec<(Question, Vec<&'t RemoteTerms>)> {
    let parts = question.parts();
    let by_prefix = |terms: &&RemoteTerms| terms.shown_as == ShownAs::Prefix;
    // Where there is but one part, everybody is asked the same, and may disagree.
    let (prefix, whole) = if parts.len() > 1 { terms.into_iter().partition(by_prefix) } else { (Vec::new(), terms) };
    let whole = std::iter::once((question.clone(), whole));
    whole.chain(parts.into_iter().map(|part| (part, prefix.clone()))).filter(|(_, terms)| !terms.is_empty()).collect()
}

/// A name within a path: everything but letters, digits, dots and hyphens as percent and two hex digits.
fn escape(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-') {
            text.push(char::from(byte));
        } else {
            text.push('%');
            text.push_str(&hex::encode_upper([byte]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use alloy_primitives::U256;

    use super::*;

    #[test]
    fn a_call_is_asked_about_by_its_target_and_the_accounts_in_it() {
        let (to, spender) = (Address::repeat_byte(1), Address::repeat_byte(2));
        let words = [spender.into_word(), U256::MAX.into(), U256::from(7).into(), to.into_word()];
        let input = [vec![0x09, 0x5e, 0xa7, 0xb3], words.concat()].concat();
        let raw = Bytes::from_static(b"raw");
        let expected = [Question::Transaction(raw.clone()), Question::Address(to), Question::Address(spender)];
        assert_eq!(Question::of_call([to], &input, Some(&raw)), expected);
        assert_eq!(Question::of_call([], b"", None), []);
    }

    #[test]
    fn a_name_cannot_leave_its_place_in_the_path() {
        assert_eq!(escape("example.com"), "example.com");
        assert_eq!(escape("a/../b?c=1&d#e"), "a%2F..%2Fb%3Fc%3D1%26d%23e");
        assert_eq!(escape("ä"), "%C3%A4");
    }
}
