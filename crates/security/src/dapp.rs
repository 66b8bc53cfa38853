//! `dapp_security`: whether a list of trusted names has the site of a dApp. Nobody's audits are listed.

use serde::Serialize;
use surety_primitives::dataset::Key;

use crate::envelope::{Reason, Refusal, Unknown, Verdict, raw};
use crate::lists::{Semantics, Subject as About, kind};
use crate::phishing::Host;
use crate::service::{Card, Gathered, Looked, Request, RestsOn, Service, Sources, Subject};
use crate::state::State;

const ALLOW: u8 = kind(About::Domain, Semantics::Allow);

#[derive(Serialize)]
struct Dapp<'a> {
    url: &'a str,
    trust_list: u8,
}

/// The service.
pub(crate) struct DappSecurity;

impl Service for DappSecurity {
    fn card(&self) -> Card {
        Card { rests_on: Some(RestsOn::Names), ..Card::new("dapp_security", "/api/v1/dapp_security") }
    }

    fn gather<'a>(&self, sources: Sources<'a>, request: &Request) -> Result<Gathered<'a>, Refusal> {
        let url = request.get("url").ok_or_else(|| Refusal::Parameter("url is missing".to_owned()))?;
        let host = Host::parse(url)?;
        let lists = sources.lists;
        let keys = host.names().filter_map(|name| Key::new(ALLOW, name.as_bytes()).ok());
        let looked = lists.names().map(|names| keys.map(|key| Looked::up(names, key)).collect());
        let looked = looked.unwrap_or_default();
        Ok(Gathered { lists, subject: Subject::Host(host), looked, stale: 0, state: State::None })
    }

    fn judge<'a>(&self, gathered: &Gathered<'a>) -> Result<Verdict<'a>, Refusal> {
        let Subject::Host(host) = &gathered.subject else { return Err(Refusal::Dapp) };
        if gathered.looked.iter().all(|looked| looked.entry.is_none()) {
            return Err(Refusal::Dapp);
        }
        let dapp = Dapp { url: &host.name, trust_list: 1 };
        let unknown = ["is_audit", "audit_info", "contracts_security"];
        let unknown = unknown.map(|field| Unknown::new(field, Reason::NoSource)).to_vec();
        Ok(Verdict::provable(raw(&dapp), unknown, gathered.looked.clone()))
    }
}
