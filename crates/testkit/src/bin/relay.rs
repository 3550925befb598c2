//! A bad link as a program: relays TCP from one address to another and takes orders line by line.
//!
//! `relay --listen 127.0.0.1:7443 --target 10.0.0.1:6443 --delay-ms 250 --loss-percent 5 --control /run/relay`
//!
//! Orders ([`testkit::relay::control::Command`]) come on standard input, and with `--control` also on connections to
//! that Unix socket; each is answered with one line: `ok`, `error: …`, or for `counters` a line of JSON. The first line
//! of output is the address it listens on. It ends when standard input does.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;

use testkit::relay::control::{Command, with};
use testkit::relay::{Relay, Shape};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::UnixListener;

const USAGE: &str = "usage: relay --listen ADDRESS --target ADDRESS [--control PATH] [--seed N] [--delay-ms N] \
                     [--loss-percent N] [--retransmit-ms N] [--bytes-per-second N]";

struct Settings {
    listen: SocketAddr,
    target: SocketAddr,
    control: Option<PathBuf>,
    seed: u64,
    shape: Shape,
}

fn settings(mut words: impl Iterator<Item = String>) -> Result<Settings, String> {
    let (mut listen, mut target, mut control, mut seed, mut shape) = (None, None, None, 0, Shape::default());
    while let Some(word) = words.next() {
        let name = word.strip_prefix("--").ok_or_else(|| format!("`{word}` is not an option"))?;
        let value = words.next().ok_or_else(|| format!("--{name} needs a value"))?;
        let wrong = |e: &dyn std::fmt::Display| format!("--{name}: `{value}`: {e}");
        match name {
            "listen" => listen = Some(value.parse().map_err(|e| wrong(&e))?),
            "target" => target = Some(value.parse().map_err(|e| wrong(&e))?),
            "control" => control = Some(PathBuf::from(value)),
            "seed" => seed = value.parse().map_err(|e| wrong(&e))?,
            _ => shape = with(shape, name, &value)?,
        }
    }
    let listen = listen.ok_or("--listen is missing")?;
    let target = target.ok_or("--target is missing")?;
    Ok(Settings { listen, target, control, seed, shape })
}

/// Answers orders until they end.
async fn obey(
    relay: &Relay,
    orders: impl AsyncRead + Unpin,
    mut answers: impl AsyncWrite + Unpin,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(orders).lines();
    while let Some(line) = lines.next_line().await? {
        let answer = match Command::parse(&line, relay.shape()) {
            Ok(command) => command.run(relay).await,
            Err(error) => format!("error: {error}"),
        };
        answers.write_all(format!("{answer}\n").as_bytes()).await?;
        answers.flush().await?;
    }
    Ok(())
}

async fn serve(control: UnixListener, relay: Rc<Relay>) {
    while let Ok((stream, _)) = control.accept().await {
        let relay = Rc::clone(&relay);
        tokio::task::spawn_local(async move {
            let (orders, answers) = stream.into_split();
            // Whoever gave the order has gone away.
            let _gone = obey(&relay, orders, answers).await;
        });
    }
}

async fn run(settings: Settings) -> Result<(), String> {
    let Settings { listen, target, control, seed, shape } = settings;
    let relay = Relay::start(listen, target, shape, seed).await;
    let relay = Rc::new(relay.map_err(|e| format!("{listen} cannot be listened on: {e}"))?);
    if let Some(path) = control {
        // A socket that an earlier run left is in the way of a new one.
        let _none = std::fs::remove_file(&path);
        let control = UnixListener::bind(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        tokio::task::spawn_local(serve(control, Rc::clone(&relay)));
    }
    println!("{}", relay.address());
    obey(&relay, tokio::io::stdin(), tokio::io::stdout()).await.map_err(|e| e.to_string())
}

fn main() -> ExitCode {
    let settings = match settings(std::env::args().skip(1)) {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("relay: {error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let end = match runtime {
        Ok(runtime) => {
            let end = tokio::task::LocalSet::new().block_on(&runtime, run(settings));
            // A thread may still stand in a read of standard input.
            runtime.shutdown_background();
            end
        }
        Err(error) => Err(error.to_string()),
    };
    match end {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("relay: {error}");
            ExitCode::FAILURE
        }
    }
}
