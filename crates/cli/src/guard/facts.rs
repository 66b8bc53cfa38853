//! What a policy's rules see of a screening: `decoded`, `diff` and `lists`.

use std::collections::BTreeSet;

use alloy_primitives::{Address, U256};
use surety_evm::{AssetChanges, NativeChange};
use surety_proxy::gateway::verdict::{Fact, Finding};
use surety_security::decode::Action;
use surety_security::decode::action::{Extent, UNLIMITED};
use surety_security::parties::Parties;
use surety_security::screen::Grounds;
use surety_security::simulate::Simulated;

/// Writes the facts into a finding.
pub(super) fn tell(finding: &mut Finding, signer: Option<Address>, grounds: &Grounds, parties: &mut Parties<'_>) {
    let mut facts = Facts { finding, parties };
    let calls = grounds.decoded.calls();
    let outermost = calls.first();
    // Always told, so that a rule about lists never finds none at all.
    for (role, account) in [("lists.from", signer), ("lists.to", outermost.and_then(|call| call.raw.to))] {
        let labels = account.map_or_else(|| Fact::words([""; 0]), |account| facts.labels(account));
        facts.put(role, labels);
    }
    facts.put("decoded.calls", count(calls.len()));
    if let Some(reading) = outermost.and_then(|call| call.reading()) {
        facts.put("decoded.signature", Fact::Text(reading.method.signature.clone()));
    }
    let actions = grounds.decoded.actions();
    // Rules speak of one thing: an approval before anything else, because it outlasts the transaction; of several the one
    // that a thief would hide among the others.
    let given = actions.iter().filter(|action| matches!(action, Action::Grant(grant) if !grant.extent.is_nothing()));
    let worst = given.max_by_key(|action| facts.danger(action));
    // What is moved hides nothing that is given away beside it.
    let other = actions.iter().find(|action| !matches!(action, Action::Move(_)));
    match worst.or(other).or_else(|| actions.first()) {
        Some(action) => facts.action(action),
        // A rule about approvals must not stumble over a call that is none.
        None => facts.kind("other"),
    }
    if let Ok(Some(simulated)) = &grounds.simulated {
        facts.outcome(simulated);
    }
}

struct Facts<'f, 'p, 'l> {
    finding: &'f mut Finding,
    parties: &'p mut Parties<'l>,
}

