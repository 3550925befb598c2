//! What the sources say about themselves: the moment of the last commit, so that what is built from equal sources is
//! equal, whenever and wherever it is built.

use std::env;
use std::process::Command;

use crate::{Result, cargo};

/// The state of the sources that is being packed.
pub struct Source {
    /// When it was committed, in seconds since 1970.
    pub epoch: u64,
}

/// `SOURCE_DATE_EPOCH` if it is set, or else the last commit.
pub fn last_commit() -> Result<Source> {
    let said = match env::var("SOURCE_DATE_EPOCH") {
        Ok(epoch) => epoch,
        Err(_) => output(Command::new("git").current_dir(cargo::workspace_root()).args([
            "log",
            "-1",
            "--format=%ct",
        ]))
        .map_err(|e| format!("{e}; outside a git checkout set SOURCE_DATE_EPOCH"))?,
    };
    let epoch = said.trim().parse().map_err(|_| {
        format!("the moment of the last commit is {said:?}, want seconds since 1970; set SOURCE_DATE_EPOCH")
    })?;
    Ok(Source { epoch })
}

impl Source {
    /// The day of it in UTC, as `YYYY-MM-DD`.
    pub fn date(&self) -> Result<String> {
        output(Command::new("date").args(["-u", "+%F", "-d", &format!("@{}", self.epoch)]))
            .map(|day| day.trim().to_owned())
    }

    /// Puts day and version in the place of `@DATE@` and `@VERSION@`.
    pub fn fill(&self, text: &str) -> Result<String> {
        Ok(text.replace("@DATE@", &self.date()?).replace("@VERSION@", env!("CARGO_PKG_VERSION")))
    }
}

/// Runs a program and hands back what it printed; what it said on its standard error is in the error.
pub fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|e| format!("cannot run {program}: {e}; install it"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("{program} failed ({}): {}", output.status, said.trim_end())),
    }
}
