//! The facts that the firewall's rules judge by, from lists, state and a simulation.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, I256, U256};
use surety_evm::{FrameKind, Role, Session, Simulation, StateError};

use crate::address::Standing;
use crate::decode::action::{Extent, Power};
use crate::history::History;
use crate::parties::Parties;
use crate::rules::context::{self, AddressFacts, Delta, Label, SeenGrant, Token};
use crate::simulate::Simulated;
use crate::views::Named;

/// How the code of an account that delegates begins (EIP-7702).
const DELEGATION: [u8; 3] = [0xef, 0x01, 0x00];

/// What is known of these addresses. Without a session nothing of the chain is.
///
/// # Errors
/// [`StateError`] when the state could not be read.
pub(crate) fn addresses(
    asked: &BTreeSet<Address>,
    parties: &mut Parties<'_>,
    session: Option<&Session>,
    history: Option<&History>,
    names: &BTreeMap<Address, Named>,
    pools: &BTreeSet<Address>,
) -> Result<BTreeMap<Address, AddressFacts>, StateError> {
    let facts_of = |address: &Address| {
        let mut facts = facts(*address, parties, session, names)?;
        facts.is_own_pool = pools.contains(address);
        if let (Some(true), Some(session), Some(history)) = (facts.has_code, session, history) {
            let made = history.created(*address);
            facts.age_blocks = made.map(|block| session.head().number.saturating_sub(block));
        }
        Ok((*address, facts))
    };
    asked.iter().map(facts_of).collect()
}

fn facts(
    address: Address,
    parties: &mut Parties<'_>,
    session: Option<&Session>,
    names: &BTreeMap<Address, Named>,
) -> Result<AddressFacts, StateError> {
    let (has_code, is_unused) = match session {
        Some(session) => {
            let account = session.account(address)?;
            let has_code = match &account {
                Some(account) if account.has_code() => !session.code(address)?.starts_with(&DELEGATION),
                _ => false,
            };
            (Some(has_code), Some(account.is_none_or(|account| account.is_empty())))
        }
        None => (None, None),
    };
    let standing = parties.ask(address);
    Ok(AddressFacts {
        has_code,
        is_unused,
        is_own_pool: false,
        age_blocks: None,
        labels: labels(standing),
        look_alike_of: standing.look_alike_of.map(Address::from),
        token: names.get(&address).map(token),
        contract_name: None,
        description: None,
    })
}

/// What lists say; nothing where they say nothing and could not have.
fn labels(standing: &Standing) -> Option<Vec<Label>> {
    let bad = standing.flags.iter().map(|flag| {
        let standing =
            if *flag == "blacklist_doubt" { context::Standing::Doubtful } else { context::Standing::Malicious };
        Label { list: "addresses".to_owned(), name: (*flag).to_owned(), standing }
    });
    let trusted = standing.is_trusted.then(|| Label {
        list: "addresses".to_owned(),
        name: "trust_list".to_owned(),
        standing: context::Standing::Trusted,
    });
    let all: Vec<Label> = bad.chain(trusted).collect();
    if all.is_empty() && standing.why_unknown.is_some() { None } else { Some(all) }
}

fn token(named: &Named) -> Token {
    Token {
        name: named.name.clone().unwrap_or_default(),
        symbol: named.symbol.clone().unwrap_or_default(),
        // What has decimals is counted in amounts; NFTs have none.
        standard: if named.decimals.is_some() { "erc20" } else { "erc721" }.to_owned(),
        decimals: named.decimals,
        total_supply: None,
        imitates: None,
    }
}

/// Everybody whom a simulation touched.
pub(crate) fn touched(simulation: &Simulation) -> BTreeSet<Address> {
    let changes = &simulation.changes;
    let mut all: BTreeSet<Address> = simulation.outcome.trace.frames.iter().map(|frame| frame.to).collect();
    all.extend(simulation.outcome.trace.native.iter().map(|transfer| transfer.to));
    all.extend(changes.tokens.iter().flat_map(|change| [change.token, change.account]));
    all.extend(changes.nfts.iter().flat_map(|change| [change.token, change.to]));
    all.extend(changes.multi_tokens.iter().flat_map(|change| [change.token, change.account]));
    all.extend(changes.allowances.iter().flat_map(|change| [change.token, change.spender]));
    all.extend(changes.operators.iter().flat_map(|change| [change.token, change.operator]));
    all.extend(changes.ownership.iter().map(|change| change.after));
    all.remove(&Address::ZERO);
    all
}