impl Facts<'_, '_, '_> {
    fn put(&mut self, name: &str, fact: Fact) {
        self.finding.facts.insert(name.to_owned(), fact);
    }

    /// An account, with the labels that lists give it.
    fn party(&mut self, role: &str, address: Option<Address>) {
        let Some(address) = address else { return };
        self.put(&format!("decoded.{role}"), Fact::Address(address));
        let labels = self.labels(address);
        self.put(&format!("lists.{role}"), labels);
    }

    fn labels(&mut self, address: Address) -> Fact {
        let standing = self.parties.ask(address);
        let trust = standing.is_trusted.then_some("trust");
        Fact::words(standing.flags.iter().copied().chain(trust))
    }

    /// Whether the spender is unknown, and how much it may take.
    fn danger(&mut self, action: &Action) -> (bool, U256) {
        match action {
            Action::Grant(grant) => (!self.parties.ask(grant.spender).is_trusted, amount(grant.extent)),
            _ => (false, U256::ZERO),
        }
    }

    fn kind(&mut self, kind: &str) {
        self.put("decoded.kind", Fact::Text(kind.to_owned()));
    }

    fn action(&mut self, action: &Action) {
        match action {
            Action::Grant(grant) => {
                self.kind("approve");
                self.party("token", grant.token);
                self.party("owner", grant.owner);
                self.party("spender", Some(grant.spender));
                self.put("decoded.amount", Fact::Amount(amount(grant.extent)));
                self.put("decoded.unlimited", Fact::Bool(grant.extent.is_unlimited()));
                self.put("decoded.approved", Fact::Bool(!grant.extent.is_nothing()));
                if let Some(until) = grant.until {
                    self.put("decoded.deadline", Fact::Int(i64::try_from(until).unwrap_or(i64::MAX)));
                }
            }
            Action::Move(movement) => {
                self.kind(if movement.item.token.is_some() { "transfer" } else { "native_transfer" });
                self.party("token", movement.item.token);
                self.party("owner", movement.from);
                self.party("recipient", Some(movement.to));
                self.put("decoded.amount", Fact::Amount(movement.item.amount));
            }
            Action::Offer(_) => self.kind("order"),
            Action::Delegate(delegation) => {
                self.kind("delegate");
                self.party("delegate", Some(delegation.code));
            }
            Action::Handover(handover) => {
                self.kind("handover");
                self.party("contract", handover.contract);
            }
            Action::Claim { contract, .. } => {
                self.kind("claim");
                self.party("contract", Some(*contract));
            }
            Action::Deploy { .. } => self.kind("deploy"),
        }
    }

    fn outcome(&mut self, simulated: &Simulated) {
        let (sender, outcome) = (simulated.call.from, &simulated.simulation.outcome);
        let changes = &simulated.simulation.changes;
        self.put("diff.reverted", Fact::Bool(!outcome.is_success()));
        self.moved(sender, changes);
        self.granted(sender, changes);
        self.put("diff.owner_changed", Fact::Bool(!changes.ownership.is_empty()));
        self.put("diff.selfdestruct", Fact::Bool(!outcome.trace.selfdestructs.is_empty()));
        self.put("diff.created", accounts(outcome.trace.created.iter().copied()));
    }

    /// What left the sender and what came, and who has more than before.
    fn moved(&mut self, sender: Address, changes: &AssetChanges) {
        let own = changes.native.iter().find(|change| change.account == sender);
        let difference = |more: fn(&NativeChange) -> (U256, U256)| {
            own.map(more).map_or(U256::ZERO, |(large, small)| large.saturating_sub(small))
        };
        self.put("diff.native_out", Fact::Amount(difference(|change| (change.before, change.after))));
        self.put("diff.native_in", Fact::Amount(difference(|change| (change.after, change.before))));
        let own = || changes.tokens.iter().filter(|change| change.account == sender);
        self.put("diff.tokens_out", count(own().filter(|change| change.after < change.before).count()));
        self.put("diff.tokens_in", count(own().filter(|change| change.after > change.before).count()));
        let items = || changes.multi_tokens.iter().filter(|change| change.account == sender);
        let (lost, got) = (
            items().filter(|change| change.after < change.before).count(),
            items().filter(|change| change.after > change.before).count(),
        );
        self.put("diff.nfts_out", count(lost + changes.nfts.iter().filter(|change| change.from == sender).count()));
        self.put("diff.nfts_in", count(got + changes.nfts.iter().filter(|change| change.to == sender).count()));
        let native = changes.native.iter().filter(|change| change.after > change.before).map(|change| change.account);
        let tokens = changes.tokens.iter().filter(|change| change.after > change.before).map(|change| change.account);
        let items =
            changes.multi_tokens.iter().filter(|change| change.after > change.before).map(|change| change.account);
        let nfts = changes.nfts.iter().map(|change| change.to);
        self.put("diff.recipients", accounts(native.chain(tokens).chain(items).chain(nfts).filter(|to| *to != sender)));
    }

    /// Who may take what of the sender's after the run and could not before.
    fn granted(&mut self, sender: Address, changes: &AssetChanges) {
        let amounts =
            || changes.allowances.iter().filter(|change| change.owner == sender && change.after > change.before);
        let operators =
            || changes.operators.iter().filter(|change| change.owner == sender && change.after > change.before);
        let unlimited = amounts().filter(|change| change.after.is_some_and(|after| after >= UNLIMITED)).count()
            + operators().filter(|change| change.id.is_none()).count();
        self.put("diff.approvals", count(amounts().count() + operators().count()));
        self.put("diff.unlimited_approvals", count(unlimited));
        let spenders = amounts().map(|change| change.spender).chain(operators().map(|change| change.operator));
        self.put("diff.spenders", accounts(spenders));
    }
}

/// Accounts in order, none twice.
fn accounts(found: impl Iterator<Item = Address>) -> Fact {
    let found: BTreeSet<Address> = found.collect();
    Fact::List(found.into_iter().map(Fact::Address).take(Fact::MOST).collect())
}

const fn amount(extent: Extent) -> U256 {
    match extent {
        Extent::Amount(amount) => amount,
        Extent::Nft(_) | Extent::Everything => U256::MAX,
    }
}

fn count(number: usize) -> Fact {
    Fact::Int(i64::try_from(number).unwrap_or(i64::MAX))
}
