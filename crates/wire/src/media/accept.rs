//! The `Accept` header, read as the API server's parser reads it.

/// How many clauses are read; more than any client sends, and few enough to be sorted by insertion.
const MAX_CLAUSES: usize = 64;

/// One alternative of an `Accept` header.
#[derive(Debug, Clone, PartialEq)]
pub struct Clause<'a> {
    /// Before the slash; `*` for any.
    pub kind: &'a str,
    /// After the slash; `*` for any.
    pub subtype: &'a str,
    /// 1 unless said otherwise.
    pub quality: f32,
    /// The parameters but `q`, in the order in which they stand; of two with one name the later counts.
    pub params: Vec<(&'a str, &'a str)>,
}

impl Clause<'_> {
    /// Whether this clause takes that media type.
    pub fn takes(&self, kind: &str, subtype: &str) -> bool {
        match (self.kind, self.subtype) {
            ("*", "*") => true,
            (own, "*") => own == kind,
            (own, own_subtype) => own == kind && own_subtype == subtype,
        }
    }

    fn goes_before(&self, other: &Clause<'_>) -> bool {
        self.quality > other.quality
            || self.kind != "*" && other.kind == "*"
            || self.subtype != "*" && other.subtype == "*"
    }
}

/// The clauses of a header, those to be tried first before the others. What cannot be read is left out.
pub fn clauses(header: &str) -> Vec<Clause<'_>> {
    let mut sorted: Vec<Clause<'_>> = Vec::new();
    for clause in header.split(',').filter_map(clause).take(MAX_CLAUSES) {
        // By insertion, because the order is not transitive and the API server's sort inserts too.
        let at = sorted.iter().rposition(|before| !clause.goes_before(before)).map_or(0, |at| at + 1);
        sorted.insert(at, clause);
    }
    sorted
}

fn clause(part: &str) -> Option<Clause<'_>> {
    let part = trim(part);
    let (range, params) = part.split_once(';').unwrap_or((part, ""));
    let (kind, subtype) = range.split_once('/').unwrap_or((range, ""));
    let kind = trim(kind);
    let subtype = match subtype {
        "" if kind == "*" => "*",
        "" => return None,
        // One slash at the end is let through, any other is not.
        subtype => match subtype.split_once('/') {
            Some((_, more)) if !more.is_empty() => return None,
            Some((subtype, _)) => trim(subtype),
            None => trim(subtype),
        },
    };
    let mut clause = Clause { kind, subtype, quality: 1.0, params: Vec::new() };
    for param in params.split(';') {
        let Some((name, value)) = param.split_once('=') else { continue };
        let value = match value.split_once('=') {
            _ if value.is_empty() => continue,
            Some((_, more)) if !more.is_empty() => continue,
            Some((value, _)) => value,
            None => value,
        };
        match trim(name) {
            "q" => clause.quality = value.parse().unwrap_or(0.0),
            name => clause.params.push((name, trim(value))),
        }
    }
    Some(clause)
}

/// Spaces only: a tab is part of what it stands in.
fn trim(text: &str) -> &str {
    text.trim_matches(' ')
}
