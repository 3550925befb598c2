//! See the library of this crate.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match cli::run(&cli::args::Cli::parse()) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("edgekeep: {failure}");
            ExitCode::FAILURE
        }
    }
}
