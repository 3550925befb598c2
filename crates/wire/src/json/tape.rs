//! A JSON document, checked, with the places of its values.

use std::borrow::Cow;
use std::fmt;

use super::text::unescape;

/// How deep arrays and objects may be nested; Go's decoder has the same limit.
const MAX_DEPTH: usize = 10_000;

/// Bytes that are no JSON, and where that shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotJson {
    /// Place of the first byte that fits nowhere.
    pub at: usize,
    /// What is wrong there.
    pub what: &'static str,
}

impl fmt::Display for NotJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.what, self.at)
    }
}

impl std::error::Error for NotJson {}

/// One value: where it stands, and which one follows it and all that is in it.
#[derive(Debug, Clone, Copy)]
struct Place {
    start: u32,
    end: u32,
    next: u32,
}

/// A document and the places of its values in the order in which they stand; keys are values too.
#[derive(Debug)]
pub struct Tape<'a> {
    text: &'a [u8],
    places: Vec<Place>,
}

/// What may stand next.
#[derive(Clone, Copy, PartialEq)]
enum Expect {
    Value,
    ValueOrEnd,
    Key,
    KeyOrEnd,
    After,
}

impl<'a> Tape<'a> {
    /// Checks a whole document (RFC 8259; bytes in strings need not be UTF-8, as Go has it).
    pub fn parse(text: &'a [u8]) -> Result<Tape<'a>, NotJson> {
        if u32::try_from(text.len()).is_err() {
            return Err(NotJson { at: 0, what: "more than 4 GiB" });
        }
        let places = Some(Vec::with_capacity(text.len() / 24));
        let mut reader = Reader { text, at: 0, places, open: Vec::new() };
        reader.document()?;
        Ok(Tape { text, places: reader.places.unwrap_or_default() })
    }

    /// The document's value.
    pub fn root(&self) -> Node<'_, 'a> {
        Node { tape: self, at: 0 }
    }
}

/// Checks a whole document as [`Tape::parse`] does, and notes nothing.
pub fn check(text: &[u8]) -> Result<(), NotJson> {
    Reader { text, at: 0, places: None, open: Vec::new() }.document()
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    /// Where the values stand, if that is to be noted.
    places: Option<Vec<Place>>,
    /// The arrays and objects that are not closed yet.
    open: Vec<Open>,
}

/// An array or object that is not closed yet.
#[derive(Clone, Copy)]
struct Open {
    is_object: bool,
    place: u32,
}

impl Reader<'_> {
    fn document(&mut self) -> Result<(), NotJson> {
        let mut expect = Expect::Value;
        loop {
            self.skip_space();
            let Some(byte) = self.peek() else {
                let done = expect == Expect::After && self.open.is_empty();
                return if done { Ok(()) } else { Err(self.fault("the document is cut off")) };
            };
            expect = match (expect, byte) {
                (Expect::After, b',') if !self.open.is_empty() => {
                    self.at += 1;
                    if self.in_object() { Expect::Key } else { Expect::Value }
                }
                (Expect::After | Expect::ValueOrEnd, b']') if !self.in_object() => self.close()?,
                (Expect::After | Expect::KeyOrEnd, b'}') if self.in_object() => self.close()?,
                (Expect::Key | Expect::KeyOrEnd, b'"') => {
                    self.scalar(Self::string)?;
                    self.skip_space();
                    if self.peek() != Some(b':') {
                        return Err(self.fault("a colon is missing"));
                    }
                    self.at += 1;
                    Expect::Value
                }
                (Expect::Value | Expect::ValueOrEnd, byte) => self.value(byte)?,
                _ => return Err(self.fault("something stands where it cannot")),
            };
        }
    }

    fn value(&mut self, byte: u8) -> Result<Expect, NotJson> {
        match byte {
            b'{' | b'[' => {
                if self.open.len() >= MAX_DEPTH {
                    return Err(self.fault("it is nested too deeply"));
                }
                let place = self.push(self.at, self.at);
                self.open.push(Open { is_object: byte == b'{', place });
                self.at += 1;
                return Ok(if byte == b'{' { Expect::KeyOrEnd } else { Expect::ValueOrEnd });
            }
            b'"' => self.scalar(Self::string)?,
            b'-' | b'0'..=b'9' => self.scalar(Self::number)?,
            b't' => self.scalar(|reader| reader.word(b"true"))?,
            b'f' => self.scalar(|reader| reader.word(b"false"))?,
            b'n' => self.scalar(|reader| reader.word(b"null"))?,
            _ => return Err(self.fault("no value begins so")),
        }
        Ok(Expect::After)
    }

    fn scalar(&mut self, read: impl FnOnce(&mut Self) -> Result<(), NotJson>) -> Result<(), NotJson> {
        let start = self.at;
        read(self)?;
        self.push(start, self.at);
        Ok(())
    }

