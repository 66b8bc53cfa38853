#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use alloy_primitives::{Address, Bytes, U256};
use proptest::prelude::*;

use super::super::verdict::{Fact, Finding, Verdict};
use super::*;

fn ether(n: u64) -> U256 {
    U256::from(n) * U256::from(1_000_000_000_000_000_000_u64)
}

fn policy(text: &str) -> Policy {
    Policy::load(text).unwrap_or_else(|errors| panic!("{errors}"))
}

fn rule(when: &str, then: &str) -> String {
    format!(
        "[limits]\nvalue = \"1 ether\"\napprove = \"1000 ether\"\ncalls = 3\n[[rule]]\nid = \"r\"\nwhen = \"{when}\"\nthen = \"{then}\"\n"
    )
}

/// What is wrong with a policy of one rule.
fn wrong(when: &str) -> PolicyError {
    Policy::load(&rule(when, "block")).expect_err(when).0.remove(0)
}

fn facts() -> Facts {
    Facts::new("transaction")
        .sent_by("wallet-1", "eth_sendRawTransaction")
        .with("tx.to", Fact::Address(Address::repeat_byte(7)))
        .with("tx.value", Fact::Amount(ether(2)))
        .with("tx.nonce", Fact::Int(4))
        .worth(ether(2))
}

fn approval(amount: U256) -> Finding {
    Finding::passed("lists")
        .with("decoded.kind", Fact::Text("approve".to_owned()))
        .with("decoded.amount", Fact::Amount(amount))
        .with("decoded.spender", Fact::Address(Address::repeat_byte(9)))
}

fn labelled(labels: &[&str]) -> Finding {
    Finding::passed("lists").with("lists.spender", Fact::words(labels.iter().copied()))
}

fn holds(when: &str, findings: &[Finding]) -> bool {
    let decision = policy(&rule(when, "quarantine")).decide(&facts(), findings);
    assert_ne!(decision.verdict, Verdict::Block, "{decision:?}");
    decision.verdict == Verdict::Quarantine
}

#[test]
fn the_rule_of_the_sheet_holds_a_big_approval_to_a_stranger_alone() {
    let when = "decoded.kind == 'approve' && gt(decoded.amount, limits.approve) && !('trust' in lists.spender)";
    assert!(holds(when, &[approval(ether(1_001)), labelled(&[])]));
    assert!(!holds(when, &[approval(ether(1_000)), labelled(&[])]));
    assert!(!holds(when, &[approval(ether(1_001)), labelled(&["trust"])]));
}

#[test]
fn conditions_mean_what_cel_says() {
    let findings = [approval(ether(5)), labelled(&["trust", "exchange"])];
    for (when, expected) in [
        ("true", true),
        ("tx.nonce + 1 == 5 && tx.nonce * 2 >= 8 && tx.nonce % 3 == 1 && tx.nonce / 2 < 3", true),
        ("-tx.nonce == -4", true),
        ("tx.nonce > limits.calls ? tx.method.startsWith('eth_') : false", true),
        ("tx.to == '0x0707070707070707070707070707070707070707'", true),
        ("tx.to in ['0x0707070707070707070707070707070707070707']", true),
        ("tx.to != decoded.spender && !(tx.to in ['0x0909090909090909090909090909090909090909'])", true),
        ("eq(decoded.amount, amount('5 ether')) && le(add(tx.value, decoded.amount), amount('7 ether'))", true),
        ("lt(sub(decoded.amount, tx.value), amount('3 ether'))", false),
        ("tx.value == amount('2 ether')", true),
        ("has(decoded.owner) || has(limits.calls)", true),
        ("has(decoded.owner)", false),
        ("size(lists.spender) == 2 && client.id.size() == 8", true),
        ("decoded.kind in ['approve', 'permit']", true),
        ("verdicts.lists == 'passed' && verdicts.simulation == 'none'", true),
        ("client.id.contains('let-') && client.id.endsWith('1')", true),
        // As in CEL, the side that decides does so although the other has no value.
        ("false && gt(diff.native_out, limits.value)", false),
        ("gt(diff.native_out, limits.value) && false", false),
        ("diff.owner_changed || true", true),
    ] {
        assert_eq!(holds(when, &findings), expected, "{when}");
    }
}

