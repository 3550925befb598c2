//! What became of an entry.

use std::fmt;

/// What became of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// The cloud took it as it was written.
    Sent,
    /// The cloud took it, laid over an object that had changed there meanwhile.
    Merged,
    /// The cloud had it already.
    Known,
    /// It did not reach the cloud.
    Dropped(Reason),
}

/// Why an entry was dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The object is not there any more.
    Gone,
    /// The object of this name is another one now.
    Replaced,
    /// The pod has ended in the cloud, and does not come back to life.
    EndedInCloud,
    /// A node's shutdown ended the pod, and the node has started again since.
    SupersededByReboot,
    /// The cloud refuses it, in these words.
    Refused {
        /// The HTTP code.
        code: u16,
        /// The message.
        message: String,
    },
    /// An event that the cloud would have forgotten by now.
    TooOld,
    /// The event's namespace is not there, or takes no events.
    NoNamespace,
    /// No credential of the daemon that wrote it came within the time.
    NoCredential,
    /// What is stored of it cannot be understood.
    Unreadable,
    /// An operator dropped it.
    Operator(String),
}

impl Fate {
    /// In one word, for programs.
    pub fn word(&self) -> &'static str {
        match self {
            Fate::Sent => "sent",
            Fate::Merged => "merged",
            Fate::Known => "known",
            Fate::Dropped(_) => "dropped",
        }
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fate::Sent => f.write_str("sent"),
            Fate::Merged => f.write_str("sent, merged with what had changed in the cloud"),
            Fate::Known => f.write_str("nothing to send, the cloud had it"),
            Fate::Dropped(reason) => write!(f, "dropped: {reason}"),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Gone => f.write_str("the object is gone in the cloud"),
            Reason::Replaced => f.write_str("the object of this name in the cloud is another one now"),
            Reason::EndedInCloud => f.write_str("the pod has ended in the cloud"),
            Reason::SupersededByReboot => {
                f.write_str("superseded by reboot: the node's shutdown had ended the pod, and it runs again")
            }
            Reason::Refused { code, message } => write!(f, "the cloud refused it ({code}): {message}"),
            Reason::TooOld => f.write_str("older than the hour for which the cloud keeps events"),
            Reason::NoNamespace => f.write_str("the cloud takes no events in this namespace"),
            Reason::NoCredential => f.write_str("no token of the daemon that wrote it was seen in time"),
            Reason::Unreadable => f.write_str("its record cannot be understood"),
            Reason::Operator(why) => write!(f, "by an operator: {why}"),
        }
    }
}
