//! kubelet's command line as it reads it itself: the last flag of a name counts.

use std::path::PathBuf;

use super::unit::Word;

/// A flag's value and the file that gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// The value.
    pub value: String,
    /// The unit, drop-in or file of variables that says so.
    pub from: PathBuf,
}

/// The arguments of kubelet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flags(Vec<Word>);

impl Flags {
    /// Of these words the first is the program.
    pub fn new(words: Vec<Word>) -> Flags {
        Flags(words)
    }

    /// A flag that takes a value, written `--name=value` or `--name value`.
    pub fn value(&self, name: &str) -> Option<Flag> {
        let mut found = None;
        let mut words = self.0.iter().skip(1);
        while let Some(word) = words.next() {
            let Some((flag, value)) = parts(&word.text) else { continue };
            if !is(flag, name) {
                continue;
            }
            let value = match value {
                Some(value) => value.to_owned(),
                None => words.next().map(|next| next.text.clone()).unwrap_or_default(),
            };
            found = Some(Flag { value, from: word.from.clone() });
        }
        found
    }

    /// A boolean flag, written `--name` or `--name=value`; kubelet does not start with a value that is no boolean.
    pub fn switch(&self, name: &str) -> Option<(bool, PathBuf)> {
        let of_name = self.0.iter().skip(1).rev().find_map(|word| {
            let (flag, value) = parts(&word.text)?;
            is(flag, name).then(|| (value, word.from.clone()))
        });
        of_name.map(|(value, from)| {
            (!matches!(value, Some("false" | "False" | "FALSE" | "f" | "F" | "0")), from)
        })
    }
}

fn parts(word: &str) -> Option<(&str, Option<&str>)> {
    let flag = word.strip_prefix("--")?;
    Some(flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value))))
}

/// kubelet takes `_` for `-` (k8s.io/component-base/cli/flag).
fn is(flag: &str, name: &str) -> bool {
    flag.replace('_', "-") == name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(line: &str) -> Flags {
        let word = |text: &str| Word { text: text.to_owned(), from: "/u".into() };
        Flags::new(line.split(' ').map(word).collect())
    }

    fn value(line: &str) -> Option<String> {
        flags(line).value("kubeconfig").map(|flag| flag.value)
    }

    #[test]
    fn the_last_one_counts_however_it_is_written() {
        assert_eq!(value("k --kubeconfig=/a --kubeconfig /b --v=2").as_deref(), Some("/b"));
        assert_eq!(value("k --kubeconfig /a --v 2").as_deref(), Some("/a"));
        assert_eq!(value("k --kubeconfig=").as_deref(), Some(""));
        assert_eq!(value("k --bootstrap-kubeconfig=/a kubeconfig=/b"), None);
        assert_eq!(flags("k --cert_dir=/a").value("cert-dir").unwrap().value, "/a");
    }

    #[test]
    fn a_switch_alone_is_on() {
        let rotate = |line| flags(line).switch("rotate-certificates").map(|(on, _)| on);
        assert_eq!(rotate("k --rotate-certificates"), Some(true));
        assert_eq!(rotate("k --rotate-certificates=true --rotate-certificates=false"), Some(false));
        assert_eq!(rotate("k --rotate-certificates=0"), Some(false));
        assert_eq!(rotate("k"), None);
    }
}
