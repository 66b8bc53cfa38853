//! Whether JSON is what a schema of the document says: the parts of JSON Schema that the document uses.

use serde_json::Value;

use crate::api::document;

/// Panics with the place of the first difference.
pub(super) fn assert_conforms(value: &Value, schema: &str) {
    let document = document();
    let schema = &document["components"]["schemas"][schema];
    assert!(schema.is_object(), "no such schema");
    if let Err(reason) = check(value, schema, &document, "answer") {
        panic!("{reason}\n{value:#}");
    }
}

pub(super) fn check(value: &Value, schema: &Value, document: &Value, at: &str) -> Result<(), String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = document.pointer(reference.strip_prefix('#').unwrap());
        return check(value, target.ok_or_else(|| format!("{at}: {reference} is missing"))?, document, at);
    }
    for choice in ["anyOf", "oneOf"] {
        if let Some(choices) = schema[choice].as_array() {
            let failures: Vec<String> =
                choices.iter().filter_map(|schema| check(value, schema, document, at).err()).collect();
            return if failures.len() < choices.len() { Ok(()) } else { Err(failures.join("; ")) };
        }
    }
    let fits = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_u64(),
        Some("boolean") => value.is_boolean(),
        Some("null") => value.is_null(),
        other => return Err(format!("{at}: the schema has type {other:?}")),
    };
    if !fits {
        return Err(format!("{at}: {value} is not {}", schema["type"]));
    }
    if schema["enum"].as_array().is_some_and(|names| !names.contains(value)) {
        return Err(format!("{at}: {value} is none of {}", schema["enum"]));
    }
    if schema["maximum"].as_u64().is_some_and(|most| value.as_u64().unwrap() > most) {
        return Err(format!("{at}: {value} is above {}", schema["maximum"]));
    }
    if let Some(items) = value.as_array() {
        for (i, item) in items.iter().enumerate() {
            check(item, &schema["items"], document, &format!("{at}[{i}]"))?;
        }
    }
    let (Some(fields), Some(known)) = (value.as_object(), schema["properties"].as_object()) else { return Ok(()) };
    for required in schema["required"].as_array().unwrap() {
        if !fields.contains_key(required.as_str().unwrap()) {
            return Err(format!("{at}: {required} is missing"));
        }
    }
    for (name, value) in fields {
        match known.get(name) {
            Some(schema) => check(value, schema, document, &format!("{at}.{name}"))?,
            None if schema["additionalProperties"] == false => return Err(format!("{at}: {name} is not documented")),
            None => {}
        }
    }
    Ok(())
}
