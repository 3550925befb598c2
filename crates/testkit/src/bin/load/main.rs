//! Asks servers and says how long the answers took: what the benchmarks of the hub ask with, directly and through it, in
//! one run.
//!
//! ```text
//! load get PATH --rate N --seconds N TARGET…        N requests a second to each, in turn
//! load list PATH --accept TYPE --seconds N TARGET   one list after the other
//! load watch PATH --count N [--connections N] TARGET  N watches until stdin ends
//! load fan PATH OBJECT --count N --writes N WRITER TARGET…  how late N watchers of a PATH hear of changes to OBJECT
//! load create KIND --namespace N --from N --count N TARGET  makes objects, many at a time
//! load touch PATH --count N --rate N TARGET         changes the objects of a set, one after the other
//! load stage DIRECTORY PROGRAM                      what writes cost that a hub keeps while its cloud is away
//! load settle DIRECTORY PROGRAM                     how long a hub takes to tell its cloud what was kept, in how many requests
//! load fleet DIRECTORY PROGRAM --hubs N ADMIN TOKEN  many hubs before one API server, which come back as one; see `fleet`
//! load first PATH --items N TARGET -- PROGRAM…      starts a program and asks it until it answers; it runs until stdin ends
//! ```
//!
//! Bounded: at most thirty minutes, two thousand requests a second, a thousand watches, twenty thousand objects.

mod create;
mod fan;
mod first;
mod fleet;
mod objects;
mod read;
mod settle;
mod stage;
mod target;

use std::process::ExitCode;

pub(crate) use target::Target;

/// What goes wrong here goes to a person.
pub(crate) type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

const USAGE: &str = "usage: load get PATH --rate N --seconds N TARGET… | list PATH --accept TYPE --seconds N TARGET
  | watch PATH --count N [--connections N] TARGET | fan PATH OBJECT --count N --writes N WRITER TARGET…
  | create KIND --namespace N --from N --count N TARGET | touch PATH --count N --rate N TARGET
  | stage DIRECTORY PROGRAM | settle DIRECTORY PROGRAM | fleet DIRECTORY PROGRAM --hubs N TARGET TOKEN
  | first PATH --items N TARGET -- PROGRAM…
  TARGET is NAME,URL,CA,CERT,KEY or NAME,URL,CA,TOKEN: a name, https://address:port, and PEM files, or one with a token";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(run(&words)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("load: {e}\n{USAGE}");
            ExitCode::FAILURE
        }
    }
}

async fn run(words: &[&str]) -> Result<()> {
    match words {
        ["get", path, "--rate", rate, "--seconds", seconds, targets @ ..] if !targets.is_empty() => {
            read::get(path, number(rate, 2000)?, number(seconds, 600)?, targets).await
        }
        ["list", path, "--accept", accept, "--seconds", seconds, target] => {
            read::list(path, accept, number(seconds, 600)?, target).await
        }
        ["watch", path, "--count", count, target] => read::watch(path, number(count, 1000)?, 1, target).await,
        ["watch", path, "--count", count, "--connections", connections, target] => {
            read::watch(path, number(count, 1000)?, number(connections, 1000)?, target).await
        }
        ["fan", path, object, "--count", count, "--writes", writes, writer, targets @ ..]
            if !targets.is_empty() =>
        {
            fan::fan(path, object, number(count, 1000)?, number(writes, 10_000)?, writer, targets).await
        }
        ["create", kind, "--namespace", namespace, "--from", from, "--count", count, target] => {
            create::create(kind, namespace, from.parse()?, number(count, 20_000)?, target).await
        }
        ["touch", path, "--count", count, "--rate", rate, target] => {
            create::touch(path, number(count, 20_000)?, number(rate, 2000)?, target).await
        }
        ["stage", directory, program] => stage::stage(directory.as_ref(), program).await,
        ["settle", directory, program] => settle::settle(directory.as_ref(), program).await,
        ["fleet", directory, program, "--hubs", hubs, admin, proxy] => {
            fleet::fleet(directory.as_ref(), program, number(hubs, 1000)?, admin, proxy).await
        }
        ["first", path, "--items", items, target, "--", program @ ..] if !program.is_empty() => {
            first::first(path, items.parse()?, target, program).await
        }
        _ => Err("not understood".into()),
    }
}

/// A number of at least one and at most `most`.
fn number(text: &str, most: u32) -> Result<u32> {
    Ok(text.parse::<u32>()?.clamp(1, most))
}
