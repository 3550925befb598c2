//! How soon after its start a program answers.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use wire::{Encoding, List};

use crate::target::whole;
use crate::{Result, Target};

/// The longest that it may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(1);

/// Starts `program`, asks it for `path` until the answer is a success and, of a list, has `items`; it runs until stdin
/// ends.
pub(crate) async fn first(path: &str, items: usize, target: &str, program: &[&str]) -> Result<()> {
    let (name, words) = program.split_first().ok_or("no program")?;
    let began = Instant::now();
    let mut child = Command::new(name).args(words).stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    let asked = answered(path, items, target, began).await;
    if let Ok((tries, took)) = &asked {
        println!("{}", json!({ "micros": took.as_micros(), "tries": tries, "pid": child.id() }));
        tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    }
    child.kill()?;
    child.wait()?;
    asked.map(drop)
}

/// How many attempts it took, and how long until the whole of the answer was here; what it says is looked at after that.
async fn answered(path: &str, items: usize, target: &str, began: Instant) -> Result<(u32, Duration)> {
    let mut tries = 0;
    loop {
        tries += 1;
        let attempt = async {
            let mut target = Target::connect(target).await?;
            // As kubelet and kube-proxy ask, and as what they asked for is stored.
            let body = whole(target.read(path, "application/vnd.kubernetes.protobuf").await?).await?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>((body, began.elapsed()))
        };
        let error = match attempt.await {
            Ok((_, took)) if items == 0 => return Ok((tries, took)),
            Ok((body, took)) => match List::parse(&body, Encoding::Protobuf)?.items.len() {
                found if found == items => return Ok((tries, took)),
                found => format!("{found} objects instead of {items}"),
            },
            Err(e) => e.to_string(),
        };
        if began.elapsed() > PATIENCE {
            return Err(format!("no answer in {PATIENCE:?}: {error}").into());
        }
        tokio::time::sleep(PAUSE).await;
    }
}
