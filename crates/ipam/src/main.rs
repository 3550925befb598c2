//! The CNI plugin `edgekeep-ipam`: run once per call by a main plugin (bridge, flannel, …), instead of host-local.
//!
//! One file per command. Invariant: stdout gets exactly one JSON document or nothing; what operators should know goes
//! to stderr, which runtimes put into their log. Works under the name `host-local` too.

mod add;
mod check;
mod del;
mod failure;
mod gc;
mod machine;
mod neighbour;
mod status;

use std::io::{Read, Write};
use std::process::ExitCode;

use cni::{Call, Command, Env, Error, Request, Version, version};

use crate::machine::{Machine, variable};

/// The largest configuration that is read, in bytes.
const MAX_STDIN: u64 = 4 * 1024 * 1024;

fn main() -> ExitCode {
    let env = Env::from_vars(variable);
    match env.request() {
        Ok(Request::About) => {
            eprint!("{}", version::about(env!("CARGO_PKG_VERSION")));
            ExitCode::SUCCESS
        }
        Ok(Request::Version) => answer(&version::version_json()),
        Ok(Request::Stdin) => match read_stdin() {
            Ok(stdin) => match run(&env, &stdin) {
                Ok(text) => answer(&text),
                Err(error) => refuse(&error, Version::for_refusal(&stdin)),
            },
            Err(error) => refuse(&error, Version::for_refusal(b"")),
        },
        Err(error) => refuse(&error, Version::for_refusal(b"")),
    }
}

/// Does what the call asks for. What it returns goes to stdout; nothing is a success too.
fn run(env: &Env, stdin: &[u8]) -> Result<String, Error> {
    let call = Call::parse(env, stdin)?;
    let machine = Machine::read(&call)?;
    match call.command {
        Command::Add => add::run(env, &call, &machine, stdin),
        Command::Del => del::run(env, &call, &machine),
        Command::Check => check::run(env, &machine),
        Command::Gc => gc::run(&call, &machine),
        Command::Status => status::run(&call, &machine),
    }
}

fn read_stdin() -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().take(MAX_STDIN + 1).read_to_end(&mut bytes);
    if let Err(e) = read {
        return Err(Error::io(format!("error reading from stdin: {e}")));
    }
    if bytes.len() as u64 > MAX_STDIN {
        let text = format!("error unmarshall network config: more than {MAX_STDIN} bytes");
        return Err(Error::new(cni::error::DECODING_FAILURE, text));
    }
    Ok(bytes)
}

fn answer(text: &str) -> ExitCode {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("edgekeep-ipam: the answer could not be written: {e}");
            ExitCode::FAILURE
        }
    }
}

fn refuse(error: &Error, version: Version) -> ExitCode {
    answer(&error.to_json(version));
    ExitCode::FAILURE
}
