//! Field selectors.

use std::fmt;
use std::str::FromStr;

/// One term of a field selector.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FieldTerm {
    /// The field's path: `metadata.name`.
    pub field: String,
    /// The value, without escapes.
    pub value: String,
    /// Whether the field must differ from it.
    pub negated: bool,
}

/// Terms that must all hold. The empty selector takes everything.
///
/// Written and read with [`fmt::Display`] and [`FromStr`], in the form of the API server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct FieldSelector {
    terms: Vec<FieldTerm>,
}

impl FieldSelector {
    /// The selector of one object.
    pub fn name(name: &str) -> FieldSelector {
        let term = FieldTerm { field: "metadata.name".to_owned(), value: name.to_owned(), negated: false };
        FieldSelector { terms: vec![term] }
    }

    pub(super) fn from_terms(terms: Vec<FieldTerm>) -> FieldSelector {
        FieldSelector { terms }
    }

    /// The terms, in the order of their texts.
    pub fn terms(&self) -> &[FieldTerm] {
        &self.terms
    }

    /// Whether everything is taken.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// The value that this field must have, if there is one.
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.terms.iter().find(|term| !term.negated && term.field == field).map(|term| term.value.as_str())
    }

    /// Whether an object is taken; `field` gives its value at a path, empty where it has none.
    pub fn matches<T: AsRef<str>>(&self, field: impl Fn(&str) -> T) -> bool {
        self.terms.iter().all(|term| (field(&term.field).as_ref() == term.value) != term.negated)
    }

    /// Whether this selector has every term of `wider`, so that it can take nothing that `wider` does not.
    pub fn is_within(&self, wider: &FieldSelector) -> bool {
        wider.terms.iter().all(|term| self.terms.contains(term))
    }
}

impl FromStr for FieldSelector {
    type Err = String;

    fn from_str(selector: &str) -> Result<FieldSelector, String> {
        let mut parts = split_terms(selector);
        parts.sort_unstable();
        let mut terms = Vec::new();
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            let (field, negated, value) = split_term(part)
                .ok_or_else(|| format!("invalid selector: '{selector}'; can't understand '{part}'"))?;
            let value = unescape(value)?;
            // A term without a field and a value says nothing.
            if !(field.is_empty() && value.is_empty()) {
                terms.push(FieldTerm { field: field.to_owned(), value, negated });
            }
        }
        Ok(FieldSelector { terms })
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, term) in self.terms.iter().enumerate() {
            let separator = if at == 0 { "" } else { "," };
            let operator = if term.negated { "!=" } else { "=" };
            write!(f, "{separator}{}{operator}", term.field)?;
            for c in term.value.chars() {
                if matches!(c, '\\' | ',' | '=') {
                    f.write_str("\\")?;
                }
                write!(f, "{c}")?;
            }
        }
        Ok(())
    }
}

/// The text cut at commas that no backslash escapes.
fn split_terms(selector: &str) -> Vec<&str> {
    let mut escaped = false;
    selector
        .split(move |c| {
            let cuts = c == ',' && !escaped;
            escaped = c == '\\' && !escaped;
            cuts
        })
        .collect()
}

/// Field, whether it is negated, and the value with its escapes.
fn split_term(term: &str) -> Option<(&str, bool, &str)> {
    let (at, c) = term.char_indices().find(|(at, c)| {
        *c == '=' || *c == '!' && term.get(at + 1..).is_some_and(|after| after.starts_with('='))
    })?;
    let (field, rest) = term.split_at_checked(at)?;
    let operator = if c == '!' || rest.starts_with("==") { 2 } else { 1 };
    Some((field, c == '!', rest.get(operator..)?))
}

fn unescape(value: &str) -> Result<String, String> {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => out.push(c),
                other => {
                    let sequence: String = std::iter::once('\\').chain(other).collect();
                    return Err(format!("invalid field selector: invalid escape sequence: {sequence}"));
                }
            },
            ',' | '=' => {
                let number = u32::from(c);
                return Err(format!("invalid field selector: unescaped character in value: {number}"));
            }
            c => out.push(c),
        }
    }
    Ok(out)
}