#[test]
fn an_amount_and_a_plain_number_do_not_mix_and_the_error_says_what_to_write() {
    for when in ["gt(decoded.amount, 5)", "decoded.amount == 5", "gt(5, decoded.amount)", "eq(tx.value, limits.calls)"]
    {
        let error = wrong(when);
        assert!(error.message.contains("amount('5"), "{when}: {error}");
    }
    assert!(wrong("decoded.amount > limits.approve").message.contains("gt(a, b)"));
    assert!(wrong("decoded.amount + tx.value == tx.value").message.contains("add(a, b)"));
    assert!(wrong("eq(tx.value, amount('1e18'))").message.contains("1.5 ether"));
}

#[test]
fn what_is_unknown_or_of_another_type_is_an_error_when_it_is_loaded() {
    for (when, word) in [
        ("decoded.knd == 'approve'", "did you mean decoded.kind"),
        ("decoded.weather == 'rain'", "under decoded there are"),
        ("weather == 'rain'", "names begin with"),
        ("gt(tx.value, limits.unheard)", "[limits]; there: approve, calls, value"),
        ("tx.nonce", "a condition is true or false"),
        ("tx.nonce == 'four'", "never equal"),
        ("tx.to == 'me'", "no address"),
        ("tx.to == '0707070707070707070707070707070707070707'", "no address"),
        ("tx.nonce in lists.spender", "never in"),
        ("lists.spender.exists(label, label == 'x')", "ask with `in`"),
        ("[1, 2].all(x, x > 1)", "ask with `in`"),
        ("1 in [1, 2]", "texts or addresses"),
        ("{'a': 1}.a == 1", "two parts"),
        ("now() > 5", "not taken"),
        ("size(1, 2, 3) == 5", "not taken"),
        ("1.5 > tx.nonce", "no fractions"),
        ("tx.nonce == null", "null"),
        ("tx.nonce ==", "no CEL"),
        ("&&", "no CEL"),
        ("tx.kind.matches('.*')", "not taken"),
        ("verdicts.nonsense == 'passed'", "under verdicts there are"),
    ] {
        let error = wrong(when);
        assert!(error.message.contains(word), "{when}: {error}");
    }
}

#[test]
fn errors_name_line_and_column() {
    let text = "\n[[rule]]\nid = \"a\"\nwhen = \"true && tx.nnce == 1\"\nthen = \"block\"\n[[rule]]\nid = \"a\"\nwhen = '''\ntrue &&\n  foo.bar'''\nthen = \"block\"\n";
    let errors = Policy::load(text).unwrap_err();
    let places: Vec<_> = errors.0.iter().map(|error| (error.line, error.column, error.place.as_str())).collect();
    assert_eq!(places[0].0, 4);
    assert_eq!(places[0].2, "rule a");
    assert!(errors.0.iter().any(|error| error.message.contains("another rule")), "{errors}");
    assert!(places.iter().any(|place| place.0 == 10), "{errors}");
    let misspelt = Policy::load("[limits]\n\n[chekcs.x]\n").unwrap_err();
    assert_eq!(misspelt.0[0].line, 3, "{misspelt}");
    assert!(misspelt.to_string().contains("chekcs"));
    let bad = Policy::load("[checks.simulation]\non_timeout = \"alow\"\n").unwrap_err();
    assert!(bad.to_string().contains("line 2") && bad.to_string().contains("alow"), "{bad}");
    let bad = Policy::load("[checks.simulation]\non_timeout = 5\n").unwrap_err();
    assert!(bad.to_string().contains("below"), "{bad}");
}

