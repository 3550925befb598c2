//! Changes to the text of a JSON document that leave every other byte as it is.
//!
//! [`Json::parse`] says whether the text is JSON and what it means; the walk here only says where in the text each value
//! stands. Invariant: an edit is given out only after the new text was read again and means the old document with exactly
//! that one value changed.

use std::fmt;
use std::ops::Range;

use cni::json::Json;

/// Where in a document.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Path(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(&'static str),
    Index(usize),
}

impl Path {
    /// The member `key` of what stands here.
    pub fn key(&self, key: &'static str) -> Path {
        self.then(Step::Key(key))
    }

    /// The item `index` of the list that stands here.
    pub fn index(&self, index: usize) -> Path {
        self.then(Step::Index(index))
    }

    fn then(&self, step: Step) -> Path {
        Path(self.0.iter().cloned().chain([step]).collect())
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if at > 0 => write!(f, ".{key}")?,
                Step::Key(key) => f.write_str(key)?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// One change; each names the plugin object that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// Gives `ipam.type` another value.
    Retype(Path),
    /// Puts `type` first into `ipam`, which has none.
    AddType(Path),
    /// Puts `ipam` with nothing but a `type` behind the plugin's `type`.
    AddIpam(Path),
}

/// The one member of an object whose key is `key`. `Err` says why it cannot be told: Go takes keys in any case and the
/// last of several, others do not, so what is not spelt exactly and once means different things to different readers.
pub fn member<'a>(object: &'a Json, key: &str) -> Result<Option<&'a Json>, String> {
    let Json::Object(members) = object else {
        return Err(format!("is a JSON {} where an object is expected", object.kind()));
    };
    position(members.iter().map(|(key, _)| key.as_str()), key)
        .map(|at| at.and_then(|at| members.get(at)).map(|(_, value)| value))
}

fn position<'a>(keys: impl Iterator<Item = &'a str>, key: &str) -> Result<Option<usize>, String> {
    let mut alike = keys.enumerate().filter(|(_, name)| name.eq_ignore_ascii_case(key));
    match (alike.next(), alike.next()) {
        (None, _) => Ok(None),
        (Some((at, name)), None) if name == key => Ok(Some(at)),
        (Some((_, name)), None) => Err(format!("spells the key `{key}` as `{name}`")),
        _ => Err(format!("has the key `{key}` more than once")),
    }
}

/// The text with this one change: the type becomes `to`. `Err` says why the change cannot be made for certain.
pub fn apply(text: &str, edit: &Edit, to: &str) -> Result<String, String> {
    let mut wanted = Json::parse(text.as_bytes())?;
    let root = Walk { text, at: 0 }.value().ok_or("the text cannot be followed")?;
    let (place, with) = splice(text, &root, edit, to)?;
    change(&mut wanted, edit, to).ok_or("the place to change is not there")?;
    let (Some(head), Some(tail)) = (text.get(..place.start), text.get(place.end..)) else {
        return Err("the text cannot be followed".into());
    };
    let new = format!("{head}{with}{tail}");
    match Json::parse(new.as_bytes()) {
        Ok(json) if json == wanted => Ok(new),
        _ => Err("the change would have altered more than the one value".into()),
    }
}

