//! Label selectors.

use std::fmt;
use std::str::FromStr;

use super::key::{key_fault, value_fault};
use super::lexer::{Kind, Token, tokens};
use crate::gotext::{parse_int64, quote};

/// What a requirement asks of a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operator {
    /// `key in (a,b)`
    In,
    /// `key notin (a,b)`: true as well where there is no such label.
    NotIn,
    /// `key=a`
    Equals,
    /// `key==a`
    DoubleEquals,
    /// `key!=a`: true as well where there is no such label.
    NotEquals,
    /// `key`
    Exists,
    /// `!key`
    DoesNotExist,
    /// `key>1`
    GreaterThan,
    /// `key<1`
    LessThan,
}

/// One term of a label selector.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// What is asked of it.
    pub operator: Operator,
    /// The values, sorted, each once.
    pub values: Vec<String>,
}

/// Terms that must all hold, in the order of their keys. The empty selector takes everything.
///
/// Written and read with [`fmt::Display`] and [`FromStr`], in the form of the API server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
}

impl LabelSelector {
    /// The selector of these terms.
    pub(crate) fn from_requirements(mut requirements: Vec<Requirement>) -> LabelSelector {
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        LabelSelector { requirements }
    }

    /// The terms, in the order of their keys.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Whether everything is taken.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether an object is taken; `label` gives its value under a key.
    pub fn matches<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.requirements.iter().all(|requirement| requirement.matches(label(&requirement.key)))
    }

    /// Whether this selector has every term of `wider`, so that it can take nothing that `wider` does not.
    pub fn is_within(&self, wider: &LabelSelector) -> bool {
        wider.requirements.iter().all(|term| self.requirements.iter().any(|own| own.same_as(term)))
    }
}

impl Requirement {
    fn matches(&self, label: Option<&str>) -> bool {
        let has = |value: &str| self.values.iter().any(|own| own == value);
        match (self.operator, label) {
            (Operator::In | Operator::Equals | Operator::DoubleEquals, label) => label.is_some_and(has),
            (Operator::NotIn | Operator::NotEquals, label) => !label.is_some_and(has),
            (Operator::Exists, label) => label.is_some(),
            (Operator::DoesNotExist, label) => label.is_none(),
            (Operator::GreaterThan, label) => self.compares(label, |label, bound| label > bound),
            (Operator::LessThan, label) => self.compares(label, |label, bound| label < bound),
        }
    }

    fn compares(&self, label: Option<&str>, holds: impl Fn(i64, i64) -> bool) -> bool {
        let bound = self.values.first().and_then(|value| parse_int64(value).ok());
        let label = label.and_then(|label| parse_int64(label).ok());
        label.zip(bound).is_some_and(|(label, bound)| holds(label, bound))
    }

    /// Whether two terms mean the same, however they are written.
    fn same_as(&self, other: &Requirement) -> bool {
        let form = |operator| match operator {
            Operator::Equals | Operator::DoubleEquals => Operator::In,
            Operator::NotEquals => Operator::NotIn,
            other => other,
        };
        self.key == other.key && form(self.operator) == form(other.operator) && self.values == other.values
    }

    /// The term, if its values are what its operator and the rules for labels allow.
    fn checked(key: String, operator: Operator, mut values: Vec<String>) -> Result<Requirement, String> {
        values.sort();
        values.dedup();
        let mut faults = Vec::new();
        for (at, value) in values.iter().enumerate() {
            let ordered = matches!(operator, Operator::GreaterThan | Operator::LessThan);
            if ordered && parse_int64(value).is_err() {
                let text = "for 'Gt', 'Lt' operators, the value must be an integer";
                faults.push(format!("values[{at}]: Invalid value: {}: {text}", quote(value)));
            }
        }
        for (at, value) in values.iter().enumerate() {
            if let Some(fault) = value_fault(value) {
                faults.push(format!("values[{at}][{key}]: Invalid value: {}: {fault}", quote(value)));
            }
        }
        match faults.as_slice() {
            [] => Ok(Requirement { key, operator, values }),
            [one] => Err(one.clone()),
            more => Err(format!("[{}]", more.join(", "))),
        }
    }
}

impl FromStr for LabelSelector {
    type Err = String;

    fn from_str(selector: &str) -> Result<LabelSelector, String> {
        let mut parser = Parser { tokens: tokens(selector).into_iter().peekable() };
        Ok(LabelSelector::from_requirements(parser.selector()?))
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, requirement) in self.requirements.iter().enumerate() {
            write!(f, "{}{requirement}", if at == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        let values = self.values.join(",");
        match self.operator {
            Operator::In => write!(f, "{key} in ({values})"),
            Operator::NotIn => write!(f, "{key} notin ({values})"),
            Operator::Equals => write!(f, "{key}={values}"),
            Operator::DoubleEquals => write!(f, "{key}=={values}"),
            Operator::NotEquals => write!(f, "{key}!={values}"),
            Operator::Exists => write!(f, "{key}"),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::GreaterThan => write!(f, "{key}>{values}"),
            Operator::LessThan => write!(f, "{key}<{values}"),
        }
    }
}

/// Reads tokens; past the last one there are only ends.
struct Parser {
    tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
}

impl Parser {
    fn take(&mut self) -> Token {
        self.tokens.next().unwrap_or_else(|| Token::new(Kind::End, ""))
    }

