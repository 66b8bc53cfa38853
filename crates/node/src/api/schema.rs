//! The schemas of the OpenAPI document: plain types, the ledger's records, and the answers made of them.

use serde_json::{Map, Value, json};
use surety_primitives::typed_data::Member;

use super::actions::{COMMON, described};
use super::{MAX_PAGE, events};

/// An object's name and fields. A field is `name Type`; `Type?` may be null, `Type[]` is a list, `name? Type` may be
/// missing.
type Object = (&'static str, &'static [&'static str]);

const OBJECTS: &[Object] = &[
    ("Problem", &["type Urn", "title String", "status Small", "detail String", "code Small", "retry_after? Number"]),
    (
        "Header",
        &[
            "network Number",
            "epoch Number",
            "view Number",
            "parent_view Number",
            "leader Hash32",
            "parent Hash32",
            "height Number",
            "time_ms Number",
            "clock Number",
            "transactions_root Hash32",
            "receipts_root Hash32",
            "state_root Hash32",
            "ops_root Hash32",
            "range_start Number",
            "range_end Number",
        ],
    ),
    (
        "Finality",
        &["epoch Number", "view Number", "parent_view Number", "digest Hash32", "signers Number", "signature Bytes"],
    ),
    (
        "RowProof",
        &[
            "key Hash32",
            "kind ProofKind",
            "value? Bytes",
            "proof Bytes",
            "header Header",
            "path Header[]",
            "finality Finality",
            "table String?",
        ],
    ),
    ("FinalHeader", &["hash Hash32", "header Header", "path Header[]", "finality Finality"]),
    (
        "Block",
        &[
            "hash Hash32",
            "header Header",
            "transactions Hash32[]",
            "path Headers?",
            "finality Finality?",
            "signed SignedTransaction[]",
            "receipts Receipts?",
        ],
    ),
    ("Failure", &["code Small", "name String", "message String"]),
    (
        "Receipt",
        &[
            "hash Hash32",
            "signer Address",
            "nonce Number",
            "action Small",
            "fee Amount",
            "failure Failure?",
            "events Event[]",
        ],
    ),
    ("TransactionView", &["hash Hash32", "status TransactionStatus", "height? Number", "receipt? Receipt"]),
    ("EncodedTransaction", &["transaction Bytes"]),
    (
        "TypedDataRequest",
        &["signer Address", "action ActionName", "fields Any", "nonce? Number?", "expires? Number?", "fee? Amount?"],
    ),
    ("TypedDataReply", &["document Any", "transaction UnsignedTransaction", "signing_hash Hash32"]),
    (
        "UnsignedTransaction",
        &["network Number", "nonce Number", "expires Number", "fee Amount", "action ActionName", "fields Any"],
    ),
    (
        "Account",
        &[
            "address Address",
            "balance Amount",
            "nonce Number",
            "next_nonce Number",
            "provider Number?",
            "height Number",
            "proof RowProof?",
        ],
    ),
    ("Coverage", &["backing Amount", "exposure Amount", "owed Amount", "free Amount"]),
    ("Services", &["items Service[]", "matches Number", "next? Cursor?", "height Number"]),
    ("Sale", &["n Number", "purchase PurchaseId", "record Purchase", "sale_proof? RowProof", "proof? RowProof"]),
    ("Feed", &["items Sale[]", "cursor Number", "clock Number", "sales Number", "height Number"]),
    ("Datasets", &["items Dataset[]", "next? Digits", "height Number"]),
    ("Profile", &["name String", "url String", "gateway String"]),
    ("Operator", &["id Address", "peer Hash32", "bls_key Bytes", "profile Profile", "weight Amount"]),
    ("Operators", &["items Operator[]", "next? Address", "height Number"]),
    ("SeatKeys", &["peer Hash32", "key Bytes"]),
    ("Seat", &["operator Address", "seat SeatKeys", "weight Amount"]),
    ("CommitteeKeys", &["network Number", "genesis Hash32", "epoch Number", "seats SeatKeys[]"]),
    ("Least", &["operators Number", "stake Amount"]),
    ("Security", &["halt Least", "fork Least", "steal Least"]),
    ("Committee", &["committee CommitteeKeys", "seats Seat[]", "security Security", "quorum Number", "height Number"]),
    (
        "Fees",
        &[
            "epoch Number",
            "reward_rate Number",
            "serving Number",
            "served_today Number",
            "height Number",
            "purchase Amount",
            "claim_per_voucher Amount",
            "other Amount",
            "row_deposit Amount",
            "fee_burned_bps Small",
            "take_bps Small",
            "treasury_bps Small",
        ],
    ),
    (
        "Supply",
        &[
            "stake Amount",
            "escrow Amount",
            "unreleased Amount",
            "deposits Amount",
            "rewards Amount",
            "treasury Amount",
            "minted Amount",
            "burned Amount",
            "supply Amount",
            "in_pools Amount",
            "in_accounts Amount",
            "height Number",
        ],
    ),
    (
        "Audit",
        &[
            "height Number",
            "state_root Hash32",
            "rows Number",
            "in_accounts Amount",
            "in_pools Amount",
            "supply Amount",
            "failure? String",
        ],
    ),
    ("Member", &["name String", "type String"]),
    ("Action", &["tag Small", "name String", "members Member[]", "types Any"]),
    ("Actions", &["items Action[]"]),
    ("Code", &["code Small", "name String", "type Urn", "status Small", "source String"]),
    ("Errors", &["items Code[]"]),
    ("IndexSize", &["height Number", "services Number", "words Number", "datasets Number", "operators Number"]),
    (
        "Status",
        &[
            "network Number",
            "genesis Hash32",
            "version String",
            "height? Number",
            "clock? Number",
            "time_ms? Number",
            "state_root? Hash32",
            "mempool Number",
            "peers Number",
            "epoch Number",
            "mempool_bytes Number",
            "mempool_accounts Number",
            "faults Number",
            "voting Boolean",
            "index IndexSize",
            "connections Number",
            "streams Number",
        ],
    ),
    ("Health", &["status String", "height Number?", "voting Boolean"]),
];

/// Records of the ledger, which a later version may give further fields: those that readers rely on.
const RECORDS: &[Object] = &[
    (
        "Service",
        &[
            "id Number",
            "provider Number",
            "version Number",
            "paused Boolean",
            "terms Terms",
            "selling Boolean",
            "coverage Coverage?",
            "height? Number",
            "proof? RowProof?",
        ],
    ),
    (
        "Provider",
        &[
            "id Number",
            "owner Address",
            "payout Address",
            "key Hash32",
            "stake Amount",
            "open_value Amount",
            "promised Amount",
            "unreleased Amount",
            "owed Amount",
            "sales Number",
            "coverage Coverage",
            "height Number",
            "proof RowProof?",
        ],
    ),
    (
        "Purchase",
        &[
            "consumer Address",
            "call_key Hash32",
            "key_version Number",
            "provider Number",
            "service Number",
            "version Number",
            "quota Number",
            "price Amount",
            "refund_bps Small",
            "window Number",
            "rate Number",
            "lanes Small",
            "cover Amount",
            "cover_left Small",
            "datasets Number[]",
            "not_before Number",
            "expires Number",
            "ended Number?",
            "claimed Number",
            "last_claim Number",
            "status String",
            "id? PurchaseId",
            "height? Number",
            "proof? RowProof?",
        ],
    ),
    (
        "Dataset",
        &[
            "id Number",
            "publisher Number",
            "name String",
            "latest Number",
            "first_kept Number",
            "newest DatasetVersion?",
            "height? Number",
            "proof? RowProof?",
        ],
    ),
    (
        "DatasetVersion",
        &[
            "root Hash32",
            "count Number",
            "date Number",
            "licence String",
            "published Number",
            "valid_until Number",
            "retired Number?",
            "id? Number",
            "dataset? Number",
            "height? Number",
            "proof? RowProof?",
        ],
    ),
    ("Params", &["epoch Number", "fee_purchase Amount", "fee_voucher Amount", "fee_other Amount"]),
    ("Event", &["module Module", "event String"]),
];

fn plain() -> Vec<(&'static str, Value)> {
    let hex = |bytes: usize| json!({"type": "string", "pattern": format!("^0x[0-9a-f]{{{}}}$", bytes * 2)});
    let number = |most: u64| json!({"type": "integer", "minimum": 0, "maximum": most});
    let text = |most: usize| json!({"type": "string", "maxLength": most});
    let names: Vec<&str> = described().iter().map(|action| action.name).collect();
    vec![
        ("Any", json!({"type": "object"})),
        ("Document", json!({"type": "object"})),
        ("Boolean", json!({"type": "boolean"})),
        ("String", json!({"type": "string"})),
        ("Text", text(256)),
        ("Urn", json!({"type": "string", "pattern": "^urn:surety:problem:[a-z0-9-]+$"})),
        ("Amount", json!({"type": "string", "pattern": "^[0-9]{1,38}$", "description": "Base units of 10^-18 CALL."})),
        ("Bytes", json!({"type": "string", "pattern": "^0x([0-9a-f]{2})*$"})),
        ("Hash32", hex(32)),
        ("PurchaseId", hex(16)),
        ("Address", json!({"type": "string", "pattern": "^0x[0-9a-fA-F]{40}$"})),
        ("Signature", hex(65)),
        ("Number", number(u64::MAX)),
        ("Small", number(u64::from(u16::MAX))),
        ("Flag", json!({"type": "string", "enum": ["0", "1", "true", "false"]})),
        ("Wait", number(60)),
        ("PageSize", json!({"type": "integer", "minimum": 1, "maximum": MAX_PAGE})),
        ("Cursor", json!({"type": "string", "pattern": "^[0-9a-f]{1,32}-[0-9a-f]{1,16}$"})),
        ("EventId", json!({"type": "string", "pattern": "^[0-9]{1,18}(:[0-9]{1,9})?$"})),
        ("Sort", json!({"type": "string", "enum": ["relevance", "price", "call_price", "cover", "newest"]})),
        ("Module", json!({"type": "string", "enum": events::MODULES})),
        ("TransactionStatus", json!({"type": "string", "enum": ["pending", "final"]})),
        ("ActionName", json!({"type": "string", "enum": names})),
        ("Digits", json!({"type": "string", "pattern": "^[0-9]{1,20}$"})),
        ("ProofKind", json!({"type": "string", "enum": ["inclusion", "exclusion"]})),
        ("Headers", json!({"type": "array", "items": reference("Header")})),
        ("Receipts", json!({"type": "array", "items": reference("Receipt")})),
        ("Submission", json!({"anyOf": [reference("EncodedTransaction"), reference("SignedTransaction")]})),
    ]
}

/// Every schema by name.
pub(crate) fn schemas() -> Map<String, Value> {
    let mut schemas: Map<String, Value> = plain().into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect();
    schemas.extend(OBJECTS.iter().map(|(name, fields)| ((*name).to_owned(), object(fields, false))));
    schemas.extend(RECORDS.iter().map(|(name, fields)| ((*name).to_owned(), object(fields, true))));
    let terms = <surety_ledger::market::state::Terms as surety_primitives::typed_data::TypedStruct>::members();
    schemas.insert("Terms".to_owned(), members(&terms));
    let mut forms = Vec::new();
    for action in described() {
        for (name, fields) in &action.types {
            schemas.insert(name.clone(), members(fields));
        }
        let own: Vec<Member> = action.members.into_iter().filter(|(name, _)| !COMMON.contains(name)).collect();
        let name = format!("Signed{}", action.name);
        let fields = ["network Number", "nonce Number", "expires Number", "fee Amount", "signature Signature"];
        let mut form = object(&fields, false);
        form["properties"]["action"] = json!({"type": "string", "const": action.name});
        form["properties"]["fields"] = members(&own);
        form["required"] = json!(["network", "nonce", "expires", "fee", "signature", "action", "fields"]);
        schemas.insert(name.clone(), form);
        forms.push(reference(&name));
    }
    schemas.insert("SignedTransaction".to_owned(), json!({"oneOf": forms}));
    schemas
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn object(fields: &[&str], open: bool) -> Value {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for field in fields {
        let Some((name, kind)) = field.split_once(' ') else { continue };
        let name = match name.strip_suffix('?') {
            Some(optional) => optional,
            None => {
                required.push(name);
                name
            }
        };
        properties.insert(name.to_owned(), kind_of(kind));
    }
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": open})
}

fn kind_of(kind: &str) -> Value {
    if let Some(kind) = kind.strip_suffix('?') {
        return json!({"anyOf": [kind_of(kind), {"type": "null"}]});
    }
    match kind.strip_suffix("[]") {
        Some(kind) => json!({"type": "array", "items": kind_of(kind)}),
        None => reference(kind),
    }
}

/// The JSON form of an EIP-712 struct's members.
fn members(members: &[Member]) -> Value {
    let properties: Map<String, Value> =
        members.iter().map(|(name, kind)| ((*name).to_owned(), solidity(kind))).collect();
    let required: Vec<&str> = members.iter().map(|(name, _)| *name).collect();
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

fn solidity(kind: &str) -> Value {
    if let Some(kind) = kind.strip_suffix("[]") {
        return json!({"type": "array", "items": solidity(kind)});
    }
    let bytes = kind.strip_prefix("bytes").and_then(|length| length.parse::<usize>().ok());
    match (kind, bytes) {
        ("uint128", _) => reference("Amount"),
        ("uint16", _) => reference("Small"),
        ("bool", _) => reference("Boolean"),
        ("string", _) => reference("String"),
        ("address", _) => reference("Address"),
        ("bytes", _) => reference("Bytes"),
        (_, Some(length)) => json!({"type": "string", "pattern": format!("^0x[0-9a-f]{{{}}}$", length * 2)}),
        (kind, _) if kind.starts_with("uint") => reference("Number"),
        (kind, _) => reference(kind),
    }
}
