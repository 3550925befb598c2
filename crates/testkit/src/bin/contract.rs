//! The contract suite against a real kube-apiserver.
//!
//! `contract --server 127.0.0.1:6443 --ca ca.crt --certificate admin.crt --key admin.key [--etcd 127.0.0.1:2379]
//! [--forgotten RV] [--only NAME]`
//!
//! Prints a line for each case and ends with 1 if one failed. With `--etcd`, etcd's history is compacted, so use a
//! cluster that is there for it. `--forgotten` is a resourceVersion from before the server was started.

use std::net::SocketAddr;
use std::process::ExitCode;

use testkit::cloud::Credential;
use testkit::cloud::contract::{Past, Server, Target, run};

struct Settings {
    server: SocketAddr,
    ca: String,
    credential: Credential,
    etcd: Option<SocketAddr>,
    forgotten: Option<u64>,
    only: String,
}

fn settings(mut words: impl Iterator<Item = String>) -> Result<Settings, String> {
    let (mut server, mut etcd, mut forgotten, mut only) = (None, None, None, String::new());
    let [mut ca, mut certificate, mut key] = [None, None, None];
    while let Some(name) = words.next() {
        let value = words.next().ok_or_else(|| format!("{name} needs a value"))?;
        let wrong = |e: &dyn std::fmt::Display| format!("{name}: `{value}`: {e}");
        let file = || std::fs::read_to_string(&value).map_err(|e| wrong(&e));
        match name.as_str() {
            "--server" => server = Some(value.parse().map_err(|e| wrong(&e))?),
            "--etcd" => etcd = Some(value.parse().map_err(|e| wrong(&e))?),
            "--forgotten" => forgotten = Some(value.parse().map_err(|e| wrong(&e))?),
            "--ca" => ca = Some(file()?),
            "--certificate" => certificate = Some(file()?),
            "--key" => key = Some(file()?),
            "--only" => only = value,
            _ => return Err(format!("`{name}` is not an option")),
        }
    }
    let missing = |name: &str| format!("{name} is missing");
    Ok(Settings {
        server: server.ok_or_else(|| missing("--server"))?,
        ca: ca.ok_or_else(|| missing("--ca"))?,
        credential: Credential {
            certificate: certificate.ok_or_else(|| missing("--certificate"))?,
            key: key.ok_or_else(|| missing("--key"))?,
        },
        etcd,
        forgotten,
        only,
    })
}

fn judge(settings: Settings) -> Result<bool, String> {
    let server = Server {
        target: Target { address: settings.server, ca: settings.ca, credential: Some(settings.credential) },
        past: settings.etcd.map_or(Past::Kept, Past::Etcd),
        forgotten: settings.forgotten,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| e.to_string())?;
    let judgements = runtime.block_on(run(&server, &settings.only))?;
    for judgement in &judgements {
        match &judgement.fault {
            None => println!("ok     {}", judgement.case),
            Some(fault) => println!("FAILED {}\n       {fault}", judgement.case),
        }
    }
    let failed = judgements.iter().filter(|judgement| judgement.fault.is_some()).count();
    println!("{} cases, {failed} failed", judgements.len());
    Ok(failed == 0 && !judgements.is_empty())
}

fn main() -> ExitCode {
    match settings(std::env::args().skip(1)).and_then(judge) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("contract: {error}");
            ExitCode::from(2)
        }
    }
}
