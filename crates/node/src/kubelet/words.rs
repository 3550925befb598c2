//! systemd's syntax: lines of a unit, quoted words, files of environment variables.

/// A setting.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// The section that it is in.
    pub section: String,
    /// Its name.
    pub key: String,
    /// Its value, with the lines that continue it.
    pub value: String,
}

/// The settings of a unit file, in its order. A line goes on in the next one after a backslash; comments in between are
/// passed over.
pub fn lines(text: &str) -> Vec<Line> {
    let (mut found, mut section, mut whole) = (Vec::new(), String::new(), String::new());
    for line in text.lines().chain([""]) {
        let trimmed = line.trim();
        if trimmed.starts_with(['#', ';']) {
            continue;
        }
        if let Some(part) = line.trim_end().strip_suffix('\\') {
            whole += part;
            whole.push(' ');
            continue;
        }
        whole += line;
        let line = std::mem::take(&mut whole);
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            name.clone_into(&mut section);
        } else if let Some((key, value)) = line.split_once('=') {
            let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
            found.push(Line { section: section.clone(), key, value });
        }
    }
    found
}

/// The words of a line: quotes and escapes are taken away (systemd.syntax(7)).
pub fn split(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        match (char, quote) {
            ('\\', _) => {
                let word = word.get_or_insert_default();
                match chars.next() {
                    Some('n') => word.push('\n'),
                    Some('t') => word.push('\t'),
                    Some('s') => word.push(' '),
                    Some(plain @ ('\\' | '"' | '\'')) => word.push(plain),
                    // Others stand for bytes that no path or flag has; they are kept as they are.
                    other => word.extend(['\\'].into_iter().chain(other)),
                }
            }
            ('"' | '\'', None) => {
                quote = Some(char);
                word.get_or_insert_default();
            }
            (char, Some(open)) if char == open => quote = None,
            (char, None) if char.is_ascii_whitespace() => words.extend(word.take()),
            (char, _) => word.get_or_insert_default().push(char),
        }
    }
    words.extend(word);
    words
}

/// Whether this can be the name of a variable.
pub fn is_name(name: &str) -> bool {
    let known = |char: char| char.is_ascii_alphanumeric() || char == '_';
    name.chars().all(known) && !name.is_empty() && !name.starts_with(|char: char| char.is_ascii_digit())
}

/// The variables of a file that `EnvironmentFile=` names, in its order. What systemd passes over is passed over.
pub fn environment_file(text: &str) -> Vec<(String, String)> {
    let mut variables = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        rest = rest.trim_start();
        let end = rest.find('\n').unwrap_or(rest.len());
        let (line, after) = rest.split_at(end);
        let Some((name, _)) = line.split_once('=').filter(|_| !line.starts_with(['#', ';'])) else {
            rest = after;
            continue;
        };
        let (value, after) = value(rest.get(name.len() + 1..).unwrap_or_default());
        if is_name(name.trim()) {
            variables.push((name.trim().to_owned(), value));
        }
        rest = after;
    }
    variables
}

/// The value that a text begins with, and what comes after its line. A quote counts only at its beginning.
fn value(text: &str) -> (String, &str) {
    let text = text.trim_start_matches([' ', '\t', '\r']);
    let quote = text.chars().next().filter(|char| matches!(char, '"' | '\''));
    let (mut value, mut chars) = (String::new(), text.char_indices().skip(usize::from(quote.is_some())));
    while let Some((at, char)) = chars.next() {
        match (char, quote) {
            ('\n', None) => return (value.trim_end().to_owned(), text.get(at..).unwrap_or_default()),
            ('\\', None | Some('"')) => match chars.next() {
                Some((_, '\n')) => {}
                Some((_, plain)) if quote.is_none() || "\"\\`$".contains(plain) => value.push(plain),
                other => value.extend(['\\'].into_iter().chain(other.map(|(_, char)| char))),
            },
            (char, Some(open)) if char == open => {
                let after = text.get(at + 1..).unwrap_or_default();
                let end = after.find('\n').unwrap_or(after.len());
                // What stands behind the closing quote on its line belongs to the value as it is.
                value += after.get(..end).unwrap_or_default().trim();
                return (value, after.get(end..).unwrap_or_default());
            }
            _ => value.push(char),
        }
    }
    (if quote.is_some() { value } else { value.trim_end().to_owned() }, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_goes_on_after_a_backslash_and_comments_do_not_count() {
        let text =
            "# c\n[Service]\nExecStart=/a \\\n  --b \\\n# c\n  --c\n;d=e\n[Install]\nx = y z \nnonsense\n";
        let found: Vec<_> = lines(text).into_iter().map(|l| (l.section, l.key, l.value)).collect();
        let of = |section: &str, key: &str, value: &str| (section.into(), key.into(), value.into());
        assert_eq!(found[0].2.split_whitespace().collect::<Vec<_>>(), ["/a", "--b", "--c"]);
        assert_eq!(found[1], of("Install", "x", "y z"));
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn quotes_hold_words_together_and_go() {
        assert_eq!(
            split(r#"a  "b c" 'd "e"' f"g h" "" \x \"i\s"#),
            ["a", "b c", "d \"e\"", "fg h", "", "\\x", "\"i "]
        );
        assert!(split("  ").is_empty());
    }

    #[test]
    fn files_of_variables_are_read_as_systemd_reads_them() {
        let text = "# c\nKUBELET_KUBEADM_ARGS=\"--a=b --c\"\n\n; c\nX= y 'z'  \nnothing\nL=a \\\n b\nM='p\nq'\nN=\"\\\"\\n\"\n1=2\n";
        let found = environment_file(text);
        let of = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            found,
            [
                of("KUBELET_KUBEADM_ARGS", "--a=b --c"),
                of("X", "y 'z'"),
                of("L", "a  b"),
                of("M", "p\nq"),
                of("N", "\"\\n"),
            ]
        );
        assert_eq!(environment_file("A=1"), [of("A", "1")]);
        assert_eq!(environment_file("A=\"1"), [of("A", "1")]);
        assert_eq!(environment_file("A="), [of("A", "")]);
    }
}
