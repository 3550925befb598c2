//! YAML as configuration files use it: bytes to a tree that knows its lines.
//!
//! Aliases, merge keys and tags of one's own are refused: no file that we read needs them, and an alias can make a short
//! text grow without bound. So is a key that stands twice, of which others would silently take one.

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};

/// Deeper than any configuration.
const DEPTH: usize = 64;
/// More values than any configuration has.
const VALUES: usize = 20_000;

/// A value and the line on which it begins, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The line.
    pub line: usize,
    /// The value.
    pub value: Value,
}

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing: `null`, `~`, or no value at all.
    Null,
    /// Text, a number or a boolean; which of them is for the reader to say, as in Kubernetes' own types.
    Scalar(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the file.
    Map(Vec<(String, Node)>),
}

impl Node {
    /// Reads the one document in this text; an empty one is [`Value::Null`]. Errors name the line.
    pub fn parse(text: &str) -> Result<Node, String> {
        let mut reader = Reader { events: Parser::new_from_str(text), values: 0 };
        let mut whole = None;
        loop {
            let (event, line) = reader.next()?;
            match event {
                Event::StreamEnd => break,
                Event::Nothing | Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd => {}
                _ if whole.is_some() => return Err(format!("line {line}: a second document begins")),
                event => whole = Some(reader.node(event, line, 0)?),
            }
        }
        Ok(whole.unwrap_or(Node { line: 1, value: Value::Null }))
    }

    /// The value of a key; `None` where it is absent or null. Errors name the line and what should stand there.
    pub fn get(&self, key: &str) -> Result<Option<&Node>, String> {
        let found = self.map()?.iter().find(|(name, _)| name == key).map(|(_, node)| node);
        Ok(found.filter(|node| node.value != Value::Null))
    }

    /// The members of a mapping; none of nothing.
    pub fn map(&self) -> Result<&[(String, Node)], String> {
        match &self.value {
            Value::Map(members) => Ok(members),
            Value::Null => Ok(&[]),
            _ => Err(self.wrong("a mapping")),
        }
    }

    /// The items of a sequence; none of nothing.
    pub fn list(&self) -> Result<&[Node], String> {
        match &self.value {
            Value::List(items) => Ok(items),
            Value::Null => Ok(&[]),
            _ => Err(self.wrong("a list")),
        }
    }

    /// The text of a scalar.
    pub fn text(&self) -> Result<&str, String> {
        match &self.value {
            Value::Scalar(text) => Ok(text),
            _ => Err(self.wrong("one value")),
        }
    }

    /// A scalar as a boolean, in every spelling that kubelet takes.
    pub fn bool(&self) -> Result<bool, String> {
        match self.text()?.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "y" => Ok(true),
            "false" | "no" | "off" | "n" => Ok(false),
            _ => Err(self.wrong("true or false")),
        }
    }

    fn wrong(&self, wanted: &str) -> String {
        format!("line {}: here should be {wanted}", self.line)
    }
}