#[test]
fn parts_of_a_rule_that_do_not_go_together_are_refused() {
    for (lines, word) in [
        ("then = \"block\"\nlifts = [\"approve.*\"]", "lifts"),
        ("then = \"warn\"\nrelease = { token = true }", "holds nothing"),
        ("then = \"allow\"\nlifts = [\"sanctions.*\"]", "sanctions"),
        ("then = \"allow\"\nlifts = [\"*\"]", "sanctions"),
        ("then = \"maybe\"", "maybe"),
    ] {
        let errors = Policy::load(&format!("[[rule]]\nid = \"a\"\nwhen = \"true\"\n{lines}\n")).unwrap_err();
        assert!(errors.to_string().contains(word), "{errors}");
    }
    for text in [
        "[checks.sanctions]\non_error = \"allow\"\n",
        "[checks.sanctions]\nrelease = { token = true }\n",
        "[checks.simulation]\ndeadline_ms = 0\n",
        "[hold]\ntotal = 0\n",
        "[limits]\nvalue = 5\n",
        "[limits]\nvalue = \"5 eth\"\n",
    ] {
        assert!(Policy::load(text).is_err(), "{text}");
    }
}

#[test]
fn conditions_have_bounds() {
    assert!(wrong(&["true"; 400].join("&&")).message.contains("parts"));
    assert!(wrong(&"(".repeat(2_000)).message.contains("nested"));
    assert!(wrong(&format!("tx.kind == '{}'", "x".repeat(5_000))).message.contains("bytes"));
    let words = vec!["'a'"; 300].join(", ");
    assert!(wrong(&format!("tx.kind in [{words}]")).message.contains("entries"));
    assert!(Policy::load(&" ".repeat(MOST_BYTES + 1)).is_err());
}

#[test]
fn a_rule_without_a_value_blocks() {
    let policy = policy(&rule("gt(decoded.amount, limits.approve)", "warn"));
    let decision = policy.decide(&facts(), &[]);
    assert_eq!((decision.verdict, decision.rule.as_str()), (Verdict::Block, "evaluation:r"));
    assert!(decision.message.contains("decoded.amount is not known"), "{decision:?}");
    let wrong_type = Finding::passed("lists").with("decoded.amount", Fact::Int(5));
    assert_eq!(policy.decide(&facts(), &[wrong_type]).verdict, Verdict::Block);
    let divides = super::tests::policy(&rule("tx.nonce / (tx.nonce - 4) == 1", "warn"));
    assert_eq!(divides.decide(&facts(), &[]).verdict, Verdict::Block);
}

#[test]
fn the_labels_of_a_role_are_unknown_where_no_list_was_looked_at() {
    let policy = policy(&rule("'drainer' in lists.spender", "block"));
    let decision = policy.decide(&facts(), &[]);
    assert_eq!(decision.rule, "evaluation:r");
    let looked = Finding::passed("lists").with("lists.to", Fact::words(["trust"]));
    assert_eq!(policy.decide(&facts(), std::slice::from_ref(&looked)).verdict, Verdict::Allow);
    let both = [looked, Finding::passed("more").with("lists.spender", Fact::words(["drainer"])), labelled(&["trust"])];
    assert_eq!(policy.decide(&facts(), &both).rule, "r");
}

#[test]
fn a_check_cannot_state_what_the_transaction_is() {
    let policy = policy(&rule("tx.nonce == 4", "quarantine"));
    let liar = Finding::passed("lists").with("tx.nonce", Fact::Int(5));
    assert_eq!(policy.decide(&facts(), &[liar]).verdict, Verdict::Quarantine);
}

const LISTED: &str = r#"
[limits]
value = "1 ether"
[checks.lists]
release = { token = true }
[[rule]]
id = "trusted"
when = "'trust' in lists.spender"
then = "allow"
lifts = ["approve.*"]
[[rule]]
id = "watch"
when = "tx.nonce == 4"
then = "warn"
[[rule]]
id = "slow"
when = "gt(tx.value, limits.value)"
then = "quarantine"
release = { after_s = 60, token = true, admin = true }
message = "large transfers wait a minute"
"#;

