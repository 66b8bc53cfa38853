//! The gateway's remote services: real sidecars before an API that says what a test wants, called and paid as consumers do.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use alloy_primitives::{Address, Bytes, U256};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use surety_client::Caller;
use surety_client::caller::{Options, Package};
use surety_primitives::access::{BASIS_HEADER, GrantFlags, SubGrant, SubGrantTerms, encode_b64};
use surety_primitives::{Amount, Hash32, Lane, ProviderId, Seconds, ServiceId};
use surety_proxy::gateway::policy::{Facts, Policy};
use surety_proxy::gateway::remote::{Bought, BuyError, Buyer, Question, Remote, Service};
use surety_proxy::gateway::verdict::{Finding, Outcome, Verdict};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::upstream::basis;
use crate::world::{WINDOW, World, grant, key, provider};

/// The API behind a sidecar.
#[derive(Clone)]
pub(crate) struct Api {
    address: SocketAddr,
    /// What it answers.
    body: Arc<Mutex<String>>,
    /// How long it thinks, milliseconds.
    delay_ms: Arc<AtomicU64>,
    /// What reached it: paths and bodies.
    seen: Arc<Mutex<Vec<String>>>,
    /// Answers that it gave.
    answered: Arc<AtomicU64>,
    /// Whether it says what they rest on.
    cites: Arc<AtomicBool>,
}

