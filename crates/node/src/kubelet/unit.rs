//! What systemd starts for a service: unit file and drop-ins, environment, and the words of `ExecStart=`.
//!
//! Rules: systemd.unit(5) for drop-ins, systemd.exec(5) for `Environment=` and `EnvironmentFile=`, systemd.service(5) for
//! command lines, systemd.syntax(7) for quoting. Only what can change kubelet's arguments is read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::words::{self, Line};

/// One file of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitFile {
    /// Where it is.
    pub path: PathBuf,
    /// What is in it.
    pub text: String,
}

/// A unit: its file and its drop-ins by name, which is the order in which they are read wherever they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// The unit file.
    pub main: UnitFile,
    /// The drop-ins.
    pub drop_ins: BTreeMap<String, UnitFile>,
}

/// A word on the command line and the file that it is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// The word.
    pub text: String,
    /// The file that says it.
    pub from: PathBuf,
}

/// A file of environment variables that a unit names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentFile {
    /// Where it is.
    pub path: PathBuf,
    /// Whether the service starts without it.
    pub optional: bool,
}

struct Variable {
    name: String,
    value: String,
    from: PathBuf,
}

/// The settings of a service that make its command line.
#[derive(Default)]
struct Service {
    variables: Vec<Variable>,
    files: Vec<EnvironmentFile>,
    exec: Option<(String, PathBuf)>,
}

impl Unit {
    /// The files of variables, in the order in which they are read.
    pub fn environment_files(&self) -> Vec<EnvironmentFile> {
        self.service().files
    }

    /// Whether a variable stands on the command line as `$name` or `${name}`.
    pub fn expands(&self, name: &str) -> bool {
        let exec = self.service().exec.map(|(line, _)| words::split(&line)).unwrap_or_default();
        let (bare, braced) = (format!("${name}"), format!("${{{name}}}"));
        exec.iter().any(|word| *word == bare || word.contains(&braced))
    }

    /// The program and its arguments, with these contents of the files of variables that are there. `None` where the
    /// unit starts nothing.
    pub fn command(&self, files: &BTreeMap<PathBuf, String>) -> Option<Vec<Word>> {
        let service = self.service();
        let mut variables = service.variables;
        // A file goes before every `Environment=`, wherever the two stand.
        for EnvironmentFile { path, .. } in &service.files {
            let Some(text) = files.get(path) else { continue };
            let read = words::environment_file(text).into_iter();
            variables.extend(read.map(|(name, value)| Variable { name, value, from: path.clone() }));
        }
        let lookup = |name: &str| {
            let found = variables.iter().rev().find(|variable| variable.name == name)?;
            Some((found.value.as_str(), found.from.as_path()))
        };
        let (line, from) = service.exec?;
        let mut words = words::split(&line);
        let first = words.first_mut()?;
        // Of the marks before the program only `:` matters here: nothing is expanded then.
        let program = first.trim_start_matches(|char| "@-+!|:".contains(char)).to_owned();
        let expand = !first.strip_suffix(&program).is_some_and(|marks| marks.contains(':'));
        *first = program;
        Some(words.into_iter().flat_map(|word| expanded(word, &from, expand, &lookup)).collect())
    }

    fn service(&self) -> Service {
        let mut service = Service::default();
        for file in std::iter::once(&self.main).chain(self.drop_ins.values()) {
            for Line { section, key, value } in words::lines(&file.text) {
                if section == "Service" {
                    service.set(&key, &value, &file.path);
                }
            }
        }
        service
    }
}

impl Service {
    /// An empty value takes back what was said before.
    fn set(&mut self, key: &str, value: &str, from: &Path) {
        match (key, value) {
            ("Environment", "") => self.variables.clear(),
            ("Environment", value) => self.variables.extend(words::split(value).iter().filter_map(|word| {
                let (name, value) = word.split_once('=')?;
                let value = value.replace("%%", "%");
                Some(Variable { name: name.to_owned(), value, from: from.to_path_buf() })
            })),
            ("EnvironmentFile", "") => self.files.clear(),
            ("EnvironmentFile", value) => {
                let path = value.strip_prefix('-').unwrap_or(value);
                self.files.push(EnvironmentFile { path: path.into(), optional: path != value });
            }
            ("ExecStart", "") => self.exec = None,
            ("ExecStart", value) => self.exec = Some((value.replace("%%", "%"), from.to_path_buf())),
            _ => {}
        }
    }
}