#[test]
fn a_rule_that_does_not_allow_never_makes_a_verdict_better() {
    let policy = policy(LISTED);
    let held = policy.decide(&facts(), &[labelled(&[])]);
    assert_eq!((held.verdict, held.rule.as_str()), (Verdict::Quarantine, "slow"));
    assert_eq!(held.message, "large transfers wait a minute");
    assert_eq!(held.release, Release { after_s: Some(60), token: true, admin: true });
    let listed = Finding::hit("lists", Verdict::Block, "approve.listed", "the spender is a known drainer");
    let blocked = policy.decide(&facts(), &[labelled(&[]), listed]);
    assert_eq!((blocked.verdict, blocked.rule.as_str()), (Verdict::Block, "approve.listed"));
    assert_eq!(blocked.message, "the spender is a known drainer");
}

#[test]
fn an_allowing_rule_sets_aside_what_it_names_and_ends_the_list() {
    let policy = policy(LISTED);
    let unlimited = Finding::hit("lists", Verdict::Quarantine, "approve.unlimited", "unlimited");
    let allowed = policy.decide(&facts(), &[labelled(&["trust"]), unlimited.clone()]);
    assert_eq!((allowed.verdict, allowed.rule.as_str()), (Verdict::Allow, "trusted"));
    // Every rule that a finding hit must be named.
    let more = Finding { also: vec!["drain.multicall".to_owned()], ..unlimited };
    assert_eq!(policy.decide(&facts(), &[labelled(&["trust"]), more]).verdict, Verdict::Quarantine);
    let broken = Finding::timed_out("simulation");
    assert_eq!(policy.decide(&facts(), &[labelled(&["trust"]), broken]).verdict, Verdict::Quarantine);
    let similar = Finding::hit("lists", Verdict::Block, "approvement", "");
    assert_eq!(policy.decide(&facts(), &[labelled(&["trust"]), similar]).verdict, Verdict::Block);
}

#[test]
fn sanctions_cannot_be_allowed_away() {
    let open = policy(
        "dry_run = true\n[[rule]]\nid = \"all\"\nwhen = \"true\"\nthen = \"allow\"\nlifts = [\"x.*\", \"check:x\"]\n",
    );
    for finding in [
        Finding::hit("sanctions", Verdict::Warn, "x.listed", "listed"),
        Finding::unknown("sanctions", "list_missing"),
        Finding::failed("sanctions", "broken"),
        Finding::timed_out("sanctions"),
    ] {
        let decision = open.decide_overridden(&facts(), &[finding], &["x.listed".into(), "check:sanctions".into()]);
        assert_eq!(decision.verdict, Verdict::Block, "{decision:?}");
        assert_eq!(decision.release, Release::default());
    }
    let required = policy("[checks.sanctions]\nrequired = true\n");
    assert_eq!(required.decide(&facts(), &[]).verdict, Verdict::Block);
    assert_eq!(required.decide(&facts(), &[Finding::passed("sanctions")]).verdict, Verdict::Allow);
    let announced = Vocabulary::standard().check("sanctions", Failure::REMOTE);
    let policy = Policy::load_with("", &announced).unwrap();
    assert_eq!(policy.decide(&facts(), &[Finding::timed_out("sanctions")]).verdict, Verdict::Block);
}

