//! Reads: one at a time at a steady pace, one after the other, or watches that stay open.

use std::io::Read as _;
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use serde_json::json;

use crate::target::{EITHER, whole};
use crate::{Result, Target};

struct Asked {
    target: Target,
    took: Vec<Duration>,
    failed: u32,
}

impl Asked {
    async fn get(&mut self, path: &str) -> Result<()> {
        let began = Instant::now();
        let answer = self.target.read(path, EITHER).await?;
        let good = answer.status().is_success();
        answer.into_body().collect().await?;
        if good {
            self.took.push(began.elapsed());
        } else {
            self.failed += 1;
        }
        Ok(())
    }

    fn report(&mut self) -> serde_json::Value {
        self.took.sort_unstable();
        let at = |part: usize| {
            let place = (self.took.len() * part / 1000).min(self.took.len().saturating_sub(1));
            self.took.get(place).map_or(0, Duration::as_micros)
        };
        json!({
            "name": self.target.name, "answers": self.took.len(), "failed": self.failed,
            "p50Micros": at(500), "p90Micros": at(900), "p99Micros": at(990),
        })
    }
}

/// `rate` requests a second to each target.
pub(crate) async fn get(path: &str, rate: u32, seconds: u32, targets: &[&str]) -> Result<()> {
    let mut all = Vec::new();
    for target in targets {
        all.push(Asked { target: Target::connect(target).await?, took: Vec::new(), failed: 0 });
    }
    let mut tick = tokio::time::interval(Duration::from_secs(1) / rate);
    for _ in 0..rate * seconds {
        tick.tick().await;
        // One after the other: what slows one down in this moment slows the other down too. Each goes first as often as
        // the others: the first wakes everybody up.
        for asked in &mut all {
            asked.get(path).await?;
        }
        all.rotate_left(1);
    }
    all.sort_by_key(|asked| targets.iter().position(|words| words.starts_with(&asked.target.name)));
    let reports: Vec<_> = all.iter_mut().map(Asked::report).collect();
    println!("{}", json!({ "path": path, "rate": rate, "seconds": seconds, "targets": reports }));
    Ok(())
}

/// One list after the other for `seconds`. `accept` that begins with `gzip,` takes it compressed.
pub(crate) async fn list(path: &str, accept: &str, seconds: u32, target: &str) -> Result<()> {
    let mut target = Target::connect(target).await?;
    let (zipped, accept) = accept.strip_prefix("gzip,").map_or((false, accept), |accept| (true, accept));
    let end = Instant::now() + Duration::from_secs(seconds.into());
    let (mut answers, mut bytes) = (0u32, 0);
    while Instant::now() < end {
        let answer = match zipped {
            true => target.read_zipped(path, accept).await?,
            false => target.read(path, accept).await?,
        };
        bytes = whole(answer).await?.len();
        answers += 1;
    }
    println!("{}", json!({ "answers": answers, "bytes": bytes }));
    Ok(())
}

/// `count` watches over `connections` until stdin ends.
pub(crate) async fn watch(path: &str, count: u32, connections: u32, target: &str) -> Result<()> {
    let mut targets = Vec::new();
    for _ in 0..connections {
        targets.push(Target::connect(target).await?);
    }
    let mut open = Vec::new();
    for _ in 0..count {
        targets.rotate_left(1);
        let Some(target) = targets.first_mut() else { continue };
        let answer = target.read(path, EITHER).await?;
        if !answer.status().is_success() {
            return Err(format!("{path} is answered {}", answer.status()).into());
        }
        let mut body = answer.into_body();
        open.push(tokio::spawn(async move { while let Some(Ok(_)) = body.frame().await {} }));
    }
    println!("{} watches are open", open.len());
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    Ok(())
}
