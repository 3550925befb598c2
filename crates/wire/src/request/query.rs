//! The query of a request, read as Go's `url.ParseQuery` reads it.

/// How many parameters are read; Go stops at as many.
const MAX_PARAMS: usize = 10_000;

/// Names and values, decoded, in the order in which they stand. A pair with a broken escape or a semicolon is left
/// out, as the API server leaves it out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Reads what stands after the question mark.
    pub fn parse(raw: &str) -> Query {
        let pairs = raw.split('&').filter(|pair| !pair.is_empty() && !pair.contains(';')).take(MAX_PARAMS);
        let decoded = pairs.filter_map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode(name)?, decode(value)?))
        });
        Query { pairs: decoded.collect() }
    }

    /// The first value under this name: the only one that counts for every option but lists.
    pub fn first(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// All values under this name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// All pairs in the order in which they stand.
    pub fn pairs(&self) -> &[(String, String)] {
        &self.pairs
    }

    /// The query with each pair changed or left out by `change`, encoded for a request line.
    pub fn rewritten(&self, change: impl Fn(&str, &str) -> Option<String>) -> String {
        let mut out = String::new();
        for (name, value) in &self.pairs {
            let Some(value) = change(name, value) else { continue };
            if !out.is_empty() {
                out.push('&');
            }
            encode(name, &mut out);
            out.push('=');
            encode(&value, &mut out);
        }
        out
    }
}

fn decode(text: &str) -> Option<String> {
    if text.contains('+') { percent_decode(&text.replace('+', " ")) } else { percent_decode(text) }
}

/// Decodes `%XX` once; `None` if an escape is broken. Bytes that are no UTF-8 become U+FFFD, which stands in no name.
pub fn percent_decode(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(if byte == b'%' { hex(bytes.next()?)? << 4 | hex(bytes.next()?)? } else { byte });
    }
    Some(
        String::from_utf8(out).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
    )
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Appends the text as it may stand in a query.
fn encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let digit =
                |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0').to_ascii_uppercase();
            out.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
}
