//! The addresses that take part in something, each looked up once.

use std::collections::BTreeMap;

use alloy_primitives::Address;
use serde::Serialize;

use crate::address::{Standing, standing_of};
use crate::envelope::{Reason, Unknown};
use crate::service::{Lists, Looked, Request};
use crate::views::lower;

/// Most addresses that are looked up for one answer.
pub const MAX_PARTIES: usize = 512;

/// What lists say of the addresses that take part, in order of their addresses.
#[derive(Debug)]
pub struct Parties<'a> {
    lists: &'a Lists,
    request: Request,
    known: BTreeMap<Address, Standing>,
    /// In the order in which they were asked about: the first ones are claimed.
    asked: Vec<Address>,
    is_cut: bool,
}

impl<'a> Parties<'a> {
    /// Nobody yet.
    pub fn new(lists: &'a Lists, request: &Request) -> Self {
        // Only what tells the age of lists is needed of the request.
        let request = Request { at: request.at, stale: request.stale.clone(), ..Request::default() };
        Self { lists, request, known: BTreeMap::new(), asked: Vec::new(), is_cut: false }
    }

    /// What lists say of an address.
    pub fn ask(&mut self, address: Address) -> &Standing {
        static NOT_ASKED: Standing = Standing {
            flags: Vec::new(),
            is_trusted: false,
            look_alike_of: None,
            why_unknown: Some(Reason::OutOfGasBudget),
        };
        if !self.known.contains_key(&address) {
            if self.known.len() >= MAX_PARTIES {
                self.is_cut = true;
                return &NOT_ASKED;
            }
            self.asked.push(address);
        }
        let standing = || standing_of(self.lists, &address.0.0, &self.request);
        self.known.entry(address).or_insert_with(standing)
    }

    /// Everybody that was asked about and is listed as bad.
    pub fn bad(&self) -> impl Iterator<Item = (&Address, &Standing)> {
        self.known.iter().filter(|(_, standing)| standing.is_bad())
    }

    /// Why a field that depends on lists is not known for everybody.
    pub fn unknown(&self, field: &'static str) -> Option<Unknown> {
        let cut = self.is_cut.then_some(Reason::OutOfGasBudget);
        let reason = cut.or_else(|| self.known.values().find_map(|standing| standing.why_unknown))?;
        Some(Unknown::new(field, reason))
    }

    /// The look-ups that were made, those that found somebody bad first: only so many are claimed.
    pub fn into_looked(mut self) -> Vec<Looked<'a>> {
        let Some(addresses) = &self.lists.addresses else { return Vec::new() };
        let known = &self.known;
        self.asked.sort_by_key(|address| known.get(address).is_none_or(|standing| !standing.is_bad()));
        self.asked.iter().flat_map(|address| addresses.look_up(&address.0.0)).collect()
    }
}

/// What is shown of a contract or wallet beside an approval or a parameter: GoPlus' `address_info`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct AddressInfo {
    /// 1 where a list of bad addresses has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doubt_list: Option<u8>,
    /// 1 where a list of trusted addresses has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust_list: Option<u8>,
    /// 1 where there is code.
    pub is_contract: u8,
    /// What it is listed for.
    pub malicious_behavior: Vec<&'static str>,
    /// A trusted address that it resembles.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub look_alike_of: Option<String>,
    /// Whoever deployed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creator_address: Option<String>,
    /// Seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployed_time: Option<u64>,
}

impl AddressInfo {
    /// What lists say of an address, and whether it has code.
    pub fn new(standing: &Standing, has_code: bool) -> Self {
        Self {
            doubt_list: standing.malicious(),
            trust_list: (standing.is_trusted || standing.why_unknown != Some(Reason::ListMissing))
                .then_some(u8::from(standing.is_trusted)),
            is_contract: u8::from(has_code),
            malicious_behavior: standing.flags.clone(),
            look_alike_of: standing.look_alike_of.map(lower),
            ..Self::default()
        }
    }
}
