//! What must be true of node and cloud, whatever happens to either.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use outbox::settle::{Fate, Reason};
use serde_json::Value;

use crate::cloud::text;
use crate::kubelet::is_terminal;

/// An invariant that does not hold.
#[derive(Debug)]
pub struct Violation {
    pub what: &'static str,
    pub text: String,
}

pub type Check = Result<(), Violation>;

pub fn broken<T>(what: &'static str, text: String) -> Result<T, Violation> {
    Err(Violation { what, text })
}

/// The last that kubelet was answered about a pod.
#[derive(Debug, Clone)]
pub struct Answered {
    pub status: Value,
    /// The boot in which that was.
    pub boot: String,
    /// Whether the pod was finished with: its deletion was answered.
    pub deleted: bool,
}

impl Answered {
    /// Whether a shutdown wrote it.
    pub fn is_shutdown(&self) -> bool {
        text(&self.status, "/reason") == "Terminated"
    }
}

#[derive(Debug, Default)]
pub struct Oracle {
    pub answered: BTreeMap<String, Answered>,
    /// What the cloud was told or did, by uid: phases, and that it is gone.
    pub ended_in_cloud: BTreeMap<String, String>,
    pub gone_in_cloud: BTreeSet<String>,
    /// What was dropped by name, or undone by a reboot.
    pub reported: BTreeMap<String, Reason>,
    /// What kubelet wrote since it was last answered, and nobody knows what became of it.
    pub tried: BTreeMap<String, Vec<Value>>,
    /// Pods of which kubelet wanted the end, whatever it was answered.
    pub may_be_gone: BTreeSet<String>,
    /// Pods that kubelet told to have ended, and was answered: they never run again.
    pub never: BTreeSet<String>,
    /// Whether kubelet has written since the link came back.
    pub kubelet_wrote: bool,
}

impl Oracle {
    /// The cloud's object has become this.
    pub fn cloud_has(&mut self, object: Option<&Value>, before: Option<&Value>) -> Check {
        let uid = |object: &Value| text(object, "/metadata/uid").to_owned();
        if let Some(before) = before
            && object.is_none_or(|object| uid(object) != uid(before))
        {
            self.gone_in_cloud.insert(uid(before));
        }
        let Some(object) = object.filter(|object| text(object, "/kind") == "Pod") else { return Ok(()) };
        if self.gone_in_cloud.contains(&uid(object)) {
            return broken("resurrected", format!("{object} was gone"));
        }
        let phase = text(object, "/status/phase");
        match self.ended_in_cloud.get(&uid(object)) {
            Some(ended) if ended != phase => {
                return broken("alive", format!("a pod that had {ended} is told to be {phase}: {object}"));
            }
            None if is_terminal(&object["status"]) => {
                drop(self.ended_in_cloud.insert(uid(object), phase.to_owned()))
            }
            _ => {}
        }
        Ok(())
    }

    /// The cloud was restored: what it forgot, only those entries know that still wait.
    pub fn restored(&mut self, waiting: &[String]) {
        self.ended_in_cloud.clear();
        self.gone_in_cloud.clear();
        self.answered.retain(|uid, _| waiting.contains(uid));
        self.never.retain(|uid| waiting.contains(uid));
    }

    pub fn fate(&mut self, uid: &str, fate: &Fate) {
        if let Fate::Dropped(reason) = fate {
            self.reported.insert(uid.to_owned(), reason.clone());
        }
        if *fate == Fate::Dropped(Reason::SupersededByReboot) {
            self.never.remove(uid);
            self.answered.remove(uid);
        }
    }

    pub fn answered(&mut self, uid: &str, answered: Answered) {
        self.reported.remove(uid);
        self.tried.remove(uid);
        if is_terminal(&answered.status) {
            self.never.insert(uid.to_owned());
        }
        self.answered.insert(uid.to_owned(), answered);
    }

    pub fn started(&self, uid: &str) -> Check {
        match self.never.contains(uid) {
            true => broken(
                "again",
                format!("{uid} ended, kubelet was told that this is known, and it runs again"),
            ),
            false => Ok(()),
        }
    }

    /// What the node is shown is what it was answered, but where the cloud knows better.
    pub fn shown(&self, shown: &BTreeMap<String, Arc<Value>>, known: &BTreeMap<String, Arc<Value>>) -> Check {
        for (uid, answered) in &self.answered {
            let (Some(cloud), false) = (known.get(uid), self.reported.contains_key(uid)) else { continue };
            let Some(pod) = shown.get(uid) else {
                if self.may_be_gone.contains(uid) {
                    continue;
                }
                return broken(
                    "lost",
                    format!("{uid} is not shown, and was answered as {}", answered.status),
                );
            };
            let is_over =
                is_terminal(&cloud["status"]) && cloud["status"]["phase"] != answered.status["phase"];
            let said =
                |status: &Value| (text(status, "/phase").to_owned(), text(status, "/podIP").to_owned());
            let tried = self.tried.get(uid).into_iter().flatten();
            let is_newer = tried.map(said).any(|tried| tried == said(&pod["status"]));
            if !is_over && !is_newer && said(&answered.status) != said(&pod["status"]) {
                return broken(
                    "lost",
                    format!("{uid} was answered as {}, and is shown as {}", answered.status, pod["status"]),
                );
            }
        }
        Ok(())
    }
}
