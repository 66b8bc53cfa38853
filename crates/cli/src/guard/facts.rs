//! What a policy's rules see of a screening: `decoded`, `diff` and `lists`.

use alloy_primitives::{Address, U256};
use surety_proxy::gateway::verdict::{Fact, Finding};
use surety_security::decode::Action;
use surety_security::decode::action::Extent;
use surety_security::parties::Parties;
use surety_security::screen::Grounds;
use surety_security::simulate::Simulated;

/// Writes the facts into a finding.
pub(super) fn tell(finding: &mut Finding, signer: Option<Address>, grounds: &Grounds, parties: &mut Parties<'_>) {
    let mut facts = Facts { finding, parties };
    // Always told, so that a rule about lists never finds none at all.
    let labels = signer.map_or_else(|| Fact::words([""; 0]), |signer| facts.labels(signer));
    facts.put("lists.from", labels);
    let actions = grounds.decoded.actions();
    facts.put("decoded.calls", count(grounds.decoded.calls().len()));
    // Rules speak of one thing: an approval before anything else, because it outlasts the transaction; of several the one
    // that a thief would hide among the others.
    let given = actions.iter().filter(|action| matches!(action, Action::Grant(grant) if !grant.extent.is_nothing()));
    let worst = given.max_by_key(|action| facts.danger(action));
    if let Some(action) = worst.or_else(|| actions.first()) {
        facts.action(action);
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
        let sender = simulated.call.from;
        let changes = &simulated.simulation.changes;
        let (mut out, mut back) = (U256::ZERO, U256::ZERO);
        for change in changes.native.iter().filter(|change| change.account == sender) {
            out = out.saturating_add(change.before.saturating_sub(change.after));
            back = back.saturating_add(change.after.saturating_sub(change.before));
        }
        self.put("diff.reverted", Fact::Bool(!simulated.simulation.outcome.is_success()));
        self.put("diff.native_out", Fact::Amount(out));
        self.put("diff.native_in", Fact::Amount(back));
        let own = || changes.tokens.iter().filter(|change| change.account == sender);
        self.put("diff.tokens_out", count(own().filter(|change| change.after < change.before).count()));
        self.put("diff.tokens_in", count(own().filter(|change| change.after > change.before).count()));
        self.put("diff.nfts_out", count(changes.nfts.iter().filter(|change| change.from == sender).count()));
        self.put("diff.nfts_in", count(changes.nfts.iter().filter(|change| change.to == sender).count()));
        let granted =
            || changes.allowances.iter().filter(|change| change.owner == sender && change.after > change.before);
        self.put("diff.approvals", count(granted().count()));
        let spenders: Vec<Fact> = granted().map(|change| Fact::Address(change.spender)).take(Fact::MOST).collect();
        self.put("diff.spenders", Fact::List(spenders));
        self.put("diff.owner_changed", Fact::Bool(!changes.ownership.is_empty()));
    }
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
