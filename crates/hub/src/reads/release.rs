//! The cloud's release, by whose rules writes are judged while it is away.

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use hyper::StatusCode;
use hyper::header::HeaderMap;
use patch::Release;
use serde_json::Value;

use super::{Reads, Who, lock};
use crate::store::{OWN, OwnRecord};

/// Behind [`OWN`], the key of this record: `gitVersion` as `/version` said it.
const VERSION: u8 = b'v';

/// What is known of it.
#[derive(Default)]
pub struct Known {
    text: Mutex<String>,
    asked: AtomicU16,
}

impl Known {
    /// The release; the newest that this hub knows if nobody told.
    pub fn get(&self) -> Release {
        Release::parse(&lock(&self.text)).unwrap_or_default()
    }

    /// Takes over a record that was stored; others are not looked at.
    pub fn load(&self, key: &[u8], value: &[u8]) {
        if key == [OWN, VERSION]
            && let Ok(text) = std::str::from_utf8(value)
        {
            text.clone_into(&mut lock(&self.text));
        }
    }

    /// What is to be stored, if that is news.
    fn learn(&self, body: &[u8]) -> Option<OwnRecord> {
        let version: Value = serde_json::from_slice(body).ok()?;
        let text = version.get("gitVersion")?.as_str()?;
        Release::parse(text)?;
        let mut known = lock(&self.text);
        if *known == text {
            return None;
        }
        text.clone_into(&mut known);
        Some((vec![OWN, VERSION], text.as_bytes().to_vec()))
    }
}

impl Reads {
    /// Asks the cloud for its release, once each time that the hub has begun; called when there is reason to expect that it
    /// will be needed.
    pub(super) fn ask_release(self: &Arc<Self>) {
        if self.release.asked.swap(1, Ordering::Relaxed) == 1 {
            return;
        }
        let reads = self.clone();
        tokio::spawn(async move {
            let Some(node) = Who::node() else { return };
            let answer = reads.ask_whole(&node, "/version", HeaderMap::new()).await;
            let body =
                answer.ok().filter(|whole| whole.status == StatusCode::OK).and_then(|whole| whole.plain());
            match body.and_then(|body| reads.release.learn(&body)) {
                Some((key, value)) => reads.store.write_own(key, Some(value)),
                // Unless it is the one that is known already, somebody else will have to ask again.
                None => tracing::debug!("the API server said nothing new of its release"),
            }
        });
    }
}
