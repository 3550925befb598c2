//! Label selectors cut into tokens.

/// What a piece of a selector is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Error,
    End,
    Close,
    Comma,
    Not,
    DoubleEquals,
    Equals,
    Greater,
    Identifier,
    In,
    Less,
    NotEquals,
    NotIn,
    Open,
}

/// A piece of a selector and its text, which messages quote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub kind: Kind,
    pub text: String,
}

impl Token {
    pub fn new(kind: Kind, text: impl Into<String>) -> Token {
        Token { kind, text: text.into() }
    }

    /// In a place for keys and values, the words `in` and `notin` are words.
    pub fn into_word(self) -> Token {
        match self.kind {
            Kind::In | Kind::NotIn => Token { kind: Kind::Identifier, ..self },
            _ => self,
        }
    }
}

/// All tokens of a selector; the last one is the end. A zero byte ends it too.
pub(super) fn tokens(selector: &str) -> Vec<Token> {
    let text = selector.split('\0').next().unwrap_or_default();
    let mut rest = text;
    let mut tokens = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        if rest.is_empty() {
            break;
        }
        let (token, after) = if rest.starts_with(is_symbol) { symbol(rest) } else { word(rest) };
        tokens.push(token);
        rest = after;
    }
    tokens.push(Token::new(Kind::End, ""));
    tokens
}

fn is_symbol(c: char) -> bool {
    matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<')
}

fn word(text: &str) -> (Token, &str) {
    let end = text.find(|c| is_symbol(c) || matches!(c, ' ' | '\t' | '\r' | '\n')).unwrap_or(text.len());
    let (word, rest) = text.split_at_checked(end).unwrap_or((text, ""));
    let kind = match word {
        "in" => Kind::In,
        "notin" => Kind::NotIn,
        _ => Kind::Identifier,
    };
    (Token::new(kind, word), rest)
}

/// The longest symbol that the text begins with; one that no symbol begins with swallows all that follow it.
fn symbol(text: &str) -> (Token, &str) {
    let two = text.get(..2).and_then(|two| Some((symbol_kind(two)?, two)));
    let one = text.get(..1).and_then(|one| Some((symbol_kind(one)?, one)));
    match two.or(one) {
        Some((kind, symbol)) => (Token::new(kind, symbol), text.get(symbol.len()..).unwrap_or_default()),
        None => {
            let end = text.find(|c| !is_symbol(c)).unwrap_or(text.len());
            let (symbols, rest) = text.split_at_checked(end).unwrap_or((text, ""));
            (Token::new(Kind::Error, format!("error expected: keyword found '{symbols}'")), rest)
        }
    }
}

fn symbol_kind(symbol: &str) -> Option<Kind> {
    Some(match symbol {
        ")" => Kind::Close,
        "," => Kind::Comma,
        "!" => Kind::Not,
        "==" => Kind::DoubleEquals,
        "=" => Kind::Equals,
        ">" => Kind::Greater,
        "<" => Kind::Less,
        "!=" => Kind::NotEquals,
        "(" => Kind::Open,
        _ => return None,
    })
}
