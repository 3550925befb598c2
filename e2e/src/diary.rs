//! What clients were answered in the course of a day, in a form in which two days can be compared field by field:
//! everything that chance, time or order of allocation decides is replaced by a word for what it is.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Map, Value};

/// Members of objects that are different on every day and say nothing by themselves.
const PASSING: [&str; 7] = [
    "uid",
    "resourceVersion",
    "managedFields",
    "selfLink",
    "kubernetes.io/config.hash",
    "kubernetes.io/config.mirror",
    "kubectl.kubernetes.io/last-applied-configuration",
];

/// The answers, by what was asked.
#[derive(Debug, Default)]
pub struct Diary {
    entries: BTreeMap<String, Value>,
}

impl Diary {
    /// Notes what `asked` was answered with.
    pub fn note(&mut self, asked: &str, answer: Value) {
        self.enter(asked, normal(answer));
    }

    /// What is asked again is another entry.
    fn enter(&mut self, asked: &str, answer: Value) {
        let again = (2..).map(|time| format!("{asked} ({time})"));
        let mut names = std::iter::once(asked.to_owned()).chain(again);
        if let Some(free) = names.find(|name| !self.entries.contains_key(name)) {
            self.entries.insert(free, answer);
        }
    }

    /// Notes an answer in text, a table for example: its words, whatever lies between them.
    pub fn note_text(&mut self, asked: &str, answer: &str) {
        let lines = answer.lines().map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            Value::String(normal_text(&words.join(" ")))
        });
        self.enter(asked, lines.collect());
    }

    /// How many answers it holds.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Keeps the whole in `directory` for people, and says how much it is and where.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn keep(&self, directory: &Path, name: &str) -> Result<String> {
        let path = directory.join(format!("diary-{name}.json"));
        fs::write(&path, format!("{:#}\n", self.to_json()))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(format!("{} answers, kept as {}", self.len(), path.display()))
    }

    fn to_json(&self) -> Value {
        let entries = self.entries.iter().map(|(asked, answer)| (asked.clone(), answer.clone()));
        Value::Object(entries.collect())
    }

    /// Every field in which `other` differs, as a line each.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut found = Vec::new();
        compare("", &self.to_json(), &other.to_json(), &mut found);
        found
    }
}

fn compare(place: &str, one: &Value, other: &Value, found: &mut Vec<String>) {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let only_other = other.keys().filter(|key| !one.contains_key(*key));
            for key in one.keys().chain(only_other) {
                let nothing = Value::Null;
                let member = |object: &Map<String, Value>| object.get(key).unwrap_or(&nothing).clone();
                compare(&format!("{place}/{key}"), &member(one), &member(other), found);
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (index, (one, other)) in one.iter().zip(other).enumerate() {
                compare(&format!("{place}/{index}"), one, other, found);
            }
        }
        _ if one == other => {}
        _ => found.push(format!("{place}: {one} became {other}")),
    }
}

fn normal(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.into_iter().filter(|(key, _)| !PASSING.contains(&key.as_str()));
            Value::Object(kept.map(|(key, value)| (key, normal(value))).collect())
        }
        Value::Array(items) => items.into_iter().map(normal).collect(),
        Value::String(text) => Value::String(normal_text(&text)),
        other => other,
    }
}

/// A text with every word in it that passes replaced.
fn normal_text(text: &str) -> String {
    let belongs = |character: char| character.is_ascii_alphanumeric() || "-.:/_".contains(character);
    let pieces = text.split_inclusive(|character| !belongs(character));
    let normal = pieces.map(|piece| match piece.char_indices().last() {
        Some((end, last)) if !belongs(last) => {
            format!("{}{last}", normal_word(piece.get(..end).unwrap_or_default()))
        }
        _ => normal_word(piece),
    });
    normal.collect()
}

/// A word, or a word in its place.
fn normal_word(word: &str) -> String {
    let bytes = word.as_bytes();
    let at = |place: usize, what: u8| bytes.get(place) == Some(&what);
    let digits =
        |from: usize, to: usize| bytes.get(from..to).is_some_and(|part| part.iter().all(u8::is_ascii_digit));
    if at(4, b'-') && at(7, b'-') && at(10, b'T') && digits(0, 4) {
        return "TIME".to_owned();
    }
    if word.len() == 36 && [8, 13, 18, 23].iter().all(|place| at(*place, b'-')) {
        return "UID".to_owned();
    }
    if is_age(word) {
        return "AGE".to_owned();
    }
    let name = word.strip_prefix("containerd://").unwrap_or(word);
    if name.len() == 64 && name.chars().all(|character| character.is_ascii_hexdigit()) {
        return "ID".to_owned();
    }
    if word.starts_with("kube-api-access-") || word.starts_with("default-token-") {
        return word.rsplit_once('-').map(|(stem, _)| format!("{stem}-RANDOM")).unwrap_or_default();
    }
    let (address, port) = word.split_once(':').unwrap_or((word, ""));
    let port = if port.is_empty() { String::new() } else { format!(":{port}") };
    match address.parse::<Ipv4Addr>().map(|address| address.octets()) {
        Ok([10, 244, ..]) => format!("POD-IP{port}"),
        Ok([10, 96, 0, 1]) | Err(_) => word.to_owned(),
        Ok([10, 96, ..]) => format!("SERVICE-IP{port}"),
        Ok(_) => word.to_owned(),
    }
}

/// As kubectl writes how old something is: 5s, 1m3s, 2h.
fn is_age(word: &str) -> bool {
    let shape = word.chars().all(|character| character.is_ascii_digit() || "smhd".contains(character));
    shape
        && word.starts_with(|first: char| first.is_ascii_digit())
        && word.ends_with(|last: char| "smhd".contains(last))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_chance_decides_is_no_difference_and_everything_else_is() {
        let pod = |uid: &str, address: &str, phase: &str| {
            json!({"metadata": {"name": "web", "uid": uid}, "status": {"phase": phase, "podIPs": [{"ip": address}],
                   "startTime": "2026-11-24T13:00:00Z"}})
        };
        let day = |answer: Value| {
            let mut diary = Diary::default();
            diary.note("web", answer);
            diary
        };
        let first = day(pod("a", "10.244.0.2", "Running"));
        assert!(first.differences(&day(pod("b", "10.244.0.7", "Running"))).is_empty());
        let found = first.differences(&day(pod("a", "10.244.0.2", "Failed")));
        assert_eq!(found, ["/web/status/phase: \"Running\" became \"Failed\""]);
    }

    #[test]
    fn words_that_pass_are_replaced_inside_of_a_sentence_too() {
        let said = "Get http://x: the UID (9446c7ac-d511-4c6a-8492-182364a813b6) of 10.244.0.7:8080 at 5m3s.";
        assert_eq!(normal_text(said), "Get http://x: the UID (UID) of POD-IP:8080 at 5m3s.");
    }

    #[test]
    fn an_answer_that_only_one_day_has_is_a_difference() {
        let mut first = Diary::default();
        first.note_text("logs", "one  line 5m");
        assert_eq!(first.differences(&Diary::default()), ["/logs: [\"one line AGE\"] became null"]);
    }
}
