//! From a condition's text to a tree whose types were checked.
//!
//! The text is CEL. What is taken of it: names, texts, plain numbers, lists of texts, `&& || ! ?:`, comparisons, `in`, `has`,
//! arithmetic, `startsWith endsWith contains size`, and on amounts `gt ge lt le eq add sub amount`. There are no
//! comprehensions: the cost of a rule is the number of its nodes.

use alloy_primitives::Address;
use cel::common::ast::{CallExpr, Expr, LiteralValue, SelectExpr, SourceInfo, operators};
use cel::parser::{Expression, Parser};

use super::super::verdict::Fact;
use super::amount;
use super::expression::{Arithmetic, Node, Order, Slot, TextTest};
use super::scope::Scope;
use super::vocabulary::Kind;

/// Bytes of a condition.
const MOST_BYTES: usize = 4_096;
/// Nested parts of a condition.
const MOST_DEPTH: u16 = 32;
/// Nodes of a condition.
const MOST_NODES: usize = 512;

/// What is wrong with a condition, and where in its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// Bytes from the text's start.
    pub(super) offset: usize,
    pub(super) message: String,
}

/// A part of a condition with its type.
struct Typed {
    node: Node,
    kind: Kind,
}

/// Compiles a condition; names that it uses are added to the scope.
pub(super) fn compile(source: &str, scope: &mut Scope<'_>) -> Result<Node, Wrong> {
    if source.len() > MOST_BYTES {
        return Err(Wrong { offset: 0, message: format!("a condition has at most {MOST_BYTES} bytes") });
    }
    check_nesting(source)?;
    let parser = Parser::new().max_recursion_depth(MOST_DEPTH).error_recovery_limit(4);
    let (expression, places) = parser.parse_with_source_info(source).map_err(|errors| syntax(source, &errors))?;
    let mut compiler = Compiler { scope, places: &places, nodes: 0 };
    let typed = compiler.node(&expression)?;
    if typed.kind != Kind::Bool {
        return Err(compiler.wrong(&expression, format!("a condition is true or false, and this is {}", typed.kind)));
    }
    Ok(typed.node)
}

