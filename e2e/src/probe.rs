//! Questions over TCP, from the node's network: who answers at an address, and with what.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use crate::netns;
use crate::sys::wait_until;

/// How long one address may take to answer well, all attempts together.
const LIMIT: Duration = Duration::from_secs(10);
/// How long one attempt may take at each of its steps.
const ATTEMPT: Duration = Duration::from_secs(1);
const ASKERS: usize = 8;

/// An address and what is to be read there.
#[derive(Clone, Debug)]
pub struct Question {
    /// Where to ask.
    pub at: SocketAddr,
    /// The answer that is right.
    pub expected: String,
}

/// Asks all `questions` from inside the network namespace at `network` until each is answered rightly or its time is
/// over. Returns one line for each that failed.
///
/// # Errors
///
/// The namespace cannot be entered.
pub async fn ask(network: &Path, questions: Vec<Question>) -> Result<Vec<String>> {
    netns::inside(network, move || {
        // Threads inherit the namespace of the one that starts them.
        std::thread::scope(|scope| {
            let share = questions.len().div_ceil(ASKERS).max(1);
            let askers: Vec<_> = questions
                .chunks(share)
                .map(|part| scope.spawn(|| part.iter().filter_map(failure).collect::<Vec<_>>()))
                .collect();
            let failures = askers.into_iter().flat_map(|asker| {
                asker.join().unwrap_or_else(|_| vec!["an asking thread broke off".to_owned()])
            });
            failures.collect()
        })
    })
    .await
}

fn failure(question: &Question) -> Option<String> {
    let mut last = None;
    let answered = wait_until(LIMIT, || {
        last = once(question).err();
        last.is_none()
    });
    let error = last.filter(|_| !answered)?;
    Some(format!("{}: {error:#}", question.at))
}

fn once(question: &Question) -> Result<()> {
    let mut stream = TcpStream::connect_timeout(&question.at, ATTEMPT).context("cannot connect")?;
    stream.set_read_timeout(Some(ATTEMPT))?;
    stream.set_write_timeout(Some(ATTEMPT))?;
    stream.write_all(b"GET /nonce HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).context("connected, but no answer")?;
    let (_, body) = answer.split_once("\r\n\r\n").ok_or_else(|| anyhow!("answered {answer:?}"))?;
    if body.trim() != question.expected {
        bail!("answered {:?} instead of {:?}", body.trim(), question.expected);
    }
    Ok(())
}