impl Api {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = Self {
            address: listener.local_addr().unwrap(),
            body: Arc::new(Mutex::new(CLEAN.to_owned())),
            delay_ms: Arc::default(),
            seen: Arc::default(),
            answered: Arc::default(),
            cites: Arc::default(),
        };
        let serving = api.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let api = serving.clone();
                let service = service_fn(move |request| api.clone().answer(request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        api
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<Full<bytes::Bytes>>, Infallible> {
        let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
        let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        self.seen.lock().unwrap().push(format!("{path} {}", String::from_utf8_lossy(&body)));
        tokio::time::sleep(Duration::from_millis(self.delay_ms.load(Ordering::SeqCst))).await;
        let body = self.body.lock().unwrap().clone();
        self.answered.fetch_add(1, Ordering::SeqCst);
        let mut response = Response::new(Full::new(body.into()));
        if self.cites.load(Ordering::SeqCst) {
            let basis = encode_b64(&surety_primitives::codec::encode(&basis()));
            response.headers_mut().insert(BASIS_HEADER, HeaderValue::from_str(&basis).unwrap());
        }
        Ok(response)
    }

    fn cites(&self) {
        self.cites.store(true, Ordering::SeqCst);
    }

    pub(crate) fn says(&self, body: &str) {
        body.clone_into(&mut self.body.lock().unwrap());
    }

    pub(crate) fn thinks(&self, delay_ms: u64) {
        self.delay_ms.store(delay_ms, Ordering::SeqCst);
    }

    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

pub(crate) const CLEAN: &str = r#"{"result": {"phishing": "0"}}"#;
pub(crate) const LISTED: &str = r#"{"result": {"phishing": "1"}}"#;

/// A provider with its sidecar, and a caller that bought from it.
pub(crate) struct Seller {
    pub(crate) world: World,
    pub(crate) api: Api,
    package: Package,
    log: TempDir,
}

impl Seller {
    pub(crate) async fn new(quota: u64) -> Self {
        let api = Api::start().await;
        // Calls are bound to the public host: the port must be known before the sidecar listens.
        let listen = StdListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let upstream = format!("http://{}", api.address);
        let world = World::with(|config, view| {
            config.listen = listen;
            config.authority = listen.to_string();
            config.services[0].upstream = upstream;
            config.services[0].timeout_s = 5;
            view.grant.quota = quota;
        })
        .await;
        let package = Package {
            grant: surety_primitives::access::Grant { quota, ..grant() },
            provider: ProviderId(5),
            provider_key: provider().public(),
            service: ServiceId(3),
            window: WINDOW,
            cover: Amount::ZERO,
            datasets: Vec::new(),
            endpoint: format!("http://{listen}"),
            clock: Seconds(1_000_000),
        };
        Self { world, api, package, log: tempfile::tempdir().unwrap() }
    }

    fn options(&self, name: &str) -> Options {
        Options { answers: false, ..Options::new(self.log.path().join(name)) }
    }

    pub(crate) fn caller(&self) -> Caller {
        Caller::new(self.package.clone(), key(1), None, self.options("log")).unwrap()
    }

    /// Under a sub-grant for one lane, such as a gateway gets from its owner.
    pub(crate) fn delegate(&self) -> Caller {
        let terms = SubGrantTerms {
            parent: self.package.grant.hash(),
            delegate: key(2).public(),
            first_lane: Lane(1),
            last_lane: Lane(1),
            max_calls: 20,
            valid_until: Seconds(1_900_000),
            rate: 0,
            scope: Hash32([0; 32]),
            flags: GrantFlags::MAC,
        };
        let chain: Vec<SubGrant> = vec![terms.sign(&key(1))];
        Caller::with_chain(self.package.clone(), key(2), chain, None, None, self.options("delegate")).unwrap()
    }

    pub(crate) fn service(&self, name: &str, caller: &Caller) -> Service {
        Service { name: name.to_owned(), caller: caller.clone(), price: Amount(10), must_claim: |_| Vec::new() }
    }
}

pub(crate) fn terms(name: &str, more: &str) -> String {
    format!(
        "[[remote]]\nname = \"{name}\"\nsees = [\"address\"]\nshown_as = \"whole\"\n\
         path = \"api/address/{{address}}?chain_id={{chain}}\"\nflags = [\"/result/phishing\"]\n{more}\n"
    )
}

fn policy(text: &str) -> Policy {
    Policy::load(text).unwrap_or_else(|errors| panic!("{errors}"))
}

fn remote(services: Vec<Service>, folder: &Path, buyer: Option<Buyer>) -> Remote {
    Remote::new(1, services, folder, buyer).unwrap()
}

fn stranger() -> Question {
    Question::Address(Address::repeat_byte(0xab))
}

async fn asked(remote: &Remote, policy: &Policy) -> Finding {
    remote.assess("remote", policy, &[stranger()]).await
}

/// What a policy makes of a finding, for something worth so much.
fn verdict(policy: &Policy, finding: &Finding, wei: u64) -> Verdict {
    policy.decide(&Facts::new("transaction").worth(U256::from(wei)), std::slice::from_ref(finding)).verdict
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_is_asked_about_under_a_sub_grant_and_the_answer_is_paid() {
    let seller = Seller::new(40).await;
    let caller = seller.delegate();
    let folder = tempfile::tempdir().unwrap();
    let remote = remote(vec![seller.service("orbit", &caller)], folder.path(), None);
    let policy = policy(&terms("orbit", "deadline_ms = 5000"));
    let clean = asked(&remote, &policy).await;
    assert_eq!(clean.outcome, Outcome::Passed, "{clean:?}");
    assert_eq!(seller.api.seen(), [format!("/api/address/0x{}?chain_id=1 ", "ab".repeat(20))]);
    seller.api.says(LISTED);
    let listed = asked(&remote, &policy).await;
    assert_eq!(listed.outcome, Outcome::Unsafe { verdict: Verdict::Quarantine });
    assert_eq!((listed.rule.as_str(), listed.message.as_str()), ("remote.flagged", "flagged by orbit"));
    assert_eq!(listed.evidence[0]["call"]["seq"], 2);
    seller.api.says(r#"{"result": {}}"#);
    assert_eq!(asked(&remote, &policy).await.outcome, Outcome::Unknown { reason: "flag_absent".to_owned() });
    seller.api.says("nonsense");
    assert!(matches!(asked(&remote, &policy).await.outcome, Outcome::Failed { .. }));
    remote.settle().await;
    assert_eq!(caller.acknowledged().await, 4);
    assert_eq!(remote.calls()["orbit"].answered, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn remote_timeout_follows_policy() {
    let seller = Seller::new(40).await;
    let folder = tempfile::tempdir().unwrap();
    let remote = remote(vec![seller.service("orbit", &seller.caller())], folder.path(), None);
    let usual = policy(&format!("[limits]\nvalue = \"1000\"\n{}", terms("orbit", "deadline_ms = 100")));
    seller.api.thinks(2_000);
    let begun = std::time::Instant::now();
    let finding = asked(&remote, &usual).await;
    assert!(begun.elapsed() < Duration::from_millis(1_500), "{:?}", begun.elapsed());
    assert_eq!(finding.outcome, Outcome::TimedOut);
    assert_eq!(
        (verdict(&usual, &finding, 999), verdict(&usual, &finding, 1_000)),
        (Verdict::Allow, Verdict::Quarantine)
    );
    let strict = policy("[limits]\nvalue = \"1000\"\n[checks.remote]\non_timeout = \"block\"\n");
    assert_eq!(verdict(&strict, &finding, 1), Verdict::Block);
    let lax = policy("[checks.remote]\non_timeout = \"allow\"\n");
    assert_eq!(verdict(&lax, &finding, 1_000_000), Verdict::Allow);
    // After some of them in a row it is left alone: nothing is sent, and the check fails at once.
    for _ in 0..2 {
        asked(&remote, &usual).await;
    }
    let reached = seller.api.seen().len();
    let paused = asked(&remote, &usual).await;
    assert!(matches!(&paused.outcome, Outcome::Failed { message } if message.contains("paused")), "{paused:?}");
    assert_eq!((seller.api.seen().len(), remote.calls()["orbit"].paused), (reached, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_services_disagree() {
    let (one, two) = (Seller::new(40).await, Seller::new(40).await);
    let folder = tempfile::tempdir().unwrap();
    let services = vec![one.service("one", &one.caller()), two.service("two", &two.caller())];
    let remote = remote(services, folder.path(), None);
    let text = format!(
        "[limits]\nvalue = \"1000\"\n{}{}",
        terms("one", "deadline_ms = 5000"),
        terms("two", "deadline_ms = 5000\nverdict = \"block\"")
    );
    let worst = policy(&text);
    assert_eq!(asked(&remote, &worst).await.outcome, Outcome::Passed);
    two.api.says(LISTED);
    let finding = asked(&remote, &worst).await;
    assert_eq!(finding.outcome, Outcome::Disagreed { verdict: Verdict::Block }, "{finding:?}");
    assert_eq!(finding.evidence.len(), 2, "both are on record");
    assert_eq!(verdict(&worst, &finding, 1), Verdict::Block, "the worse one counts");
    let unknown = policy(&format!("{text}[checks.remote]\non_disagree = \"unknown\"\n"));
    assert_eq!(
        (verdict(&unknown, &finding, 1), verdict(&unknown, &finding, 1_000)),
        (Verdict::Allow, Verdict::Quarantine)
    );
    one.api.says(LISTED);
    assert_eq!(asked(&remote, &worst).await.outcome, Outcome::Unsafe { verdict: Verdict::Block });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quota_exhausted_is_unknown() {
    let (small, large) = (Seller::new(2).await, Seller::new(40).await);
    let folder = tempfile::tempdir().unwrap();
    let caller = small.caller();
    let next = Mutex::new(Some(large.caller()));
    let buyer: Buyer = Arc::new(move |order| {
        assert_eq!((order.name.as_str(), order.most), ("orbit", Amount(500)));
        let caller = next.lock().unwrap().take();
        Box::pin(async move {
            let caller = caller.ok_or_else(|| BuyError::Refused("sold out".to_owned()))?;
            Ok(Bought { caller, cost: Amount(400), price: Amount(10) })
        })
    });
    let bare = policy(&terms("orbit", "deadline_ms = 5000"));
    let remote = remote(vec![small.service("orbit", &caller)], folder.path(), Some(buyer));
    for _ in 0..2 {
        assert_eq!(asked(&remote, &bare).await.outcome, Outcome::Passed);
    }
    let unknown = Outcome::Unknown { reason: "quota_exhausted".to_owned() };
    let finding = asked(&remote, &bare).await;
    assert_eq!(finding.outcome, unknown, "{finding:?}");
    assert_eq!(verdict(&policy("[checks.remote]\non_unknown = \"block\"\n"), &finding, 1), Verdict::Block);
    assert_eq!(remote.calls()["orbit"].exhausted, 1);
    assert!(remote.spent().is_empty(), "without a budget nothing is bought");
    // With one, the next package is bought, and the budget is kept over restarts.
    let budgeted = policy(&terms("orbit", "deadline_ms = 5000\nbudget = \"500\""));
    assert_eq!(asked(&remote, &budgeted).await.outcome, unknown);
    for _ in 0..100 {
        if remote.spent().contains_key("orbit") && asked(&remote, &budgeted).await.outcome == Outcome::Passed {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(asked(&remote, &budgeted).await.outcome, Outcome::Passed);
    assert_eq!(remote.spent()["orbit"], Amount(400));
    let again = self::remote(Vec::new(), folder.path(), None);
    assert_eq!(again.spent()["orbit"], Amount(400));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_pending_leaves_by_default() {
    let seller = Seller::new(40).await;
    let folder = tempfile::tempdir().unwrap();
    let remote = remote(vec![seller.service("orbit", &seller.caller())], folder.path(), None);
    let questions = [
        Question::Transaction(Bytes::from_static(b"raw")),
        Question::TypedData("{}".to_owned()),
        Question::Message(Bytes::from_static(b"hello")),
        Question::Name("example.com".to_owned()),
        stranger(),
    ];
    for question in &questions {
        let finding = remote.assess("remote", &policy(""), std::slice::from_ref(question)).await;
        assert!(finding.outcome.passed() && finding.evidence.is_empty(), "{finding:?}");
    }
    // A service that is named and sees nothing, or answers for another check, is shown nothing either.
    let blind = "[[remote]]\nname = \"orbit\"\npath = \"api/x\"\nflags = [\"/x\"]\n";
    let other = terms("orbit", "check = \"other\"");
    for text in [blind, other.as_str()] {
        for question in &questions {
            remote.assess("remote", &policy(text), std::slice::from_ref(question)).await;
        }
    }
    assert_eq!(seller.api.seen(), Vec::<String>::new());
    // One that may see addresses sees no more than these.
    for question in &questions {
        remote.assess("remote", &policy(&terms("orbit", "deadline_ms = 5000")), std::slice::from_ref(question)).await;
    }
    assert_eq!(seller.api.seen().len(), 1);
    let all = "[[remote]]\nname = \"orbit\"\nsees = [\"transaction\"]\npath = \"api/scan\"\nflags = [\"/result/phishing\"]\ndeadline_ms = 5000\n";
    for question in &questions {
        remote.assess("remote", &policy(all), std::slice::from_ref(question)).await;
    }
    assert_eq!(seller.api.seen()[1], r#"/api/scan {"chain_id":"1","raw_transaction":"0x726177"}"#);
    assert_eq!(seller.api.seen().len(), 2);
}

fn under(listed: &str, others: &str, name: &[u8]) -> String {
    let prefix = surety_primitives::dataset::Prefix::of(name);
    format!(r#"{{"result": {{"prefix": "{prefix}", "listed": {{{listed}}}, "others": {{{others}}}}}}}"#)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_and_names_go_out_as_prefixes_unless_the_policy_says_otherwise() {
    let seller = Seller::new(40).await;
    let folder = tempfile::tempdir().unwrap();
    let remote = remote(vec![seller.service("orbit", &seller.caller())], folder.path(), None);
    let text = |sees: &str| {
        format!(
            "[[remote]]\nname = \"orbit\"\nsees = [\"{sees}\"]\npath = \"api/{sees}/{{prefix}}\"\nflags = \
             [\"/bad\"]\ndeadline_ms = 5000\n"
        )
    };
    let addresses = policy(&text("address"));
    let address = Address::repeat_byte(0xab);
    seller.api.says(&under("", r#""bad": "0""#, address.as_slice()));
    assert_eq!(asked(&remote, &addresses).await.outcome, Outcome::Passed);
    seller.api.says(&under(&format!(r#""{address}": {{"bad": "1"}}"#), r#""bad": "0""#, address.as_slice()));
    assert_eq!(asked(&remote, &addresses).await.outcome, Outcome::Unsafe { verdict: Verdict::Quarantine });
    // An answer of other form says nothing.
    seller.api.says(CLEAN);
    assert!(matches!(asked(&remote, &addresses).await.outcome, Outcome::Unknown { .. }));
    let seen = seller.api.seen();
    let prefix = surety_primitives::dataset::Prefix::of(address.as_slice());
    assert_eq!(seen, vec![format!("/api/address/{prefix} "); 3]);
    // A name is asked about with all that it lies below; one of them is listed.
    let names = policy(&text("name"));
    let name = Question::Name("a.Evil.example".to_owned());
    seller.api.says(&under(r#""evil.example": {"bad": "1"}"#, r#""bad": "0""#, b"evil.example"));
    let finding = remote.assess("remote", &names, std::slice::from_ref(&name)).await;
    assert_eq!(finding.outcome, Outcome::Unsafe { verdict: Verdict::Quarantine }, "{finding:?}");
    let parts = ["evil.example", "a.evil.example"].map(|part| {
        let prefix = surety_primitives::dataset::Prefix::of(part.as_bytes());
        format!("/api/name/{prefix} ")
    });
    let mut asked: Vec<String> = seller.api.seen().split_off(3);
    asked.sort_unstable();
    let mut expected = parts.to_vec();
    expected.sort_unstable();
    assert_eq!(asked, expected);
}

#[test]
fn a_path_that_shows_more_than_a_prefix_needs_the_word_for_it() {
    let text = |shown: &str, path: &str| {
        format!("[[remote]]\nname = \"orbit\"\nsees = [\"address\"]\n{shown}path = \"{path}\"\nflags = [\"/a\"]\n")
    };
    let whole = "shown_as = \"whole\"\n";
    for (shown, path, is_good) in [
        ("", "api/{prefix}", true),
        (whole, "api/{address}", true),
        ("", "api/{address}", false),
        ("", "api/{prefix}/{address}", false),
        (whole, "api/{prefix}", false),
        (whole, "api/{prefix}/{address}", false),
        ("", "api", false),
        (whole, "api/{name}", false),
    ] {
        assert_eq!(Policy::load(&text(shown, path)).is_ok(), is_good, "{shown}{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_cover_is_promised_for_must_make_the_claims_that_its_question_needs() {
    let mut seller = Seller::new(40).await;
    seller.package.cover = Amount(1_000);
    seller.package.datasets = vec![basis().datasets()[0].id];
    seller.api.cites();
    let folder = tempfile::tempdir().unwrap();
    let caller =
        Caller::new(seller.package.clone(), key(1), None, Options::new(seller.log.path().join("whole"))).unwrap();
    let must_claim = |path: &str| {
        assert!(path.contains("api/address/0xabab"), "{path}");
        vec![surety_primitives::dataset::Key::new(35, &[0xab; 20]).unwrap()]
    };
    let service = Service { must_claim, ..seller.service("orbit", &caller) };
    let remote = remote(vec![service], folder.path(), None);
    let policy = policy(&terms("orbit", "deadline_ms = 5000"));
    let finding = asked(&remote, &policy).await;
    assert!(matches!(&finding.outcome, Outcome::Failed { message } if message.contains("contradicted")), "{finding:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_answer_not_acknowledged() {
    let seller = Seller::new(40).await;
    let caller = seller.caller();
    let folder = tempfile::tempdir().unwrap();
    let remote = remote(vec![seller.service("orbit", &caller)], folder.path(), None);
    let in_time = policy(&terms("orbit", "deadline_ms = 5000"));
    assert_eq!(asked(&remote, &in_time).await.outcome, Outcome::Passed);
    seller.api.thinks(400);
    let hasty = policy(&terms("orbit", "deadline_ms = 100"));
    assert_eq!(asked(&remote, &hasty).await.outcome, Outcome::TimedOut);
    seller.api.thinks(0);
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(asked(&remote, &in_time).await.outcome, Outcome::Passed);
    remote.settle().await;
    assert_eq!(seller.api.seen().len(), 3, "three calls were made");
    assert_eq!(caller.acknowledged().await, 2, "and two are paid");
    // What the log says after a restart is the same: the late one is not taken for a lost one.
    drop(remote);
    drop(caller);
    assert_eq!(seller.caller().acknowledged().await, 2);
    assert!(seller.world.metric("calls_admitted").await >= 3);
}
