//! The built-in selectors. Which methods share a selector is kept: all of them are candidates.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use super::method::{Method, MethodError, Selector};
use super::role::Role;
use super::signatures::{COMMANDS, METHODS, SHAPES};

/// A row of the table, ready for use.
#[derive(Clone, Debug)]
pub struct Row {
    /// The method.
    pub method: Arc<Method>,
    /// What it does.
    pub role: Role,
}

static TABLE: LazyLock<HashMap<Selector, Vec<Row>>> = LazyLock::new(|| {
    let mut table: HashMap<Selector, Vec<Row>> = HashMap::new();
    for row in all(METHODS).into_iter().flatten() {
        let same = table.entry(row.method.selector).or_default();
        if same.iter().all(|other| other.method.signature != row.method.signature) {
            same.push(row);
        }
    }
    table
});

static ROUTER: LazyLock<Vec<(u8, Row)>> = LazyLock::new(|| {
    COMMANDS
        .iter()
        .filter_map(|(byte, role, text)| Some((*byte, Row { method: Arc::new(parse(text).ok()?), role: *role })))
        .collect()
});

/// The rows with this selector, in the order of the table.
pub fn rows(selector: Selector) -> &'static [Row] {
    TABLE.get(&selector).map(Vec::as_slice).unwrap_or_default()
}

/// What a method of exactly this selector and signature does.
pub fn role_of(method: &Method) -> Role {
    rows(method.selector)
        .iter()
        .find(|row| row.method.signature == method.signature)
        .map_or(Role::Plain, |row| row.role)
}

/// The universal router's command of this byte.
pub fn command(byte: u8) -> Option<&'static Row> {
    // The highest bit allows the command to fail; it is no part of its number.
    ROUTER.iter().find(|(number, _)| *number == byte & 0x7f).map(|(_, row)| row)
}

/// Every row of a list, as read.
pub(crate) fn all(list: &[(Role, &str)]) -> Vec<Result<Row, MethodError>> {
    let read = |(role, text): &(Role, &str)| Ok(Row { method: Arc::new(parse(text)?), role: *role });
    list.iter().map(read).collect()
}

fn parse(text: &str) -> Result<Method, MethodError> {
    if !text.contains('$') {
        return Method::parse(text);
    }
    // Shapes are listed from the outermost inwards, so one pass resolves them.
    let whole = SHAPES.iter().fold(text.to_owned(), |text, (name, shape)| text.replace(name, shape));
    Method::parse(&whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_a_signature() {
        let failed: Vec<_> = all(METHODS).into_iter().filter_map(Result::err).collect();
        assert_eq!(failed, []);
        assert_eq!(ROUTER.len(), COMMANDS.len());
    }

    #[test]
    fn methods_that_share_a_selector_are_all_candidates() {
        let transfer = rows([0xa9, 0x05, 0x9c, 0xbb]);
        assert_eq!(transfer[0].method.signature, "transfer(address,uint256)");
        assert_eq!(transfer[1].method.signature, "many_msg_babbage(bytes1)");
        assert_eq!(rows([0x23, 0xb8, 0x72, 0xdd])[1].method.signature, "gasprice_bit_ether(int128)");
        assert_eq!(rows([0x09, 0x5e, 0xa7, 0xb3])[1].method.signature, "sign_szabo_bytecode(bytes16,uint128)");
    }
}