/// What a simulation saw, in the words of the rules.
pub(crate) fn outcome(simulated: &Simulated) -> context::Outcome {
    let Simulation { outcome, changes } = &simulated.simulation;
    context::Outcome {
        is_reverted: !outcome.is_success(),
        deltas: deltas(&simulated.simulation),
        grants: grants(&simulated.simulation),
        disagreeing: changes.disagreements().map(|change| change.token).collect::<BTreeSet<_>>().into_iter().collect(),
        handovers: changes.ownership.iter().filter_map(|change| Some((change.contract, power(change.role)?))).collect(),
        delegated: delegated(simulated),
        environments: simulated.elsewhere.clone().unwrap_or_default(),
        is_elsewhere_unknown: simulated.elsewhere.is_err(),
    }
}

/// What each owner has more or less, of everything that is known before and after. Of a token that came to be in between
/// nobody had anything.
pub(super) fn deltas(simulation: &Simulation) -> Vec<Delta> {
    let Simulation { outcome, changes } = simulation;
    let nothing = |token: &Address| outcome.trace.created.contains(token).then_some(U256::ZERO);
    let mut deltas: Vec<Delta> = Vec::new();
    let mut add = |owner, token, id, before: Option<U256>, after: Option<U256>| {
        if let (Some(before), Some(after)) = (before, after) {
            deltas.push(Delta { owner, token, id, change: I256::from_raw(after.wrapping_sub(before)) });
        }
    };
    for change in &changes.native {
        add(change.account, None, None, Some(change.before), Some(change.after));
    }
    for change in &changes.tokens {
        let before = change.before.or_else(|| nothing(&change.token));
        add(change.account, Some(change.token), None, before, change.after);
    }
    for change in &changes.multi_tokens {
        let before = change.before.or_else(|| nothing(&change.token));
        add(change.account, Some(change.token), Some(change.id), before, change.after);
    }
    for change in &changes.nfts {
        let (from, to) = (change.owner_before.unwrap_or(change.from), change.owner_after.unwrap_or(change.to));
        add(from, Some(change.token), Some(change.id), Some(U256::from(1)), Some(U256::ZERO));
        add(to, Some(change.token), Some(change.id), Some(U256::ZERO), Some(U256::from(1)));
    }
    deltas
}

fn grants(simulation: &Simulation) -> Vec<SeenGrant> {
    let allowances = crate::simulate::granted(simulation).map(|change| SeenGrant {
        token: change.token,
        owner: change.owner,
        spender: change.spender,
        left: Extent::Amount(change.after.unwrap_or_default()),
    });
    let operators = simulation.changes.operators.iter();
    let operators = operators.filter(|change| change.after == Some(true) && change.before != Some(true));
    let operators = operators.map(|change| SeenGrant {
        token: change.token,
        owner: change.owner,
        spender: change.operator,
        left: change.id.map_or(Extent::Everything, Extent::Nft),
    });
    allowances.chain(operators).collect()
}

const fn power(role: Role) -> Option<Power> {
    match role {
        Role::Owner => Some(Power::Owner),
        Role::Admin => Some(Power::Admin),
        Role::Implementation | Role::Beacon => Some(Power::Code),
        // Judged as a delegation.
        Role::Delegate => None,
    }
}

/// Foreign code that ran as the sender.
fn delegated(simulated: &Simulated) -> Vec<(Address, Address)> {
    let sender = simulated.call.from;
    let frames = simulated.simulation.outcome.trace.frames.iter();
    let foreign = frames.filter(|frame| {
        matches!(frame.kind, FrameKind::DelegateCall | FrameKind::CallCode) && frame.context == sender && frame.kept
    });
    foreign.map(|frame| (sender, frame.to)).collect::<BTreeSet<_>>().into_iter().collect()
}