/// Which bytes to put in place of which.
fn splice(text: &str, root: &Value, edit: &Edit, to: &str) -> Result<(Range<usize>, String), String> {
    let to = quoted(to);
    let lost = || "the text cannot be followed".to_owned();
    match edit {
        Edit::Retype(plugin) => {
            let value = root.at(&plugin.key("ipam").key("type"))?;
            Ok((value.span.clone(), to))
        }
        Edit::AddType(plugin) => {
            let ipam = root.at(&plugin.key("ipam"))?;
            let Body::Object(members) = &ipam.body else { return Err(lost()) };
            let start = ipam.span.start + 1;
            let with = match members.first() {
                Some(first) => {
                    let space = text.get(start..first.key_span.start).ok_or_else(lost)?;
                    format!("{space}\"type\"{}{to},", first.colon(text).ok_or_else(lost)?)
                }
                None => format!("\"type\": {to}"),
            };
            Ok((start..start, with))
        }
        Edit::AddIpam(plugin) => {
            let plugin = root.at(plugin)?;
            let kind = plugin.find("type")?.ok_or_else(lost)?;
            let before = text.get(plugin.span.start..kind.key_span.start).ok_or_else(lost)?;
            let space = before.get(before.trim_end().len()..).ok_or_else(lost)?;
            let (colon, end) = (kind.colon(text).ok_or_else(lost)?, kind.value.span.end);
            Ok((end..end, format!(",{space}\"ipam\"{colon}{{\"type\"{colon}{to}}}")))
        }
    }
}

/// The same change in the tree.
fn change(json: &mut Json, edit: &Edit, to: &str) -> Option<()> {
    let kind = ("type".to_owned(), Json::text(to));
    match edit {
        Edit::Retype(plugin) => {
            *reach(json, &plugin.key("ipam").key("type"))? = kind.1;
        }
        Edit::AddType(plugin) => {
            let Json::Object(ipam) = reach(json, &plugin.key("ipam"))? else { return None };
            ipam.insert(0, kind);
        }
        Edit::AddIpam(plugin) => {
            let Json::Object(plugin) = reach(json, plugin)? else { return None };
            let at = plugin.iter().position(|(key, _)| key == "type")?;
            plugin.insert(at + 1, ("ipam".to_owned(), Json::Object(vec![kind])));
        }
    }
    Some(())
}

fn reach<'a>(json: &'a mut Json, path: &Path) -> Option<&'a mut Json> {
    path.0.iter().try_fold(json, |json, step| match (step, json) {
        (Step::Key(key), Json::Object(members)) => {
            members.iter_mut().find(|(name, _)| name == key).map(|(_, value)| value)
        }
        (Step::Index(index), Json::List(items)) => items.get_mut(*index),
        _ => None,
    })
}

fn quoted(text: &str) -> String {
    Json::text(text).to_pretty()
}

/// A value and where it stands.
struct Value {
    span: Range<usize>,
    body: Body,
}

enum Body {
    Object(Vec<Member>),
    List(Vec<Value>),
    Other,
}

struct Member {
    key: String,
    key_span: Range<usize>,
    value: Value,
}

impl Member {
    /// What stands between the key and its value: a colon and the blanks around it.
    fn colon<'t>(&self, text: &'t str) -> Option<&'t str> {
        text.get(self.key_span.end..self.value.span.start)
    }
}

impl Value {
    fn find(&self, key: &str) -> Result<Option<&Member>, String> {
        let Body::Object(members) = &self.body else { return Ok(None) };
        Ok(position(members.iter().map(|member| member.key.as_str()), key)?.and_then(|at| members.get(at)))
    }

    fn at(&self, path: &Path) -> Result<&Value, String> {
        path.0.iter().try_fold(self, |value, step| {
            let next = match (step, &value.body) {
                (Step::Key(key), _) => value.find(key)?.map(|member| &member.value),
                (Step::Index(index), Body::List(items)) => items.get(*index),
                _ => None,
            };
            next.ok_or_else(|| format!("there is no {path}"))
        })
    }
}

/// Walks over text that is known to be JSON: it follows, it does not check. As deep as the reader that checked it.
struct Walk<'t> {
    text: &'t str,
    at: usize,
}

