//! `cargo xtask man`: man pages and completions, laid out as they lie under `/usr/share`.
//!
//! The pages of `edgekeep` and the completions come from the description by which it parses, so they cannot disagree
//! with it; those of the plugin and of its configuration are written by hand, in `packaging/man`. Nothing of it is
//! committed. Equal sources give equal bytes: the only date in it is that of the last commit.

use std::fs;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::source::{self, Source};
use crate::{Result, cargo, scratch};

/// Manual section of a program for those who run the machine.
const SECTION: &str = "8";
/// The name that people type.
const PROGRAM: &str = "edgekeep";
/// Pages written by hand, with the section each belongs to.
const BY_HAND: [(&str, &str); 3] =
    [("edgekeep-ipam.8", "8"), ("edgekeep-ipam.json.5", "5"), ("edgekeep-hub.yaml.5", "5")];
/// Closes every generated page.
const SEE_ALSO: &str = ".SH SEE ALSO\n.BR edgekeep (8),\n.BR edgekeep\\-ipam (8),\n\
    .BR edgekeep\\-ipam.json (5),\n.BR edgekeep\\-hub.yaml (5)\n";
/// Where each shell of a Debian system looks, under the share directory.
const COMPLETIONS: [(Shell, &str); 3] = [
    (Shell::Bash, "bash-completion/completions/edgekeep"),
    (Shell::Zsh, "zsh/vendor-completions/_edgekeep"),
    (Shell::Fish, "fish/vendor_completions.d/edgekeep.fish"),
];

/// Writes everything under `directory`, or under `target/dist/share`, and says where.
pub fn main(directory: Option<&str>) -> Result<()> {
    let directory = directory.map_or_else(|| cargo::target_dir().join("dist/share"), Into::into);
    generate(&directory, &source::last_commit()?)?;
    println!("{}: man pages and completions", directory.display());
    Ok(())
}

/// Writes everything under `share`, which need not exist.
pub fn generate(share: &Path, source: &Source) -> Result<()> {
    let mut command = visible(&cli::args::Cli::command());
    command.build();
    page(&command, share, source)?;
    for (name, section) in BY_HAND {
        let path = cargo::workspace_root().join("packaging/man").join(name);
        let text = fs::read_to_string(&path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
        place(share, &format!("man/man{section}/{name}"), source.fill(&text)?.as_bytes())?;
    }
    for (shell, path) in COMPLETIONS {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut command, PROGRAM, &mut script);
        place(share, path, &script)?;
    }
    Ok(())
}

/// The program as people see it: completions know no hidden commands otherwise than by their absence.
fn visible(whole: &Command) -> Command {
    let mut command = Command::new(PROGRAM)
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_subcommand(true)
        .subcommand_required(whole.is_subcommand_required_set())
        .args(whole.get_arguments().cloned())
        .subcommands(whole.get_subcommands().filter(|command| !command.is_hide_set()).cloned());
    for (text, set) in [
        (whole.get_about(), Command::about as fn(Command, clap::builder::StyledStr) -> Command),
        (whole.get_long_about(), Command::long_about),
        (whole.get_after_help(), Command::after_help),
        (whole.get_after_long_help(), Command::after_long_help),
    ] {
        command = text.cloned().map_or(command.clone(), |text| set(command, text));
    }
    command
}

/// Writes the page of a command and those of its visible subcommands.
fn page(command: &Command, share: &Path, source: &Source) -> Result<()> {
    let man = Man::new(command.clone())
        .section(SECTION)
        .date(source.date()?)
        .source(format!("{PROGRAM} {}", env!("CARGO_PKG_VERSION")))
        .manual(PROGRAM);
    let mut text = Vec::new();
    man.render(&mut text).map_err(|e| format!("cannot write the man page {}: {e}", man.get_filename()))?;
    text.extend_from_slice(SEE_ALSO.as_bytes());
    place(share, &format!("man/man{SECTION}/{}", man.get_filename()), &text)?;
    let below = command.get_subcommands().filter(|command| !command.is_hide_set());
    below.into_iter().try_for_each(|command| page(command, share, source))
}

fn place(share: &Path, path: &str, content: &[u8]) -> Result<()> {
    let path = share.join(path);
    path.parent().map_or(Ok(()), scratch::make_dir)?;
    scratch::write(&path, content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    fn generated(name: &str, test: impl FnOnce(&Path)) {
        let scratch = Scratch::new(&std::env::temp_dir(), &format!("xtask-man-{name}")).unwrap();
        generate(scratch.path(), &Source { epoch: 1_800_000_000 }).unwrap();
        test(scratch.path());
    }

    fn text(path: &Path) -> String {
        fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    #[test]
    fn every_command_that_help_shows_has_a_page_and_no_other_has() {
        fn names(command: &Command) -> Vec<String> {
            let visible = command.get_subcommands().filter(|command| !command.is_hide_set());
            let below = visible.flat_map(|c| names(c).into_iter().map(|name| format!("-{name}")));
            std::iter::once(String::new())
                .chain(below)
                .map(|n| format!("{}{n}", command.get_name()))
                .collect()
        }
        let mut expected: Vec<_> =
            names(&cli::args::Cli::command()).iter().map(|name| format!("{name}.8")).collect();
        expected.push("edgekeep-ipam.8".to_owned());
        expected.sort();
        generated("pages", |share| {
            let entries = fs::read_dir(share.join("man/man8")).unwrap();
            let mut found: Vec<_> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            found.sort();
            assert_eq!(found, expected);
        });
    }

    #[test]
    fn completions_offer_what_help_shows_and_nothing_hidden() {
        generated("completions", |share| {
            for (_, path) in COMPLETIONS {
                let script = text(&share.join(path));
                for command in cli::args::Cli::command().get_subcommands() {
                    let offered = script.contains(command.get_name());
                    assert_eq!(offered, !command.is_hide_set(), "{path}: {}", command.get_name());
                }
            }
        });
    }

    #[test]
    fn the_pages_carry_the_day_of_the_last_commit() {
        generated("day", |share| {
            let by_hand = ["man8/edgekeep-ipam.8", "man5/edgekeep-ipam.json.5", "man5/edgekeep-hub.yaml.5"];
            for page in ["man8/edgekeep.8"].into_iter().chain(by_hand) {
                assert!(text(&share.join("man").join(page)).contains("2027-01-15"), "{page}");
            }
        });
    }

    #[test]
    fn the_pages_of_the_configurations_name_every_key_of_their_documents() {
        let read = |path: &str| text(&cargo::workspace_root().join(path));
        for (page, document, least) in [
            ("edgekeep-ipam.json.5", "configuration.md", 9),
            ("edgekeep-hub.yaml.5", "hub-configuration.md", 17),
        ] {
            let (page, document) =
                (read(&format!("packaging/man/{page}")), read(&format!("docs/{document}")));
            let head = document.split("## Which address").next().unwrap();
            let keys = head.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
            let keys: Vec<_> = keys.collect();
            assert!(keys.len() >= least, "the document no longer has its tables of keys: {keys:?}");
            for key in keys {
                assert!(page.contains(&format!(".B {key}\n")), "{key} is missing");
            }
        }
    }
}
