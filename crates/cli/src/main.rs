//! See the library of this crate.

use std::process::ExitCode;

use clap::Parser;
use cli::args::Cli;

fn main() -> ExitCode {
    match read().and_then(|cli| cli::run(&cli)) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("edgekeep: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// What was typed; ends the program where that is wrong, or help.
///
/// On a thread of its own: to describe all commands takes 70 KB of stack, which the main thread would hold as long as the hub
/// runs, and this one gives back.
fn read() -> Result<Cli, cli::Failure> {
    let reader = std::thread::Builder::new().spawn(Cli::try_parse);
    let reader = reader.map_err(|e| format!("cannot begin: {e}"))?;
    let read = reader.join().map_err(|_| "cannot read the command line".to_owned())?;
    Ok(read.unwrap_or_else(|e| e.exit()))
}