impl Walk<'_> {
    fn value(&mut self) -> Option<Value> {
        let start = self.next_token()?;
        let body = match self.peek()? {
            b'{' => Body::Object(self.members()?),
            b'[' => Body::List(self.items()?),
            b'"' => {
                self.string()?;
                Body::Other
            }
            _ => {
                while self.peek().is_some_and(|byte| !b",]} \t\r\n".contains(&byte)) {
                    self.at += 1;
                }
                Body::Other
            }
        };
        Some(Value { span: start..self.at, body })
    }

    fn members(&mut self) -> Option<Vec<Member>> {
        let mut members = Vec::new();
        self.at += 1;
        loop {
            let start = self.next_token()?;
            match self.peek()? {
                b'}' => break,
                b',' => self.at += 1,
                _ => {
                    let key = self.string()?;
                    let key_span = start..self.at;
                    self.next_token()?;
                    self.at += 1;
                    members.push(Member { key, key_span, value: self.value()? });
                }
            }
        }
        self.at += 1;
        Some(members)
    }

    fn items(&mut self) -> Option<Vec<Value>> {
        let mut items = Vec::new();
        self.at += 1;
        loop {
            self.next_token()?;
            match self.peek()? {
                b']' => break,
                b',' => self.at += 1,
                _ => items.push(self.value()?),
            }
        }
        self.at += 1;
        Some(items)
    }

    fn string(&mut self) -> Option<String> {
        let start = self.at;
        self.at += 1;
        loop {
            match self.peek()? {
                b'\\' => self.at += 2,
                b'"' => break,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        match Json::parse(self.text.get(start..self.at)?.as_bytes()) {
            Ok(Json::Str(text)) => Some(text),
            _ => None,
        }
    }

    fn next_token(&mut self) -> Option<usize> {
        while self.peek()?.is_ascii_whitespace() {
            self.at += 1;
        }
        Some(self.at)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retype(text: &str) -> Result<String, String> {
        apply(text, &Edit::Retype(Path::default()), "x")
    }

    #[test]
    fn only_the_value_changes_whatever_the_blanks() {
        let text = "{ \"a\\\"}\" :[1,{}],\r\n\t\"ipam\":{\"k\":-1.5e3 , \"type\"\t:\n\"host-local\"},\"z\":null}\n\n";
        assert_eq!(retype(text).unwrap(), text.replace("host-local", "x"));
    }

    #[test]
    fn an_escaped_value_and_an_escaped_key_are_what_they_mean() {
        let text = r#"{"ip\u0061m":{"type":"host\u002dlocal"}}"#;
        assert_eq!(retype(text).unwrap(), r#"{"ip\u0061m":{"type":"x"}}"#);
    }

    #[test]
    fn what_is_added_looks_like_what_stands_around_it() {
        let add = |text: &str| apply(text, &Edit::AddIpam(Path::default()), "x").unwrap();
        assert_eq!(
            add("{\n  \"type\": \"f\",\n  \"d\": 1\n}"),
            "{\n  \"type\": \"f\",\n  \"ipam\": {\"type\": \"x\"},\n  \"d\": 1\n}"
        );
        assert_eq!(add(r#"{"d":1,"type":"f"}"#), r#"{"d":1,"type":"f","ipam":{"type":"x"}}"#);
        let add = |text: &str| apply(text, &Edit::AddType(Path::default()), "x").unwrap();
        assert_eq!(add("{\"ipam\": {\n  \"a\": 1}}"), "{\"ipam\": {\n  \"type\": \"x\",\n  \"a\": 1}}");
        assert_eq!(add(r#"{"ipam": { }}"#), r#"{"ipam": {"type": "x" }}"#);
    }

    #[test]
    fn a_key_that_stands_twice_or_is_spelt_otherwise_stops_the_edit() {
        assert!(retype(r#"{"ipam":{"type":"a","type":"b"}}"#).unwrap_err().contains("more than once"));
        assert!(retype(r#"{"ipam":{"Type":"a"}}"#).unwrap_err().contains("`Type`"));
        assert!(retype(r#"{"ipam":{"type":"a"}} {}"#).is_err());
        assert!(retype(r#"{"ipam":[]}"#).is_err());
    }
}