    fn take_word(&mut self) -> Token {
        self.take().into_word()
    }

    fn peek_word(&mut self) -> (Kind, &str) {
        match self.tokens.peek() {
            None => (Kind::End, ""),
            Some(Token { kind: Kind::In | Kind::NotIn, text }) => (Kind::Identifier, text),
            Some(Token { kind, text }) => (*kind, text),
        }
    }

    fn selector(&mut self) -> Result<Vec<Requirement>, String> {
        let mut requirements = Vec::new();
        loop {
            match self.peek_word() {
                (Kind::Identifier | Kind::Not, _) => {}
                (Kind::End, _) => return Ok(requirements),
                (_, text) => {
                    return Err(format!("found '{text}', expected: !, identifier, or 'end of string'"));
                }
            }
            requirements
                .push(self.requirement().map_err(|error| format!("unable to parse requirement: {error}"))?);
            match self.take_word() {
                Token { kind: Kind::End, .. } => return Ok(requirements),
                Token { kind: Kind::Comma, .. } => match self.peek_word() {
                    (Kind::Identifier | Kind::Not, _) => {}
                    (_, text) => return Err(format!("found '{text}', expected: identifier after ','")),
                },
                Token { text, .. } => {
                    return Err(format!("found '{text}', expected: ',' or 'end of string'"));
                }
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let first = self.take_word();
        let negated = first.kind == Kind::Not;
        let key = if negated { self.take_word() } else { first };
        if key.kind != Kind::Identifier {
            return Err(format!("found '{}', expected: identifier", key.text));
        }
        let key = key.text;
        if let Some(fault) = key_fault(&key) {
            // The API server has no path to say here, and says so.
            return Err(format!("<nil>: Invalid value: {}: {fault}", quote(&key)));
        }
        if negated {
            return Requirement::checked(key, Operator::DoesNotExist, Vec::new());
        }
        if matches!(self.peek_word(), (Kind::End | Kind::Comma, _)) {
            return Requirement::checked(key, Operator::Exists, Vec::new());
        }
        let operator = self.operator()?;
        let values = match operator {
            Operator::In | Operator::NotIn => self.values()?,
            _ => vec![self.exact_value()?],
        };
        Requirement::checked(key, operator, values)
    }

    fn operator(&mut self) -> Result<Operator, String> {
        let token = self.take();
        Ok(match token.kind {
            Kind::In => Operator::In,
            Kind::NotIn => Operator::NotIn,
            Kind::Equals => Operator::Equals,
            Kind::DoubleEquals => Operator::DoubleEquals,
            Kind::NotEquals => Operator::NotEquals,
            Kind::Greater => Operator::GreaterThan,
            Kind::Less => Operator::LessThan,
            _ => {
                return Err(format!("found '{}', expected: in, notin, =, ==, !=, gt, lt", token.text));
            }
        })
    }

    fn exact_value(&mut self) -> Result<String, String> {
        if matches!(self.peek_word(), (Kind::End | Kind::Comma, _)) {
            return Ok(String::new());
        }
        match self.take_word() {
            Token { kind: Kind::Identifier, text } => Ok(text),
            Token { text, .. } => Err(format!("found '{text}', expected: identifier")),
        }
    }

    fn values(&mut self) -> Result<Vec<String>, String> {
        let open = self.take_word();
        if open.kind != Kind::Open {
            return Err(format!("found '{}' expected: '('", open.text));
        }
        match self.peek_word() {
            (Kind::Close, _) => {
                self.take();
                Ok(vec![String::new()])
            }
            (Kind::Identifier | Kind::Comma, _) => self.value_list(),
            (_, text) => Err(format!("found '{text}', expected: ',', ')' or identifier")),
        }
    }

    /// Values up to the closing parenthesis; next to a comma without a value stands the empty one.
    fn value_list(&mut self) -> Result<Vec<String>, String> {
        let mut values = Vec::new();
        loop {
            match self.take_word() {
                Token { kind: Kind::Identifier, text } => {
                    values.push(text);
                    match self.peek_word() {
                        (Kind::Comma, _) => {}
                        (Kind::Close, _) => break,
                        (_, text) => return Err(format!("found '{text}', expected: ',' or ')'")),
                    }
                }
                Token { kind: Kind::Comma, .. } => {
                    let next = self.peek_word().0;
                    if values.is_empty() || matches!(next, Kind::Close | Kind::Comma) {
                        values.push(String::new());
                    }
                    if next == Kind::Close {
                        break;
                    }
                }
                Token { text, .. } => return Err(format!("found '{text}', expected: ',', or identifier")),
            }
        }
        self.take();
        Ok(values)
    }
}
