//! JSON as Go reads it: a tree that keeps keys in input order, and a cursor that knows where it stands.
//!
//! Go matches keys without regard to case and lets the last of several win, and stock host-local inherits that; an
//! ordinary map would already have lost the order. Invariant: a complaint about a value always names its key.

use crate::error::Error;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Any JSON value.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number written as an integer that fits.
    Int(i64),
    /// A number written as an integer above `i64::MAX`.
    UInt(u64),
    /// Every other number.
    Float(f64),
    /// A string.
    Str(String),
    /// An array.
    List(Vec<Json>),
    /// An object, its members in input order, duplicates included.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Reads exactly one document. Bytes that are not UTF-8 become U+FFFD, as in Go. The error is the reader's own text.
    pub fn parse(bytes: &[u8]) -> Result<Json, String> {
        serde_json::from_str(&String::from_utf8_lossy(bytes)).map_err(|error| error.to_string())
    }

    /// A string value.
    pub fn text(text: &str) -> Json {
        Json::Str(text.to_owned())
    }

    /// What Go calls this kind of value in its complaints.
    pub fn kind(&self) -> &'static str {
        match self {
            Json::Null => "null",
            Json::Bool(_) => "bool",
            Json::Int(_) | Json::UInt(_) | Json::Float(_) => "number",
            Json::Str(_) => "string",
            Json::List(_) => "array",
            Json::Object(_) => "object",
        }
    }

    /// Sorts the keys of every object inside, as Go does with a map.
    pub(crate) fn sort_keys(&mut self) {
        match self {
            Json::List(items) => items.iter_mut().for_each(Json::sort_keys),
            Json::Object(members) => {
                members.sort_by(|a, b| a.0.cmp(&b.0));
                members.iter_mut().for_each(|(_, value)| value.sort_keys());
            }
            _ => {}
        }
    }

    /// The text with 4-space indent and no newline at the end.
    pub fn to_pretty(&self) -> String {
        let mut out = String::new();
        self.write(0, &mut out);
        out
    }

    fn write(&self, depth: usize, out: &mut String) {
        match self {
            Json::Null => out.push_str("null"),
            Json::Bool(yes) => out.push_str(if *yes { "true" } else { "false" }),
            Json::Int(number) => out.push_str(&number.to_string()),
            Json::UInt(number) => out.push_str(&number.to_string()),
            Json::Float(number) => out.push_str(&serde_json::to_string(number).unwrap_or_default()),
            Json::Str(text) => write_string(text, out),
            Json::List(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    next_line(index > 0, depth + 1, out);
                    item.write(depth + 1, out);
                }
                close(items.is_empty(), depth, ']', out);
            }
            Json::Object(members) => {
                out.push('{');
                for (index, (key, value)) in members.iter().enumerate() {
                    next_line(index > 0, depth + 1, out);
                    write_string(key, out);
                    out.push_str(": ");
                    value.write(depth + 1, out);
                }
                close(members.is_empty(), depth, '}', out);
            }
        }
    }
}

fn next_line(comma: bool, depth: usize, out: &mut String) {
    out.push_str(if comma { ",\n" } else { "\n" });
    for _ in 0..depth {
        out.push_str("    ");
    }
}

fn close(empty: bool, depth: usize, bracket: char, out: &mut String) {
    if !empty {
        next_line(false, depth, out);
    }
    out.push(bracket);
}

fn write_string(text: &str, out: &mut String) {
    // Writing a string into memory cannot fail.
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(Tree)
    }
}

struct Tree;

impl<'de> Visitor<'de> for Tree {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(i64::try_from(value).map_or(Json::UInt(value), Json::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Json::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut members = Vec::new();
        while let Some(key) = access.next_key::<Json>()? {
            let Json::Str(key) = key else { return Err(A::Error::custom("a key that is not a string")) };
            members.push((key, access.next_value()?));
        }
        Ok(Json::Object(members))
    }
}

/// A value and the path that led to it.
#[derive(Clone, Copy)]
pub(crate) struct Node<'a> {
    pub(crate) json: &'a Json,
    place: Place<'a>,
}

/// The path, kept as a chain up the call stack so that it costs nothing until a complaint needs it.
#[derive(Clone, Copy)]
enum Place<'a> {
    Top,
    Key(&'a Node<'a>, &'a str),
    Index(&'a Node<'a>, usize),
}

impl<'a> Node<'a> {
    /// The whole document.
    pub(crate) fn top(json: &'a Json) -> Node<'a> {
        Node { json, place: Place::Top }
    }

    /// The last member whose key matches without regard to case, `null` included.
    pub(crate) fn find(&'a self, key: &'a str) -> Result<Option<Node<'a>>, Error> {
        let Json::Object(members) = self.json else { return Err(self.wrong_type("object")) };
        let last = members.iter().rfind(|(name, _)| name.eq_ignore_ascii_case(key));
        Ok(last.map(|(_, json)| Node { json, place: Place::Key(self, key) }))
    }

