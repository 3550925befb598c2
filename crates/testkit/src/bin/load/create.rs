//! Writes: many objects made at a time, and changed one after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::objects::object;
use crate::target::whole;
use crate::{Result, Target};

/// So many requests are under way at a time.
const ABREAST: usize = 16;

/// Makes `count` objects, numbered from `from`.
pub(crate) async fn create(kind: &str, namespace: &str, from: u32, count: u32, target: &str) -> Result<()> {
    let target = Target::connect(target).await?;
    let next = Arc::new(AtomicU32::new(from));
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..ABREAST {
        let (mut target, next) = (target.share(), next.clone());
        let (kind, namespace) = (kind.to_owned(), namespace.to_owned());
        workers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= from.saturating_add(count) {
                    return Ok::<(), Box<dyn std::error::Error + Send + Sync>>(());
                }
                let made = async {
                    let (path, object) = object(&kind, &namespace, number)?;
                    let json = [("content-type", "application/json")];
                    whole(target.send("POST", &path, &json, object.to_string().into()).await?).await
                };
                made.await?;
            }
        });
    }
    while let Some(done) = workers.join_next().await {
        done??;
    }
    println!("{}", json!({ "made": count }));
    Ok(())
}

/// Changes `count` objects of a set, `rate` a second, each by an annotation; over and over if there are fewer.
pub(crate) async fn touch(path: &str, count: u32, rate: u32, target: &str) -> Result<()> {
    let mut target = Target::connect(target).await?;
    let list: Value = serde_json::from_slice(&whole(target.read(path, "application/json").await?).await?)?;
    let items = list.get("items").and_then(Value::as_array).into_iter().flatten();
    let names: Vec<&str> = items.filter_map(|item| item.pointer("/metadata/name")?.as_str()).collect();
    let set = path.split_once('?').map_or(path, |(set, _)| set);
    let mut tick = tokio::time::interval(Duration::from_secs(1) / rate);
    // What is as it was changes nothing, and another call may have been here before.
    let call = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    for (number, name) in (0..count).zip(names.iter().cycle()) {
        tick.tick().await;
        change(&mut target, &format!("{set}/{name}"), &format!("{call}-{number}")).await?;
    }
    println!("{}", json!({ "changed": count }));
    Ok(())
}

/// Changes an object, unless this value is what it has.
pub(crate) async fn change(target: &mut Target, path: &str, value: &str) -> Result<()> {
    let about = json!({"metadata": {"annotations": {"e2e.invalid/change": value}}});
    let merge = [("content-type", "application/merge-patch+json")];
    whole(target.send("PATCH", path, &merge, about.to_string().into()).await?).await.map(drop)
}
