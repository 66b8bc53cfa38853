//! `supported_chains`: the chains whose addresses the services answer about.

use serde::Serialize;

use crate::envelope::{Refusal, Verdict, raw};
use crate::service::{Card, Chains, Gathered, Request, Service, Sources};
use crate::state::{State, chain_of};

/// Chain id and name. Labels belong to an address, which is the same on every EVM chain.
const CHAINS: &[(&str, &str)] = &[
    ("1", "Ethereum"),
    ("10", "Optimism"),
    ("56", "BSC"),
    ("61", "Ethereum Classic"),
    ("137", "Polygon"),
    ("8453", "Base"),
    ("42161", "Arbitrum"),
    ("59144", "Linea"),
];

/// Chains that took up Cancun's rules, each between [`CANCUN`]'s two times.
const CANCUN_CHAINS: [u64; 6] = [1, 10, 56, 137, 8_453, 42_161];
/// In seconds since 1970: when Ethereum did, as the first, and July 2024, by when all had.
const CANCUN: [u64; 2] = [1_710_338_135, 1_719_792_000];
/// Chains on people's own machines, which go by the rules of this engine.
const LOCAL: u64 = 31_337;

/// Whether a chain keeps the code of a contract that destroys itself in a later transaction than the one that made it
/// (EIP-6780), at a time in seconds since 1970; nothing where that is not known.
pub(crate) fn keeps_code(chain_id: u64, time: u64) -> Option<bool> {
    let [first, last] = CANCUN;
    match CANCUN_CHAINS.contains(&chain_id) {
        true if time >= last => Some(true),
        true if time < first => Some(false),
        _ => (chain_id == LOCAL).then_some(true),
    }
}

/// Whether `chain_id` is one of the chains, or one that state is read from.
pub(crate) fn is_supported(chain_id: &str, chains: &Chains) -> bool {
    CHAINS.iter().any(|(id, _)| *id == chain_id) || chain_of(chain_id).is_ok_and(|id| chains.contains_key(&id))
}

#[derive(Serialize)]
struct Named {
    name: String,
    id: String,
}

/// The service.
pub(crate) struct SupportedChains;

impl Service for SupportedChains {
    fn card(&self) -> Card {
        Card { is_own_word: true, ..Card::new("supported_chains", "/api/v1/supported_chains") }
    }

    fn gather<'a>(&self, sources: Sources<'a>, _request: &Request) -> Result<Gathered<'a>, Refusal> {
        let named = CHAINS.iter().map(|&(id, name)| Named { name: name.to_owned(), id: id.to_owned() });
        let others = sources.chains.keys().map(u64::to_string).filter(|id| CHAINS.iter().all(|(known, _)| known != id));
        let others = others.map(|id| Named { name: format!("Chain {id}"), id });
        let all: Vec<Named> = named.chain(others).collect();
        Ok(Gathered::about(sources.lists, all, State::None))
    }

    fn judge<'a>(&self, gathered: &Gathered<'a>) -> Result<Verdict<'a>, Refusal> {
        Ok(Verdict::attested(raw(&gathered.question::<Vec<Named>>()), Vec::new()))
    }
}
