//! `decode.*`: what could not be read, or should not be there.

use serde_json::json;

use super::{Bench, Severity};
use crate::decode::{Call, Note};

pub(super) fn judge(bench: &mut Bench<'_>) {
    for call in bench.calls {
        for note in &call.notes {
            one(bench, call, *note);
        }
    }
}

fn one(bench: &mut Bench<'_>, call: &Call, note: Note) {
    let (id, severity, message) = match note {
        Note::LeftOver(bytes) => {
            ("decode.left_over", Severity::Warn, format!("{bytes} bytes follow the arguments and belong to none"))
        }
        Note::NotCanonical => {
            ("decode.not_canonical", Severity::Warn, "no compiler encodes the arguments like this".to_owned())
        }
        Note::Ambiguous(count) => (
            "decode.ambiguous",
            Severity::Note,
            format!("{count} methods fit, and only the contract knows which is meant"),
        ),
        Note::UnknownMethod => ("decode.unknown_method", Severity::Note, "nobody knows the method".to_owned()),
        Note::Misfit => ("decode.misfit", Severity::Warn, "the data does not fit the method that it names".to_owned()),
        Note::NoSelector => ("decode.no_selector", Severity::Note, "the data names no method".to_owned()),
        Note::Incomplete => {
            let why = "calls inside are cut off or packed in an unknown way, and were not all read".to_owned();
            ("decode.incomplete", Severity::Quarantine, why)
        }
        Note::TooDeep => ("decode.too_deep", Severity::Quarantine, "calls are nested too deeply to be read".to_owned()),
        Note::TooMany => {
            ("decode.too_many", Severity::Quarantine, "there are too many calls to read them all".to_owned())
        }
    };
    let selector = call.selector().map(const_hex::encode_prefixed);
    bench.risk(id, severity, message, json!({ "to": call.raw.to, "selector": selector }));
}
