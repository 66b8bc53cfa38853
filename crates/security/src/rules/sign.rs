//! `sign.*`, and `chain.*` of messages: signatures that are worth more than they look.

use alloy_primitives::U256;
use serde_json::json;

use super::{Bench, Severity};
use crate::decode::message::{Message, MessageKind, Odd};
use crate::decode::signin::{SignIn, host};

pub(super) fn judge(bench: &mut Bench<'_>) {
    let Some(message) = bench.decoded.message() else { return };
    match message.kind {
        MessageKind::EthSign => {
            let why = "eth_sign signs a bare hash, which may be that of any transaction";
            bench.risk("sign.eth_sign", Severity::Block, why, json!({ "hash": message.hash }));
        }
        MessageKind::Hash => blind(bench, message),
        MessageKind::SignIn => message.sign_in.iter().for_each(|one| sign_in(bench, one)),
        _ => {}
    }
    message.odd.iter().for_each(|odd| oddity(bench, message, odd));
    chain(bench, message);
}

fn blind(bench: &mut Bench<'_>, message: &Message) {
    let why = "32 bytes without meaning: they may be the hash of a transaction or of a Safe's transaction";
    bench.risk("sign.hash", Severity::Quarantine, why, json!({ "hash": message.hash }));
}

fn oddity(bench: &mut Bench<'_>, message: &Message, odd: &Odd) {
    match odd {
        Odd::UnsignedField(name) => {
            let why = "the message shows a field that is no part of what is signed";
            bench.risk("sign.hidden_fields", Severity::Quarantine, why, json!({ "field": name }));
        }
        Odd::DomainFields => {
            let why = "wallets would sign different hashes of this, because its domain is declared unusually";
            bench.risk("sign.hidden_fields", Severity::Warn, why, json!({ "domain": true }));
        }
        Odd::Incomplete => {
            let why = "a known kind of message whose fields are not as its standard has them";
            bench.risk("sign.incomplete", Severity::Quarantine, why, json!({ "kind": message.kind }));
        }
        Odd::NoChain => {
            let why = "the signature moves assets and is bound to no chain";
            bench.risk("chain.missing", Severity::Warn, why, json!({ "contract": message.contract }));
        }
        Odd::HashInside => blind(bench, message),
        Odd::Refused(reason) => {
            let why = "the message cannot be read with certainty";
            bench.risk("sign.unreadable", Severity::Quarantine, why, json!({ "reason": reason }));
        }
    }
}

/// A message for another chain. A delegation for every chain is a rule of its own.
fn chain(bench: &mut Bench<'_>, message: &Message) {
    let Some(said) = message.chain_id else { return };
    if message.kind == MessageKind::Delegation && said.is_zero() {
        return;
    }
    let Some(ours) = bench.context.chain_id else { return bench.unknown("chain.wrong") };
    if said != U256::from(ours) {
        // Signing in to a session on another chain is common and gives nothing away.
        let severity = if message.kind == MessageKind::SignIn { Severity::Note } else { Severity::Quarantine };
        let evidence = json!({ "chain_id": said.to_string(), "expected": ours });
        bench.risk("chain.wrong", severity, "the message is for another chain", evidence);
    }
}

fn sign_in(bench: &mut Bench<'_>, one: &SignIn) {
    if !one.is_whole {
        let why = "the sign-in lacks parts that its standard asks for";
        bench.risk("sign.incomplete", Severity::Warn, why, json!({ "domain": one.domain }));
    }
    match (one.address, bench.context.signer) {
        (Some(named), Some(signer)) if named != signer => {
            let why = "the sign-in is for another account";
            bench.risk("sign.other_account", Severity::Quarantine, why, json!({ "address": named }));
        }
        (_, None) => bench.unknown("sign.other_account"),
        _ => {}
    }
    let Some(site) = bench.context.site.as_deref() else { return bench.unknown("sign.other_site") };
    let for_host = host(&one.domain);
    let uri = one.uri.as_deref().map(host);
    if for_host != host(site) {
        let why = "the sign-in is for another site than the one that asks";
        bench.risk("sign.other_site", Severity::Block, why, json!({ "domain": one.domain, "site": site }));
    } else if uri.is_some_and(|uri| uri != for_host) {
        let why = "the sign-in names one site and is for the session of another";
        bench.risk("sign.other_site", Severity::Warn, why, json!({ "domain": one.domain, "uri": one.uri }));
    }
}