struct Reader<'a> {
    events: Parser<'a, saphyr_parser::StrInput<'a>>,
    values: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, usize), String> {
        match self.events.next_event() {
            Some(Ok((event, Span { start, .. }))) => Ok((event, start.line())),
            Some(Err(e)) => Err(unreadable(&e)),
            None => Ok((Event::StreamEnd, 0)),
        }
    }

    /// The value that begins with this event.
    fn node(&mut self, event: Event<'a>, line: usize, depth: usize) -> Result<Node, String> {
        if depth > DEPTH {
            return Err(format!("line {line}: it is nested deeper than {DEPTH}"));
        }
        self.values += 1;
        if self.values > VALUES {
            return Err(format!("line {line}: it has more than {VALUES} values"));
        }
        let value = match event {
            Event::Scalar(text, style, _, tag) => {
                known(tag.as_deref(), line)?;
                let plain = style == ScalarStyle::Plain;
                match text.as_ref() {
                    "" | "~" | "null" | "Null" | "NULL" if plain => Value::Null,
                    text => Value::Scalar(text.to_owned()),
                }
            }
            Event::SequenceStart(_, tag) => {
                known(tag.as_deref(), line)?;
                self.list(depth)?
            }
            Event::MappingStart(_, tag) => {
                known(tag.as_deref(), line)?;
                self.map(depth)?
            }
            Event::Alias(_) => return Err(format!("line {line}: aliases (`*name`) are not understood")),
            _ => return Err(format!("line {line}: a value is missing")),
        };
        Ok(Node { line, value })
    }

    fn list(&mut self, depth: usize) -> Result<Value, String> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::List(items)),
                (event, line) => items.push(self.node(event, line, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, String> {
        let mut members: Vec<(String, Node)> = Vec::new();
        loop {
            let (event, line) = self.next()?;
            let key = match event {
                Event::MappingEnd => return Ok(Value::Map(members)),
                Event::Scalar(key, ..) if key == "<<" => {
                    return Err(format!("line {line}: merge keys (`<<`) are not understood"));
                }
                Event::Scalar(key, ..) => key.into_owned(),
                _ => return Err(format!("line {line}: a key must be one word")),
            };
            if members.iter().any(|(name, _)| *name == key) {
                return Err(format!("line {line}: `{key}` stands here for the second time"));
            }
            let (event, line) = self.next()?;
            members.push((key, self.node(event, line, depth + 1)?));
        }
    }
}

fn unreadable(error: &ScanError) -> String {
    format!("line {}: {}", error.marker().line(), error.info())
}

/// Tags that say what a value is anyway change nothing; others would.
fn known(tag: Option<&Tag>, line: usize) -> Result<(), String> {
    let usual = |tag: &Tag| {
        tag.is_yaml_core_schema()
            && ["str", "int", "bool", "float", "map", "seq"].contains(&tag.suffix.as_str())
    };
    match tag.filter(|tag| !usual(tag)) {
        Some(tag) => Err(format!("line {line}: the tag {tag} is not understood")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str, why: &str) {
        let error = Node::parse(text).unwrap_err();
        assert!(error.contains(why), "{error}");
    }

    #[test]
    fn block_flow_and_json_are_the_same_to_a_reader() {
        for text in [
            "# a comment\na:\n- b: 'x'\n  c: true\n- d\n",
            "---\na: [{b: x, c: yes}, d]\n...\n",
            "{\n\t\"a\": [\n\t\t{ \"b\": \"x\", \"c\": true },\n\t\t\"d\"\n\t]\n}\n",
        ] {
            let root = Node::parse(text).unwrap();
            let items = root.get("a").unwrap().unwrap().list().unwrap();
            assert_eq!(items[0].get("b").unwrap().unwrap().text(), Ok("x"), "{text}");
            assert_eq!(items[0].get("c").unwrap().unwrap().bool(), Ok(true), "{text}");
            assert_eq!((items[1].text(), items.len()), (Ok("d"), 2), "{text}");
        }
    }

    #[test]
    fn nothing_is_absent_and_has_no_members() {
        let root = Node::parse("a:\nb: ~\nc: null\nd: \"\"\n").unwrap();
        for key in ["a", "b", "c", "e"] {
            assert_eq!(root.get(key), Ok(None));
        }
        assert_eq!(root.get("d").unwrap().unwrap().text(), Ok(""));
        assert_eq!(Node::parse("").unwrap().map(), Ok(&[][..]));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused_with_its_line() {
        refused("a: 1\nb: 2\na: 3\n", "line 3: `a` stands here for the second time");
        refused("a: &x [1]\nb: *x\n", "line 2: aliases");
        refused("a: {}\nb:\n  <<: {c: 1}\n", "line 3: merge keys");
        refused("a: 1\n---\nb: 2\n", "line 3: a second document");
        refused("a: !!binary aGk=\n", "the tag");
        refused("a: !mine x\n", "the tag");
        refused("? [a]\n: b\n", "a key must be one word");
        refused("a: [1\nb: 2\n", "line 2");
    }

    #[test]
    fn a_value_of_another_kind_is_refused_with_its_line() {
        let root = Node::parse("a:\n  b: [1]\n").unwrap();
        let a = root.get("a").unwrap().unwrap();
        assert_eq!(a.list().unwrap_err(), "line 2: here should be a list");
        assert_eq!(a.get("b").unwrap().unwrap().text().unwrap_err(), "line 2: here should be one value");
        assert!(a.get("b").unwrap().unwrap().list().unwrap()[0].bool().is_err());
    }

    #[test]
    fn depth_and_number_are_bounded() {
        refused(&"[".repeat(5000), "line 1");
        refused(&format!("{}1{}", "[".repeat(80), "]".repeat(80)), "nested deeper");
        let nested: String = (0..80).map(|n| format!("{}a:\n", " ".repeat(n))).collect();
        refused(&nested, "nested deeper");
        let many: String = (0..30_000).map(|n| format!("k{n}: 1\n")).collect();
        refused(&many, "more than 20000 values");
    }
}