/// The parser recurses for each bracket before it counts; this bound comes first.
fn check_nesting(source: &str) -> Result<(), Wrong> {
    let mut depth = 0_u16;
    for (offset, byte) in source.bytes().enumerate() {
        match byte {
            b'(' | b'[' | b'{' => depth = depth.saturating_add(1),
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > 4 * MOST_DEPTH {
            return Err(Wrong { offset, message: "the condition is nested too deeply".to_owned() });
        }
    }
    Ok(())
}

fn syntax(source: &str, errors: &cel::ParseErrors) -> Wrong {
    let Some(error) = errors.errors.first() else {
        return Wrong { offset: 0, message: "this is no CEL expression".to_owned() };
    };
    let line = usize::try_from(error.pos.0).unwrap_or(1).saturating_sub(1);
    let column = usize::try_from(error.pos.1).unwrap_or(1).saturating_sub(1);
    let start: usize = source.split_inclusive('\n').take(line).map(str::len).sum();
    Wrong { offset: start.saturating_add(column).min(source.len()), message: format!("this is no CEL: {}", error.msg) }
}

struct Compiler<'s, 'v> {
    scope: &'s mut Scope<'v>,
    places: &'s SourceInfo,
    nodes: usize,
}

impl Compiler<'_, '_> {
    fn wrong(&self, at: &Expression, message: impl Into<String>) -> Wrong {
        let offset = self.places.offset_for(at.id).map_or(0, |(start, _)| start as usize);
        Wrong { offset, message: message.into() }
    }

    fn node(&mut self, at: &Expression) -> Result<Typed, Wrong> {
        self.nodes += 1;
        if self.nodes > MOST_NODES {
            return Err(self.wrong(at, format!("a condition has at most {MOST_NODES} parts: split the rule")));
        }
        match &at.expr {
            Expr::Literal(literal) => self.literal(at, literal),
            Expr::List(list) => self.list(at, &list.elements),
            Expr::Ident(name) => Err(self.wrong(at, self.scope.unknown(name))),
            Expr::Select(select) => self.select(at, select),
            Expr::Call(call) => self.call(at, call),
            Expr::Comprehension(_) => {
                Err(self.wrong(at, "all, exists, filter and map are not taken: ask with `in`, or let a check say it"))
            }
            Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => {
                Err(self.wrong(at, "maps and structs are not taken in conditions"))
            }
        }
    }

    fn literal(&self, at: &Expression, literal: &LiteralValue) -> Result<Typed, Wrong> {
        let (fact, kind) = match literal {
            LiteralValue::Boolean(value) => (Fact::Bool(*value.inner()), Kind::Bool),
            LiteralValue::Int(value) => (Fact::Int(*value.inner()), Kind::Int),
            LiteralValue::String(value) => (Fact::Text(value.inner().to_owned()), Kind::Text),
            LiteralValue::UInt(_) => return Err(self.wrong(at, "write plain numbers without `u`")),
            LiteralValue::Double(_) => {
                return Err(self.wrong(at, "numbers have no fractions here; write amounts as amount('1.5 ether')"));
            }
            LiteralValue::Bytes(_) | LiteralValue::Null => {
                return Err(self.wrong(at, "bytes and null are not taken in conditions"));
            }
        };
        Ok(Typed { node: Node::Constant(fact), kind })
    }

    fn list(&mut self, at: &Expression, elements: &[Expression]) -> Result<Typed, Wrong> {
        if elements.len() > Fact::MOST {
            return Err(self.wrong(at, format!("a list has at most {} entries; use a list file", Fact::MOST)));
        }
        let mut words = Vec::with_capacity(elements.len());
        for element in elements {
            match &element.expr {
                Expr::Literal(LiteralValue::String(word)) => words.push(Fact::Text(word.inner().to_owned())),
                _ => return Err(self.wrong(element, "a list holds texts or addresses, written in quotes")),
            }
        }
        Ok(Typed { node: Node::Constant(Fact::List(words)), kind: Kind::Words })
    }

    fn select(&mut self, at: &Expression, select: &SelectExpr) -> Result<Typed, Wrong> {
        let Expr::Ident(root) = &select.operand.expr else {
            return Err(self.wrong(at, "names have two parts, such as decoded.kind"));
        };
        let name = format!("{root}.{}", select.field);
        if root == "limits" {
            let (fact, kind) = self.scope.limit(&select.field).map_err(|message| self.wrong(at, message))?;
            let fact = if select.test { Fact::Bool(true) } else { fact };
            let kind = if select.test { Kind::Bool } else { kind };
            return Ok(Typed { node: Node::Constant(fact), kind });
        }
        let (slot, kind) = self.scope.slot(&name).map_err(|message| self.wrong(at, message))?;
        if select.test {
            return Ok(Typed { node: Node::Has(slot), kind: Kind::Bool });
        }
        Ok(Typed { node: Node::Variable(slot), kind })
    }

    fn call(&mut self, at: &Expression, call: &CallExpr) -> Result<Typed, Wrong> {
        if let Some(target) = &call.target {
            return self.method(at, target, call);
        }
        let name = call.func_name.as_str();
        match (name, call.args.as_slice()) {
            (operators::LOGICAL_NOT, [inner]) => {
                let inner = self.bool(inner)?;
                Ok(bool(Node::Not(inner)))
            }
            (operators::LOGICAL_AND, [a, b]) => Ok(bool(Node::And(self.bool(a)?, self.bool(b)?))),
            (operators::LOGICAL_OR, [a, b]) => Ok(bool(Node::Or(self.bool(a)?, self.bool(b)?))),
            (operators::CONDITIONAL, [condition, then, otherwise]) => self.conditional(at, condition, then, otherwise),
            (operators::EQUALS, [a, b]) => Ok(bool(self.equal(at, a, b)?)),
            (operators::NOT_EQUALS, [a, b]) => Ok(bool(Node::Not(Box::new(self.equal(at, a, b)?)))),
            (operators::IN, [entry, list]) => self.contains(at, entry, list),
            (operators::NEGATE, [inner]) => self.negate(at, inner),
            ("size", [inner]) => self.size(inner),
            ("amount", [inner]) => self.amount(inner),
            (_, [a, b]) => self.binary(at, name, a, b),
            _ => Err(self.wrong(at, unknown_function(name))),
        }
    }

    fn binary(&mut self, at: &Expression, name: &str, a: &Expression, b: &Expression) -> Result<Typed, Wrong> {
        if let Some(order) = order(name) {
            return self.compare(at, order, a, b);
        }
        if let Some(operation) = arithmetic(name) {
            return self.calculate(at, operation, a, b);
        }
        let (left, right) = match name {
            "gt" | "ge" | "lt" | "le" | "eq" | "add" | "sub" => (self.amounts(a)?, self.amounts(b)?),
            _ => return Err(self.wrong(at, unknown_function(name))),
        };
        let compare = |order| bool(Node::Compare(order, left.clone(), right.clone()));
        let calculate =
            |operation| Typed { node: Node::Arithmetic(operation, left.clone(), right.clone()), kind: Kind::Amount };
        Ok(match name {
            "gt" => compare(Order::Greater),
            "ge" => compare(Order::GreaterOrEqual),
            "lt" => compare(Order::Less),
            "le" => compare(Order::LessOrEqual),
            "add" => calculate(Arithmetic::Add),
            "sub" => calculate(Arithmetic::Subtract),
            _ => bool(Node::Equal(left, right)),
        })
    }

    fn bool(&mut self, at: &Expression) -> Result<Box<Node>, Wrong> {
        let typed = self.node(at)?;
        if typed.kind == Kind::Bool {
            return Ok(Box::new(typed.node));
        }
        Err(self.wrong(at, format!("this must be true or false, and is {}", typed.kind)))
    }

    fn amounts(&mut self, at: &Expression) -> Result<Box<Node>, Wrong> {
        let typed = self.node(at)?;
        match typed.kind {
            Kind::Amount => Ok(Box::new(typed.node)),
            Kind::Int => Err(self.wrong(at, "a plain number is no amount: write amount('5') or amount('1 ether')")),
            kind => Err(self.wrong(at, format!("this must be an amount, and is {kind}"))),
        }
    }

    fn conditional(
        &mut self,
        at: &Expression,
        condition: &Expression,
        then: &Expression,
        otherwise: &Expression,
    ) -> Result<Typed, Wrong> {
        let condition = self.bool(condition)?;
        let (then, otherwise) = (self.node(then)?, self.node(otherwise)?);
        let kind = then.kind;
        let (then, otherwise) = self.agree(at, then, otherwise)?;
        Ok(Typed { node: Node::If(condition, Box::new(then), Box::new(otherwise)), kind })
    }

    fn equal(&mut self, at: &Expression, a: &Expression, b: &Expression) -> Result<Node, Wrong> {
        let (a, b) = (self.node(a)?, self.node(b)?);
        if matches!(a.kind, Kind::Words | Kind::Addresses) {
            return Err(self.wrong(at, "lists are not compared: ask with `in`"));
        }
        let (a, b) = self.agree(at, a, b)?;
        Ok(Node::Equal(Box::new(a), Box::new(b)))
    }

    /// Two parts of one type; a text in quotes beside an address is read as one.
    fn agree(&self, at: &Expression, a: Typed, b: Typed) -> Result<(Node, Node), Wrong> {
        match (a.kind, b.kind) {
            (left, right) if left == right => Ok((a.node, b.node)),
            (Kind::Address, Kind::Text) => Ok((a.node, self.address(at, b.node)?)),
            (Kind::Text, Kind::Address) => Ok((self.address(at, a.node)?, b.node)),
            (Kind::Amount, Kind::Int) | (Kind::Int, Kind::Amount) => {
                Err(self.wrong(at, "an amount and a plain number do not mix: write the number as amount('5')"))
            }
            (left, right) => Err(self.wrong(at, format!("{left} and {right} are never equal"))),
        }
    }

    fn address(&self, at: &Expression, node: Node) -> Result<Node, Wrong> {
        let Node::Constant(Fact::Text(text)) = &node else {
            return Err(self.wrong(at, "an address is compared with another, or with one written in quotes"));
        };
        Ok(Node::Constant(address(text).ok_or_else(|| self.wrong(at, not_an_address(text)))?))
    }

    fn contains(&mut self, at: &Expression, entry: &Expression, list: &Expression) -> Result<Typed, Wrong> {
        let (entry, list) = (self.node(entry)?, self.node(list)?);
        let (entry, list) = match (entry.kind, list.kind) {
            (Kind::Text, Kind::Words) | (Kind::Address, Kind::Addresses) => (entry.node, list.node),
            (Kind::Address, Kind::Words) => (entry.node, self.addresses(at, list.node)?),
            (Kind::Text, Kind::Addresses) => (self.address(at, entry.node)?, list.node),
            (left, right) => return Err(self.wrong(at, format!("{left} is never in {right}"))),
        };
        Ok(bool(Node::In(Box::new(entry), Box::new(list))))
    }

    fn addresses(&self, at: &Expression, node: Node) -> Result<Node, Wrong> {
        let Node::Constant(Fact::List(words)) = &node else {
            return Err(self.wrong(at, "an address is never in a list of texts"));
        };
        let read = |word: &Fact| match word {
            Fact::Text(text) => address(text).ok_or_else(|| self.wrong(at, not_an_address(text))),
            _ => Err(self.wrong(at, "a list of addresses holds addresses alone")),
        };
        Ok(Node::Constant(Fact::List(words.iter().map(read).collect::<Result<_, _>>()?)))
    }

    fn compare(&mut self, at: &Expression, order: Order, a: &Expression, b: &Expression) -> Result<Typed, Wrong> {
        let (a, b) = (self.node(a)?, self.node(b)?);
        match (a.kind, b.kind) {
            (Kind::Int, Kind::Int) => Ok(bool(Node::Compare(order, Box::new(a.node), Box::new(b.node)))),
            (Kind::Amount, _) | (_, Kind::Amount) => {
                Err(self.wrong(at, "amounts are compared by gt(a, b), ge(a, b), lt(a, b), le(a, b) and eq(a, b)"))
            }
            (left, right) => Err(self.wrong(at, format!("{left} and {right} have no order"))),
        }
    }

    fn calculate(
        &mut self,
        at: &Expression,
        operation: Arithmetic,
        a: &Expression,
        b: &Expression,
    ) -> Result<Typed, Wrong> {
        let (a, b) = (self.node(a)?, self.node(b)?);
        match (a.kind, b.kind) {
            (Kind::Int, Kind::Int) => {
                Ok(Typed { node: Node::Arithmetic(operation, Box::new(a.node), Box::new(b.node)), kind: Kind::Int })
            }
            (Kind::Amount, _) | (_, Kind::Amount) => {
                Err(self.wrong(at, "amounts are added by add(a, b) and subtracted by sub(a, b)"))
            }
            (left, right) => Err(self.wrong(at, format!("there is no arithmetic of {left} and {right}"))),
        }
    }

    fn negate(&mut self, at: &Expression, inner: &Expression) -> Result<Typed, Wrong> {
        let typed = self.node(inner)?;
        if typed.kind != Kind::Int {
            return Err(self.wrong(at, "only plain numbers have a minus"));
        }
        let zero = Box::new(Node::Constant(Fact::Int(0)));
        Ok(Typed { node: Node::Arithmetic(Arithmetic::Subtract, zero, Box::new(typed.node)), kind: Kind::Int })
    }

    fn size(&mut self, inner: &Expression) -> Result<Typed, Wrong> {
        let typed = self.node(inner)?;
        if !matches!(typed.kind, Kind::Text | Kind::Words | Kind::Addresses) {
            return Err(self.wrong(inner, format!("{} has no size", typed.kind)));
        }
        Ok(Typed { node: Node::Size(Box::new(typed.node)), kind: Kind::Int })
    }

    fn amount(&self, inner: &Expression) -> Result<Typed, Wrong> {
        let Expr::Literal(LiteralValue::String(text)) = &inner.expr else {
            return Err(self.wrong(inner, "amount takes a text in quotes, such as amount('1.5 ether')"));
        };
        let amount = amount::parse(text.inner()).map_err(|message| self.wrong(inner, message))?;
        Ok(Typed { node: Node::Constant(Fact::Amount(amount)), kind: Kind::Amount })
    }

    fn method(&mut self, at: &Expression, target: &Expression, call: &CallExpr) -> Result<Typed, Wrong> {
        let test = match call.func_name.as_str() {
            "startsWith" => TextTest::StartsWith,
            "endsWith" => TextTest::EndsWith,
            "contains" => TextTest::Contains,
            "size" if call.args.is_empty() => return self.size(target),
            name => return Err(self.wrong(at, unknown_function(name))),
        };
        let [part] = call.args.as_slice() else {
            return Err(self.wrong(at, format!("{} takes one text", call.func_name)));
        };
        let (text, part) = (self.node(target)?, self.node(part)?);
        if (text.kind, part.kind) != (Kind::Text, Kind::Text) {
            return Err(self.wrong(at, format!("{} is asked of a text about a text", call.func_name)));
        }
        Ok(bool(Node::Text(test, Box::new(text.node), Box::new(part.node))))
    }
}

const fn bool(node: Node) -> Typed {
    Typed { node, kind: Kind::Bool }
}

fn order(name: &str) -> Option<Order> {
    match name {
        operators::LESS => Some(Order::Less),
        operators::LESS_EQUALS => Some(Order::LessOrEqual),
        operators::GREATER => Some(Order::Greater),
        operators::GREATER_EQUALS => Some(Order::GreaterOrEqual),
        _ => None,
    }
}

fn arithmetic(name: &str) -> Option<Arithmetic> {
    match name {
        operators::ADD => Some(Arithmetic::Add),
        operators::SUBSTRACT => Some(Arithmetic::Subtract),
        operators::MULTIPLY => Some(Arithmetic::Multiply),
        operators::DIVIDE => Some(Arithmetic::Divide),
        operators::MODULO => Some(Arithmetic::Remainder),
        _ => None,
    }
}

fn address(text: &str) -> Option<Fact> {
    let digits = text.strip_prefix("0x")?;
    (digits.len() == 40).then(|| text.parse::<Address>().ok().map(Fact::Address))?
}

fn not_an_address(text: &str) -> String {
    format!("\"{}\" is no address: write 0x and 40 hex digits", text.escape_debug())
}

fn unknown_function(name: &str) -> String {
    format!(
        "`{}` is not taken with these arguments; there are gt ge lt le eq add sub amount size startsWith endsWith contains has",
        name.escape_debug()
    )
}

/// A slot for a name, as the scope gives it out.
pub(super) type Named = (Slot, Kind);