    /// As [`Node::find`], with `null` counting as absent: to Go, null leaves a value as it was.
    pub(crate) fn get(&'a self, key: &'a str) -> Result<Option<Node<'a>>, Error> {
        Ok(self.find(key)?.filter(|node| !node.is_null()))
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self.json, Json::Null)
    }

    /// The items of a list.
    pub(crate) fn items(&'a self) -> Result<impl Iterator<Item = Node<'a>>, Error> {
        let Json::List(items) = self.json else { return Err(self.wrong_type("array")) };
        Ok(items.iter().enumerate().map(|(index, json)| Node { json, place: Place::Index(self, index) }))
    }

    /// The members of an object.
    pub(crate) fn members(&'a self) -> Result<impl Iterator<Item = Node<'a>>, Error> {
        let Json::Object(members) = self.json else { return Err(self.wrong_type("object")) };
        Ok(members.iter().map(|(key, json)| Node { json, place: Place::Key(self, key) }))
    }

    /// The key that led here; empty for the document and for items of a list.
    pub(crate) fn key(&self) -> &'a str {
        match self.place {
            Place::Key(_, key) => key,
            _ => "",
        }
    }

    /// A string.
    pub(crate) fn str(&self) -> Result<&'a str, Error> {
        match self.json {
            Json::Str(text) => Ok(text),
            _ => Err(self.wrong_type("string")),
        }
    }

    /// An integer; a number with a fraction or an exponent is none, as in Go.
    pub(crate) fn int(&self) -> Result<i64, Error> {
        match self.json {
            Json::Int(number) => Ok(*number),
            _ => Err(self.wrong_type("int")),
        }
    }

    /// The member's string, or the empty string when it is absent: Go's zero value.
    pub(crate) fn string_at(&'a self, key: &'a str) -> Result<&'a str, Error> {
        match self.get(key)? {
            Some(node) => match node.json {
                Json::Str(text) => Ok(text),
                _ => Err(node.wrong_type("string")),
            },
            None => Ok(""),
        }
    }

    /// A complaint in the words of Go's decoder.
    pub(crate) fn wrong_type(&self, want: &str) -> Error {
        let place = self.path();
        let field = if place.is_empty() { String::new() } else { format!("field {place} of ") };
        Error::internal(format!("json: cannot unmarshal {} into {field}type {want}", self.json.kind()))
    }

    /// The path as an operator would write it, such as `ipam.ranges[0][1].subnet`.
    pub(crate) fn path(&self) -> String {
        match self.place {
            Place::Top => String::new(),
            Place::Index(up, index) => format!("{}[{index}]", up.path()),
            Place::Key(up, key) => {
                let mut path = up.path();
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(key);
                path
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Json {
        Json::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn members_keep_their_order_and_their_duplicates() {
        let member = |key: &str, number| (key.to_owned(), Json::Int(number));
        assert_eq!(
            read(r#"{"b":1,"a":2,"b":3}"#),
            Json::Object(vec![member("b", 1), member("a", 2), member("b", 3)])
        );
    }

    #[test]
    fn numbers_stay_integers_only_where_they_are_written_so() {
        assert_eq!(read("-9223372036854775808"), Json::Int(i64::MIN));
        assert_eq!(read("18446744073709551615"), Json::UInt(u64::MAX));
        assert_eq!(read("1.0"), Json::Float(1.0));
        assert_eq!(read("1e3"), Json::Float(1000.0));
    }

    #[test]
    fn writing_indents_by_four_and_keeps_empty_things_on_one_line() {
        let json = read(r#"{"a":{},"b":[],"c":[null,true,{"d":-1}],"e\n":"\u0001\"é"}"#);
        let golden = "{\n    \"a\": {},\n    \"b\": [],\n    \"c\": [\n        null,\n        true,\n        \
                      {\n            \"d\": -1\n        }\n    ],\n    \"e\\n\": \"\\u0001\\\"é\"\n}";
        assert_eq!(json.to_pretty(), golden);
    }

    #[test]
    fn the_path_in_a_complaint_is_as_an_operator_would_write_it() {
        let json = read(r#"{"a":[{},{"b":5}]}"#);
        let top = Node::top(&json);
        let list = top.get("a").unwrap().unwrap();
        let item = list.items().unwrap().nth(1).unwrap();
        let text = item.string_at("B").unwrap_err().msg;
        assert_eq!(text, "json: cannot unmarshal number into field a[1].B of type string");
    }
}
