//! When the cloud last granted what to whom. While it can be asked, it is asked again before the view shows what was granted
//! long ago (design §6.1): what the view shows comes over somebody else's stream, perhaps.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::StatusCode;
use view::{Identity, ResourceId, Scope};

use super::learn::{Read, Step};
use super::{Reads, lock};
use crate::link::State;

/// For so long a right stands without being asked for again.
const STANDS: Duration = Duration::from_secs(300);
/// So many are remembered; of others the cloud is asked each time.
const MOST: usize = 8192;

/// A label that no object has, so that the answer to the question is as short as it can be.
const NONE: &str = "edgekeep/none=none";

/// Somebody's right to read a set, or an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// Whose.
    pub who: Identity,
    /// Of which resource.
    pub resource: ResourceId,
    /// Which of its objects.
    pub scope: Scope,
}

/// The rights that the cloud granted lately.
#[derive(Default)]
pub struct Rights(Mutex<BTreeMap<Right, Duration>>);

impl Rights {
    /// The cloud has just granted this.
    pub fn granted(&self, right: Right, now: Duration) {
        let mut rights = lock(&self.0);
        if rights.len() >= MOST {
            rights.retain(|_, granted| now.saturating_sub(*granted) < STANDS);
        }
        if rights.len() < MOST {
            rights.insert(right, now);
        }
    }

    /// Whether it did so lately.
    fn stands(&self, right: &Right, now: Duration) -> bool {
        lock(&self.0).get(right).is_some_and(|granted| now.saturating_sub(*granted) < STANDS)
    }
}

impl Reads {
    /// Whether the cloud can and is to be asked again whether it grants this.
    pub(super) fn is_due(&self, read: &Read<'_>) -> bool {
        let up = self.cloud.judge().state() == State::Up;
        up && !self.rights.stands(&read.right(), self.now())
    }

    /// Asks it. Unless it refuses, the last answer stands.
    pub(super) async fn ask_again(self: &Arc<Self>, read: &Read<'_>) -> Step {
        let mut scope = read.scope();
        let labels = scope.labels.to_string();
        let narrow = if labels.is_empty() { NONE.to_owned() } else { format!("{labels},{NONE}") };
        if let Ok(labels) = narrow.parse() {
            scope.labels = labels;
        }
        match self.verify(read, &scope, &[("resourceVersion", "0"), ("limit", "1")]).await {
            Step::Answer(response)
                if ![StatusCode::FORBIDDEN, StatusCode::UNAUTHORIZED].contains(&response.status()) =>
            {
                Step::Again { fresh: false }
            }
            step => step,
        }
    }
}