    fn close(&mut self) -> Result<Expect, NotJson> {
        let open = self.open.pop().ok_or(self.fault("nothing is open"))?;
        self.at += 1;
        let end = short(self.at);
        if let Some(places) = &mut self.places {
            let next = short(places.len());
            if let Some(place) = places.get_mut(open.place as usize) {
                (place.end, place.next) = (end, next);
            }
        }
        Ok(Expect::After)
    }

    /// Notes a value and returns the number of its place.
    fn push(&mut self, start: usize, end: usize) -> u32 {
        let Some(places) = &mut self.places else { return 0 };
        let place = short(places.len());
        places.push(Place { start: short(start), end: short(end), next: place + 1 });
        place
    }

    fn in_object(&self) -> bool {
        self.open.last().is_some_and(|open| open.is_object)
    }

    fn string(&mut self) -> Result<(), NotJson> {
        self.at += 1;
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let plain = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
            self.at += plain.unwrap_or(rest.len());
            match self.take() {
                Some(b'"') => return Ok(()),
                Some(b'\\') => self.escape()?,
                Some(_) => return Err(self.fault("a control character stands in a string")),
                None => return Err(self.fault("a string is cut off")),
            }
        }
    }

    /// What follows a backslash.
    fn escape(&mut self) -> Result<(), NotJson> {
        let digits = match self.take() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 0,
            Some(b'u') => 4,
            _ => return Err(self.fault("an escape is broken")),
        };
        for _ in 0..digits {
            if !self.take().is_some_and(|byte| byte.is_ascii_hexdigit()) {
                return Err(self.fault("an escape is broken"));
            }
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), NotJson> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), NotJson> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err(self.fault("a digit is missing")) }
    }

    fn word(&mut self, word: &[u8]) -> Result<(), NotJson> {
        if self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            self.at += word.len();
            return Ok(());
        }
        Err(self.fault("no value begins so"))
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn take(&mut self) -> Option<u8> {
        let byte = self.peek();
        self.at += usize::from(byte.is_some());
        byte
    }

    fn fault(&self, what: &'static str) -> NotJson {
        NotJson { at: self.at, what }
    }
}

/// Documents are shorter than 4 GiB, so this never saturates.
fn short(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

/// A value of a [`Tape`].
#[derive(Debug, Clone, Copy)]
pub struct Node<'t, 'a> {
    tape: &'t Tape<'a>,
    at: u32,
}

impl<'t, 'a> Node<'t, 'a> {
    fn place(self) -> Place {
        // Places come from the tape, so this is always there.
        self.tape.places.get(self.at as usize).copied().unwrap_or(Place { start: 0, end: 0, next: self.at })
    }

    /// The value as it stands in the text.
    pub fn raw(self) -> &'a [u8] {
        let place = self.place();
        self.tape.text.get(place.start as usize..place.end as usize).unwrap_or_default()
    }

    /// Where it begins and ends in the text.
    pub fn span(self) -> std::ops::Range<usize> {
        let place = self.place();
        place.start as usize..place.end as usize
    }

    /// The byte that says what it is: `{`, `[`, `"`, `t`, `f`, `n`, `-` or a digit.
    pub fn first_byte(self) -> u8 {
        self.raw().first().copied().unwrap_or(b'n')
    }

    /// Whether it is `null`.
    pub fn is_null(self) -> bool {
        self.first_byte() == b'n'
    }

    /// The text of a string; `None` for anything else.
    pub fn text(self) -> Option<Cow<'a, str>> {
        let inner = self.raw().strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        Some(unescape(inner))
    }

    /// The members of an object, in the order in which they stand; nothing for anything else.
    pub fn members(self) -> impl Iterator<Item = (Node<'t, 'a>, Node<'t, 'a>)> {
        let mut children = self.children(b'{');
        std::iter::from_fn(move || Some((children.next()?, children.next()?)))
    }

    /// The member of an object with this key; of two with one key the last one.
    pub fn member(self, key: &str) -> Option<Node<'t, 'a>> {
        self.members()
            .filter(|(name, _)| name.text().is_some_and(|name| name == key))
            .last()
            .map(|(_, value)| value)
    }

    /// The elements of an array; nothing for anything else.
    pub fn elements(self) -> impl Iterator<Item = Node<'t, 'a>> {
        self.children(b'[')
    }

    fn children(self, kind: u8) -> impl Iterator<Item = Node<'t, 'a>> {
        let end = if self.first_byte() == kind { self.place().next } else { self.at };
        let mut at = self.at + 1;
        std::iter::from_fn(move || {
            let child = Node { tape: self.tape, at };
            (at < end).then(|| {
                at = child.place().next.max(at + 1);
                child
            })
        })
    }
}