#[test]
fn failures_follow_the_value_at_stake_and_an_unknown_value_counts_as_high() {
    let policy = policy("[limits]\nvalue = \"1 ether\"\n");
    let timeout = [Finding::timed_out("simulation")];
    assert_eq!(policy.decide(&facts().worth(ether(1)), &timeout).verdict, Verdict::Quarantine);
    assert_eq!(policy.decide(&facts().worth(ether(1) - U256::ONE), &timeout).verdict, Verdict::Warn);
    assert_eq!(policy.decide(&Facts::new("transaction"), &timeout).verdict, Verdict::Quarantine);
    assert_eq!(super::tests::policy("").decide(&facts().worth(U256::ZERO), &timeout).verdict, Verdict::Quarantine);
    let strict = super::tests::policy("[checks.simulation]\non_timeout = \"block\"\ndeadline_ms = 5\n");
    assert_eq!(strict.decide(&facts(), &timeout).verdict, Verdict::Block);
    assert_eq!(strict.failure("simulation").deadline_ms, 5);
    assert_eq!(strict.failure("unheard").deadline_ms, Failure::LOCAL.deadline_ms);
}

#[test]
fn dry_run_forwards_and_records() {
    let one = policy(&rule("tx.nonce == 4", "block").replace("then =", "dry_run = true\nthen ="));
    let decision = one.decide(&facts(), &[]);
    assert_eq!(decision.verdict, Verdict::Allow);
    assert_eq!(decision.dry_run, [DryRun { rule: "r".to_owned(), verdict: Verdict::Block }]);
    let whole = policy(&format!("dry_run = true\n{}", rule("tx.nonce == 4", "block")));
    let decision = whole.decide(&facts(), &[]);
    assert_eq!((decision.verdict, decision.found, decision.rule.as_str()), (Verdict::Warn, Verdict::Block, "r"));
}

#[test]
fn an_override_reaches_what_it_names_and_no_block() {
    let policy = policy(LISTED);
    let unlimited = Finding::hit("lists", Verdict::Quarantine, "approve.unlimited", "unlimited");
    let findings = [labelled(&[]), unlimited];
    let held = policy.decide(&facts(), &findings);
    assert_eq!(held.holders(), ["approve.unlimited", "slow"]);
    assert_eq!(
        held.release,
        Release { after_s: None, token: true, admin: true },
        "what several hold leaves as all allow"
    );
    let released = policy.decide_overridden(&facts(), &findings, &held.holders());
    assert_eq!(released.verdict, Verdict::Warn);
    let part = policy.decide_overridden(&facts(), &findings, &["slow".to_owned()]);
    assert_eq!(part.verdict, Verdict::Quarantine);
    let listed = [Finding::hit("lists", Verdict::Block, "approve.listed", ""), labelled(&[])];
    assert_eq!(policy.decide_overridden(&facts(), &listed, &["approve.listed".to_owned()]).verdict, Verdict::Block);
}

#[test]
fn methods_are_refused_by_name_and_by_prefix() {
    let policy = policy(
        "[methods]\nrefuse = [\"mev_*\", \"eth_sendBundle\"]\nunsigned = [\"eth_sendTransaction\", \"mev_sign\"]\n",
    );
    assert!(policy.methods().refuses("mev_sendBundle") && policy.methods().refuses("eth_sendBundle"));
    assert!(!policy.methods().refuses("eth_sendBundles"));
    assert!(policy.methods().takes_unsigned("eth_sendTransaction") && !policy.methods().takes_unsigned("mev_sign"));
}

#[test]
fn remote_services_see_what_the_policy_names_and_pending_things_are_shown_to_few() {
    let terms = |name: &str, sees: &str, path: &str| {
        format!("[[remote]]\nname = \"{name}\"\nsees = [{sees}]\npath = \"{path}\"\nflags = [\"/flag\"]\n")
    };
    assert_eq!(policy(&terms("a", "\"address\"", "v1/{prefix}")).remotes()[0].sees, [Sight::Address]);
    for (text, word) in [
        (terms("a", "", "v1/{address}"), "does not name"),
        (terms("a", "", "v1/{prefix}"), "has the place"),
        (terms("a", "\"address\"", "v1/{address}"), "shown_as = \"whole\""),
        (terms("a", "\"address\", \"transaction\"", "v1/{address}"), "one kind"),
        (terms("a", "\"address\"", "https://elsewhere/{address}"), "below the listing"),
        (terms("a", "\"address\"", "v1"), "has the place"),
        (["a", "b", "c"].map(|name| terms(name, "\"transaction\"", "v1")).concat(), "published"),
        (
            terms("a", "\"address\"", "v1/{address}").replace("name =", "check = \"sanctions\"\nname ="),
            "here, not elsewhere",
        ),
    ] {
        let errors = Policy::load(&text).expect_err(&text);
        assert!(errors.to_string().contains(word), "{errors}");
    }
}

