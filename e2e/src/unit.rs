//! A service started as its systemd unit and drop-ins say, where systemd itself is not running: what adoption writes
//! into a drop-in then takes effect as it would on a real node.
//!
//! Of units it knows `Environment=`, `EnvironmentFile=` and `ExecStart=`, which is what kubeadm's use.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

/// What a service is started with.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Service {
    environment: BTreeMap<String, String>,
    command: String,
}

impl Service {
    /// Reads the unit `name` and its drop-ins, in systemd's order, from the machine whose /etc is at `etc`.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or nothing says what to start.
    pub fn read(etc: &Path, name: &str) -> Result<Self> {
        let unit = etc.join("systemd/system").join(name);
        let mut files = vec![unit.clone()];
        let mut drop_ins = PathBuf::from(unit.as_os_str());
        drop_ins.set_extension("service.d");
        let mut there: Vec<PathBuf> =
            fs::read_dir(&drop_ins).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        there.sort();
        files.extend(there.into_iter().filter(|file| file.extension().is_some_and(|end| end == "conf")));

        let mut service = Self::default();
        for file in files {
            let text = fs::read_to_string(&file).with_context(|| format!("no {}", file.display()))?;
            service.add(&text, etc)?;
        }
        if service.command.is_empty() {
            return Err(anyhow!("{name} has no ExecStart="));
        }
        Ok(service)
    }

    fn add(&mut self, text: &str, etc: &Path) -> Result<()> {
        let settings = text.lines().filter_map(|line| line.trim().split_once('='));
        for (key, value) in settings {
            match key {
                "ExecStart" => self.command = value.to_owned(),
                "Environment" => {
                    self.environment.extend(words(value).iter().filter_map(|word| variable(word)))
                }
                "EnvironmentFile" => self.add_file(value, etc)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// A leading hyphen allows the file to be missing.
    fn add_file(&mut self, value: &str, etc: &Path) -> Result<()> {
        let (optional, path) = value.strip_prefix('-').map_or((false, value), |path| (true, path));
        let text = match fs::read_to_string(outside(etc, path)) {
            Err(_) if optional => return Ok(()),
            read => read.with_context(|| format!("no environment file {path}"))?,
        };
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        self.environment.extend(lines.filter_map(|line| variable(&words(line).concat())));
        Ok(())
    }

    /// The words to start it with, every `$NAME` and `${NAME}` replaced as systemd does.
    pub fn words(&self) -> Vec<String> {
        let value = |name: &str| self.environment.get(name).map(String::as_str).unwrap_or_default();
        let expand = |word: String| match word.strip_prefix('$') {
            None => vec![word],
            Some(name) => match name.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
                Some(name) => vec![value(name).to_owned()],
                None => value(name).split_whitespace().map(str::to_owned).collect(),
            },
        };
        words(&self.command).into_iter().flat_map(expand).collect()
    }
}

/// Where a file of the machine lies, seen from outside: /etc and /var/lib are beside each other there.
fn outside(etc: &Path, path: &str) -> PathBuf {
    let machine = etc.parent().unwrap_or(etc);
    match (path.strip_prefix("/etc/"), path.strip_prefix("/var/lib/")) {
        (Some(rest), _) => etc.join(rest),
        (_, Some(rest)) => machine.join("var-lib").join(rest),
        _ => PathBuf::from(path),
    }
}

/// Splits at blanks, but not inside of double quotes, which go.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for character in text.chars() {
        match character {
            '"' => quoted = !quoted,
            blank if blank.is_whitespace() && !quoted => {
                words.push(std::mem::take(&mut word));
            }
            other => word.push(other),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

fn variable(word: &str) -> Option<(String, String)> {
    word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_drop_in_wins_and_variables_become_words() {
        let mut service = Service::default();
        let unit = "[Service]\nExecStart=/usr/bin/kubelet\n";
        let drop_in = "[Service]\nEnvironment=\"ARGS=--a=1 --b\" C=3\nExecStart=\nExecStart=/bin/kubelet $ARGS ${C} $NONE x\n";
        for text in [unit, drop_in, "[Service]\nEnvironment=C=4"] {
            service.add(text, Path::new("/nowhere/etc")).unwrap();
        }
        assert_eq!(service.words(), ["/bin/kubelet", "--a=1", "--b", "4", "x"]);
    }

    #[test]
    fn a_missing_environment_file_is_an_error_unless_a_hyphen_allows_it() {
        let mut service = Service::default();
        assert!(service.add("EnvironmentFile=-/etc/none", Path::new("/nowhere/etc")).is_ok());
        assert!(service.add("EnvironmentFile=/etc/none", Path::new("/nowhere/etc")).is_err());
    }
}
