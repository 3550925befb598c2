//! How late many watchers hear of a change.

use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use serde_json::json;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::create::change;
use crate::target::EITHER;
use crate::{Result, Target};

/// Between two changes, so that one is told everywhere before the next.
const PAUSE: Duration = Duration::from_millis(50);
/// The longest that a change may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// So many changes to one server before it is the next one's turn.
const TURN: u32 = 25;

/// Watchers of one server, each on a connection of its own.
struct Watchers {
    name: String,
    count: u32,
    heard: UnboundedReceiver<Instant>,
    late: Vec<i128>,
}

impl Watchers {
    async fn open(path: &str, count: u32, words: &str) -> Result<Self> {
        let (tell, heard) = unbounded_channel();
        let mut name = String::new();
        for _ in 0..count {
            let mut target = Target::connect(words).await?;
            name.clone_from(&target.name);
            let answer = target.read(path, EITHER).await?;
            if !answer.status().is_success() {
                return Err(format!("{path} of {name} is answered {}", answer.status()).into());
            }
            let tell = tell.clone();
            tokio::spawn(async move {
                // The connection lives as long as its handle.
                let _target = target;
                let mut body = answer.into_body();
                while let Some(Ok(_)) = body.frame().await {
                    if tell.send(Instant::now()).is_err() {
                        return;
                    }
                }
            });
        }
        Ok(Self { name, count, heard, late: Vec::new() })
    }

    /// How long after `answered` the last of them heard of it, in microseconds; it may be before.
    async fn last(&mut self, answered: Instant) -> Result<()> {
        let mut last = None;
        for _ in 0..self.count {
            let heard = tokio::time::timeout(PATIENCE, self.heard.recv()).await;
            let heard = heard.map_err(|_| format!("not all watchers of {} heard of a change", self.name))?;
            last = last.max(heard);
        }
        let last = last.ok_or("a watch has ended")?;
        let micros = |duration: Duration| i128::try_from(duration.as_micros()).unwrap_or(i128::MAX);
        self.late.push(match last.checked_duration_since(answered) {
            Some(after) => micros(after),
            None => -micros(answered.duration_since(last)),
        });
        Ok(())
    }

    fn report(&mut self) -> serde_json::Value {
        self.late.sort_unstable();
        let at = |part: usize| {
            let place = (self.late.len() * part / 100).min(self.late.len().saturating_sub(1));
            i64::try_from(self.late.get(place).copied().unwrap_or_default()).unwrap_or_default()
        };
        json!({ "name": self.name, "changes": self.late.len(), "p50Micros": at(50), "p90Micros": at(90), "p99Micros": at(99) })
    }
}

/// `writes` changes to `object` in turns of some for each target, whose watchers alone are there then.
pub(crate) async fn fan(
    path: &str,
    object: &str,
    count: u32,
    writes: u32,
    writer: &str,
    targets: &[&str],
) -> Result<()> {
    let mut writer = Target::connect(writer).await?;
    let mut late: Vec<Vec<i128>> = vec![Vec::new(); targets.len()];
    let mut names = vec![String::new(); targets.len()];
    let mut number = 0;
    for _ in 0..writes.div_ceil(TURN) {
        for ((words, late), name) in targets.iter().zip(&mut late).zip(&mut names) {
            let mut watchers = Watchers::open(path, count, words).await?;
            tokio::time::sleep(PAUSE * 10).await;
            // What a watch begins with is no change.
            while watchers.heard.try_recv().is_ok() {}
            for _ in 0..TURN {
                number += 1;
                change(&mut writer, object, &number.to_string()).await?;
                watchers.last(Instant::now()).await?;
                tokio::time::sleep(PAUSE).await;
            }
            late.append(&mut watchers.late);
            *name = watchers.name;
        }
    }
    let reports: Vec<_> = late
        .into_iter()
        .zip(names)
        .map(|(late, name)| Watchers { name, count, heard: unbounded_channel().1, late }.report())
        .collect();
    println!("{}", json!({ "watchers": count, "targets": reports }));
    Ok(())
}