#[test]
fn the_description_names_every_rule_in_order() {
    let policy = policy(LISTED);
    let text = policy.describe();
    let place = |word: &str| text.find(word).unwrap_or_else(|| panic!("{word}: {text}"));
    assert!(place("1. trusted: allow") < place("2. watch: warn"));
    assert!(place("2. watch") < place("3. slow: quarantine"));
    assert!(text.contains(&policy.hash().to_string()));
    assert!(text.contains("nothing leaves"));
}

#[test]
fn what_a_transaction_is_comes_from_its_envelope() {
    use alloy_consensus::{Signed, TxEip1559, TxEnvelope};
    use alloy_primitives::{B256, Signature, TxKind, bytes};

    let envelope = |to: TxKind, input| {
        let tx = TxEip1559 {
            chain_id: 1,
            nonce: u64::MAX,
            gas_limit: 21_000,
            max_fee_per_gas: 10,
            max_priority_fee_per_gas: 2,
            to,
            value: ether(3),
            input,
            ..TxEip1559::default()
        };
        TxEnvelope::Eip1559(Signed::new_unchecked(tx, Signature::test_signature(), B256::ZERO))
    };
    let facts = |to, input| Facts::transaction(&envelope(to, input), Address::repeat_byte(1), B256::ZERO);
    let to = TxKind::Call(Address::repeat_byte(7));
    let plain = facts(to, Bytes::new());
    assert_eq!((plain.stake(), plain.get("tx.type")), (Some(ether(3)), Some(&Fact::Int(2))));
    assert_eq!(plain.get("tx.nonce"), Some(&Fact::Int(i64::MAX)));
    assert_eq!(plain.get("tx.fee"), Some(&Fact::Amount(U256::from(210_000))));
    assert_eq!(plain.get("decoded.kind"), Some(&Fact::Text("native_transfer".to_owned())));
    let call = facts(to, bytes!("a9059cbb00"));
    assert_eq!(
        (call.stake(), call.get("decoded.kind")),
        (None, None),
        "what a call moves shows only in its simulation"
    );
    assert_eq!(call.get("tx.selector"), Some(&Fact::Text("0xa9059cbb".to_owned())));
    let deploy = facts(TxKind::Create, bytes!("a9059cbb00"));
    assert_eq!((deploy.get("tx.to"), deploy.get("tx.selector")), (None, None));
    assert_eq!(deploy.get("decoded.kind"), Some(&Fact::Text("deploy".to_owned())));
}

#[test]
fn policy_reload_is_atomic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.toml");
    let write = |then: &str| {
        let rule = |id: &str| format!("[[rule]]\nid = \"{id}\"\nwhen = \"true\"\nthen = \"{then}\"\n");
        // A file is replaced as a whole, as editors and deployments do.
        std::fs::write(folder.path().join("new"), format!("{}{}", rule("one"), rule("two"))).unwrap();
        std::fs::rename(folder.path().join("new"), &path).unwrap();
    };
    write("warn");
    let live = Arc::new(LivePolicy::open(&path, Vocabulary::standard()).unwrap());
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let deciding: Vec<_> = (0..2)
        .map(|_| {
            let (live, stop) = (Arc::clone(&live), Arc::clone(&stop));
            std::thread::spawn(move || {
                let mut seen = 0_u64;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let policy = live.get();
                    let rules: std::collections::BTreeSet<_> = policy.rules.iter().map(|rule| rule.then).collect();
                    assert_eq!(rules.len(), 1, "half of a policy was in force");
                    assert_eq!(policy.decide(&facts(), &[]).verdict, *rules.first().unwrap());
                    seen += 1;
                }
                seen
            })
        })
        .collect();
    for turn in 0..50 {
        write(if turn % 2 == 0 { "quarantine" } else { "warn" });
        assert!(matches!(live.reload(), Ok(Reloaded::Changed { .. })));
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(deciding.into_iter().all(|thread| thread.join().unwrap() > 0));
}

