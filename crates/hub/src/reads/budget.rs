//! How much of whole answers may be in memory at a time, so that no number of clients that read slowly or not at all takes
//! the node's memory, and nobody the share of others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use view::Identity;

use super::lock;

/// For everybody together, in KiB. The largest answers of an edge node are lists of some ten MB.
const ALL: u32 = 64 << 10;
/// For one identity.
const EACH: u32 = 24 << 10;
/// How long an answer waits for others to be read.
const PATIENCE: Duration = Duration::from_secs(10);

/// The right to some of the memory, until it is dropped.
#[derive(Debug, Default)]
pub struct Share(Option<[OwnedSemaphorePermit; 2]>);

/// The memory for whole answers.
pub struct Budget {
    all: Arc<Semaphore>,
    each: Mutex<HashMap<Identity, Arc<Semaphore>>>,
}

fn semaphore(size: u32) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(usize::try_from(size).unwrap_or(usize::MAX)))
}

impl Default for Budget {
    fn default() -> Self {
        Self { all: semaphore(ALL), each: Mutex::default() }
    }
}

impl Budget {
    /// Makes a share of somebody's large enough for `bytes` in all. `false` if there is not so much for too long.
    pub async fn enlarge(&self, who: &Identity, share: &mut Share, bytes: usize) -> bool {
        let wanted = u32::try_from(bytes >> 10).unwrap_or(EACH).saturating_add(1).min(EACH);
        let has = share.0.as_ref().map_or(0, |[own, _]| u32::try_from(own.num_permits()).unwrap_or(EACH));
        let Some(more) = wanted.checked_sub(has).filter(|more| *more > 0) else { return true };
        let each = self.of(who);
        let acquired = async {
            let own = each.acquire_many_owned(more).await?;
            Ok::<_, tokio::sync::AcquireError>([own, self.all.clone().acquire_many_owned(more).await?])
        };
        let Ok(Ok([own, all])) = tokio::time::timeout(PATIENCE, acquired).await else { return false };
        match &mut share.0 {
            Some([own_before, all_before]) => {
                own_before.merge(own);
                all_before.merge(all);
            }
            none => *none = Some([own, all]),
        }
        true
    }

    fn of(&self, who: &Identity) -> Arc<Semaphore> {
        let mut each = lock(&self.each);
        // Those who hold nothing now are not worth remembering.
        if each.len() > 256 {
            each.retain(|_, one| Arc::strong_count(one) > 1);
        }
        each.entry(who.clone()).or_insert_with(|| semaphore(EACH)).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn nobody_takes_the_share_of_others_and_what_is_dropped_is_there_again() {
        let (budget, sloth, other) = (Budget::default(), Identity::new("sloth"), Identity::new("other"));
        let (mut one, mut two, mut three) = (Share::default(), Share::default(), Share::default());
        assert!(budget.enlarge(&sloth, &mut one, 10 << 20).await);
        assert!(
            budget.enlarge(&sloth, &mut one, 1 << 30).await,
            "all that is theirs, however much is asked for"
        );
        assert!(!budget.enlarge(&sloth, &mut two, 1 << 20).await);
        assert!(budget.enlarge(&other, &mut three, 20 << 20).await);
        drop(one);
        assert!(budget.enlarge(&sloth, &mut two, 1 << 20).await);
    }
}