/// `$NAME` alone becomes the words of its value, `${NAME}` anywhere its value as it is, `$$` a dollar.
fn expanded<'a>(
    word: String,
    from: &Path,
    expand: bool,
    lookup: &impl Fn(&str) -> Option<(&'a str, &'a Path)>,
) -> Vec<Word> {
    if !expand || !word.contains('$') {
        return vec![Word { text: word, from: from.to_path_buf() }];
    }
    if let Some(name) = word.strip_prefix('$').filter(|name| words::is_name(name)) {
        let Some((value, from)) = lookup(name) else { return Vec::new() };
        let word = |text| Word { text, from: from.to_path_buf() };
        return words::split(value).into_iter().map(word).collect();
    }
    let (mut text, mut origin, mut rest) = (String::new(), from, word.as_str());
    while let Some((before, after)) = rest.split_once('$') {
        text += before;
        rest = after;
        if let Some(after) = after.strip_prefix('$') {
            text.push('$');
            rest = after;
        } else if let Some((name, after)) = after.strip_prefix('{').and_then(|after| after.split_once('}')) {
            if let Some((value, from)) = lookup(name) {
                text += value;
                origin = from;
            }
            rest = after;
        } else {
            text.push('$');
        }
    }
    text += rest;
    vec![Word { text, from: origin.to_path_buf() }]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> UnitFile {
        UnitFile { path: path.into(), text: text.into() }
    }

    fn unit(main: &str, drop_ins: &[(&str, &str)]) -> Unit {
        let drop_ins = drop_ins.iter().map(|(name, text)| ((*name).to_owned(), file(name, text)));
        Unit { main: file("main", main), drop_ins: drop_ins.collect() }
    }

    fn said(unit: &Unit, files: &[(&str, &str)]) -> Vec<String> {
        let files = files.iter().map(|(path, text)| (path.into(), (*text).to_owned())).collect();
        unit.command(&files).unwrap_or_default().into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn the_last_setting_wins_and_a_file_goes_before_every_setting() {
        let main = "[Service]\nEnvironment=A=1\nEnvironmentFile=-/f\nExecStart=/k $A\n";
        let later = [("20-x.conf", "[Service]\nEnvironment=\"A=2 3\"\n")];
        assert_eq!(said(&unit(main, &[]), &[]), ["/k", "1"]);
        assert_eq!(said(&unit(main, &later), &[]), ["/k", "2", "3"]);
        assert_eq!(said(&unit(main, &later), &[("/f", "A='4 5'\n")]), ["/k", "4", "5"]);
        let word = unit(main, &later).command(&[("/f".into(), "A=4".into())].into()).unwrap().remove(1);
        assert_eq!(word.from, Path::new("/f"));
    }

    #[test]
    fn an_empty_value_takes_back_what_was_said_before() {
        let main = "[Service]\nEnvironment=A=1\nEnvironmentFile=/f\nExecStart=/a\n";
        let back = [("1.conf", "[Service]\nEnvironment=\nEnvironmentFile=\nExecStart=\nExecStart=/b $A\n")];
        assert_eq!(said(&unit(main, &back), &[("/f", "A=2")]), ["/b"]);
        assert!(unit(main, &back).environment_files().is_empty());
        assert_eq!(unit(main, &[("1.conf", "[Service]\nExecStart=\n")]).command(&BTreeMap::new()), None);
    }

    #[test]
    fn drop_ins_are_read_by_name_and_other_sections_are_not() {
        let drop_ins =
            [("90-b.conf", "[Service]\nEnvironment=A=b\n"), ("10-a.conf", "[Service]\nEnvironment=A=a\n")];
        assert_eq!(said(&unit("[Service]\nExecStart=/k $A\n", &drop_ins), &[]), ["/k", "b"]);
        assert_eq!(said(&unit("[Unit]\nExecStart=/k\n", &[]), &[]), [""; 0]);
    }

    #[test]
    fn words_are_expanded_as_systemd_does() {
        let main =
            |exec: &str| unit(&format!("[Service]\nEnvironment=\"A=x y\" B=z\nExecStart={exec}\n"), &[]);
        assert_eq!(
            said(&main("/k $A ${A} p${B}q r$B $C ${C} $$B"), &[]),
            ["/k", "x", "y", "x y", "pzq", "r$B", "", "$B"]
        );
        assert_eq!(said(&main("-/k '$A'"), &[]), ["/k", "x", "y"]);
        assert_eq!(said(&main(":/k $A"), &[]), ["/k", "$A"]);
        assert_eq!(said(&main("/k --a=%%p"), &[]), ["/k", "--a=%p"]);
        assert!(main("/k $A").expands("A") && main("/k x=${A}").expands("A") && !main("/k $AB").expands("A"));
    }
}
