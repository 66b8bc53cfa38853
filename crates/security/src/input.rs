//! `abi/input_decode`: what call data or a message asks for, with what is known of the addresses in it
//! (`security-services.md` 3.5). The reading is in [`crate::decode`], the judgement in [`crate::rules`].

use alloy_primitives::{Address, Bytes};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::decode::{self, Input, Unread, answer};
use crate::envelope::{Refusal, Verdict, raw};
use crate::evidence::{Item, Kind};
use crate::json;
use crate::parties::Parties;
use crate::screen::{Around, Asked, Question, What, read};
use crate::service::{Card, Gathered, Method, Request, RestsOn, Service, Sources};
use crate::simulate::{Quantity, Word};
use crate::state::State;

/// The service.
#[derive(Debug)]
pub struct InputDecoding;

/// How something is signed, in GoPlus' words.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
enum Signed {
    #[default]
    #[serde(rename = "common")]
    Common,
    #[serde(rename = "eth_signTypedData_v4")]
    Typed,
    #[serde(rename = "personal_sign")]
    Personal,
    #[serde(rename = "eth_sign")]
    Eth,
}

/// The body. `data` is the call data or the message; `input` is GoPlus' older name for it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    chain_id: Word,
    block: Option<Word>,
    data: Option<Box<RawValue>>,
    input: Option<Box<RawValue>>,
    contract_address: Option<Address>,
    signer: Option<Address>,
    site: Option<String>,
    value: Option<Quantity>,
    // The wire has GoPlus' spelling; the right one is accepted too.
    #[serde(default, alias = "transaction_type")]
    transcation_type: Signed,
}

impl Body {
    fn what(&self) -> Result<Input, Refusal> {
        let data = self.data.as_ref().or(self.input.as_ref());
        let data = data.ok_or_else(|| Refusal::Parameter("data is missing".to_owned()))?;
        let text = match serde_json::from_str::<String>(data.get()) {
            Ok(text) => text,
            Err(_) if matches!(self.transcation_type, Signed::Typed) => data.get().to_owned(),
            Err(_) => return Err(Refusal::Parameter("data: a string".to_owned())),
        };
        Ok(match self.transcation_type {
            Signed::Common => Input::Call(Unread {
                from: self.signer,
                to: Some(self.contract_address.ok_or(Refusal::Address)?),
                value: self.value.unwrap_or_default().0,
                data: hex(&text)?,
                ..Unread::default()
            }),
            Signed::Typed => Input::TypedData(text),
            Signed::Personal => Input::Personal(decode::message::bytes_of(&text)),
            Signed::Eth => Input::EthSign(decode::message::bytes_of(&text)),
        })
    }
}

fn hex(text: &str) -> Result<Bytes, Refusal> {
    let bytes = const_hex::decode(text).map_err(|error| Refusal::Parameter(format!("data: {error}")))?;
    Ok(bytes.into())
}

impl Service for InputDecoding {
    fn card(&self) -> Card {
        Card {
            method: Method::Post,
            reads_state: true,
            rests_on: Some(RestsOn::Addresses),
            ..Card::new("input_decode", "/api/v1/abi/input_decode")
        }
    }

    fn gather<'a>(&self, sources: Sources<'a>, request: &Request) -> Result<Gathered<'a>, Refusal> {
        let body: Body = json::read(&request.body)?;
        let chain_id = body.chain_id.chain()?;
        let block = body.block.as_ref().map(Word::block).transpose()?.flatten();
        let what = What::Message(Box::new(body.what()?));
        let question = Question { chain_id, signer: body.signer, site: body.site, what };
        let state = State::of_any(sources, chain_id, block)?;
        Ok(Asked { question, request: request.clone() }.gathered(sources, state))
    }

    fn judge<'a>(&self, gathered: &Gathered<'a>) -> Result<Verdict<'a>, Refusal> {
        let Asked { question, request } = Asked::of(gathered)?;
        let mut parties = Parties::new(gathered.lists, request);
        let read = read(question, Around::of(&gathered.state), &mut parties);
        let said = answer::answer(&read.decoded, &read.addresses, &read.judgement);
        let extra = Item::new(Kind::Static, &["method", "params"], &answer::extra(&read.decoded));
        Ok(Verdict::attested(raw(&said), read.unknown).resting_on(parties.into_looked(), vec![extra]))
    }
}
