//! The repository's own chores: `cargo demo`, `cargo xtask bench ipam`, `cargo xtask dist`,
//! `cargo xtask man`, `cargo xtask deb`.
//!
//! Nothing here ships on a node. Each chore drives or builds the real binaries; none of them calls into the product's
//! crates, so what they show is what a container runtime would see. Only the description of the command line is taken
//! from there, for the manuals.

mod bench;
mod cargo;
mod cni_driver;
mod deb;
mod demo;
mod dist;
mod kinds;
mod licences;
mod man;
mod prng;
mod scratch;
mod source;
mod table;

use std::process::ExitCode;

/// What went wrong, to what, and what to do about it: printed as it is.
pub type Result<T> = std::result::Result<T, String>;

const USAGE: &str = "\
usage:
  cargo demo        [--plugin PATH]
      twenty pods, one power cut: before and after, beside stock host-local's rule
  cargo xtask bench ipam [--leases N,N,…] [--rounds N] [--dir DIR] [--plugin PATH] [--write]
      the plugin against Debian's host-local; --write puts the report into docs/benchmarks.md
  cargo xtask dist
      static binaries for x86_64 and aarch64 in target/dist/
  cargo xtask man   [DIR]
      man pages and completions in DIR, laid out as in /usr/share; or in target/dist/share/
  cargo xtask deb
      Debian packages for amd64 and arm64 in target/dist/, with static binaries, man pages and completions
  cargo xtask kinds [--check] [DIR]
      writes crates/wire/table/ from the Kubernetes API as data (../shared/k8s, or EDGEKEEP_K8S_DATA, or DIR)

--plugin runs that binary instead of building edgekeep-ipam.
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["demo", rest @ ..] => demo::main(rest),
        ["bench", "ipam", rest @ ..] => bench::main(rest),
        ["dist"] => dist::main(),
        ["man"] => man::main(None).map(|()| ExitCode::SUCCESS),
        ["man", directory] => man::main(Some(directory)).map(|()| ExitCode::SUCCESS),
        ["deb"] => deb::main(),
        ["kinds", rest @ ..] => kinds::main(rest),
        ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    outcome.unwrap_or_else(|message| {
        eprintln!("xtask: {message}");
        ExitCode::FAILURE
    })
}