#[test]
fn a_bad_file_leaves_the_policy_before_in_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.toml");
    std::fs::write(&path, rule("true", "quarantine")).unwrap();
    let live = LivePolicy::open(&path, Vocabulary::standard()).unwrap();
    let before = live.get().hash();
    std::fs::write(&path, rule("true &&", "block")).unwrap();
    assert!(live.reload().is_err() && live.reload().is_err());
    assert_eq!((live.get().hash(), live.failures()), (before, 1));
    assert!(live.wrong().is_some());
    std::fs::remove_file(&path).unwrap();
    assert!(live.reload().is_err());
    assert_eq!(live.get().decide(&facts(), &[]).verdict, Verdict::Quarantine);
    std::fs::write(&path, rule("true", "block")).unwrap();
    assert!(matches!(live.reload(), Ok(Reloaded::Changed { .. })));
    assert_eq!((live.get().decide(&facts(), &[]).verdict, live.wrong()), (Verdict::Block, None));
}

#[test]
fn a_changed_file_is_seen_without_a_word() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.toml");
    std::fs::write(&path, rule("true", "quarantine")).unwrap();
    let live = LivePolicy::open(&path, Vocabulary::standard()).unwrap();
    assert_eq!(live.look(), Ok(Reloaded::Same));
    std::fs::write(&path, rule("true", "warn")).unwrap();
    // Another length shows at once; the same stamp would show at the tenth look.
    assert!((0..10).any(|_| matches!(live.look(), Ok(Reloaded::Changed { .. }))));
    assert_eq!(live.get().decide(&facts(), &[]).verdict, Verdict::Warn);
}

#[test]
fn the_example_of_the_manual_compiles_and_does_what_it_says() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/policy.toml")).unwrap();
    let policy = policy(&text);
    assert!(policy.describe().contains("big-approval"));
    let stranger = [Finding::passed("sanctions"), approval(ether(1_000_000)), labelled(&[])];
    assert_eq!(policy.decide(&facts(), &stranger).rule, "big-approval");
    let friend = [Finding::passed("sanctions"), approval(ether(1_000_000)), labelled(&["trust"])];
    assert_eq!(policy.decide(&facts(), &friend).verdict, Verdict::Allow);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_makes_the_compiler_panic(text in "[ -~\n]{0,200}") {
        let _ = Policy::load(&text);
        let _ = Policy::load(&format!("[[rule]]\nid = \"r\"\nthen = \"block\"\nwhen = '''{text}'''\n"));
    }

    #[test]
    fn no_condition_of_plausible_parts_makes_the_compiler_or_a_decision_panic(
        parts in proptest::collection::vec(prop_oneof![
            Just("tx.nonce"), Just("decoded.amount"), Just("lists.to"), Just("limits.value"), Just("=="), Just("&&"),
            Just("||"), Just("!"), Just("("), Just(")"), Just("in"), Just("gt("), Just(","), Just("5"), Just("'x'"),
            Just("["), Just("]"), Just("?"), Just(":"), Just("has("), Just("true"), Just("-"), Just("."), Just("amount('1')"),
        ], 0..24)
    ) {
        if let Ok(policy) = Policy::load(&rule(&parts.join(" "), "block")) {
            let _ = policy.decide(&facts(), &[approval(ether(1))]);
        }
    }
}
