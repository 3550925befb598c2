//! The view: what the hub shows its clients, with or without the cloud.
//!
//! Events in, effects out. Nothing here does I/O, reads a clock or rolls dice. The hub reports what its streams from the
//! cloud deliver, what the cloud answers to clients, how far its logs have been written, and that time passes; the view
//! says what to write, which streams to hold open, whom to wake, and what to answer. `docs/decisions/0008-the-view.md` says why it
//! is made as it is.
//!
//! Invariants:
//! - nothing is shown before what must survive of it has been written, or flushed (`persist.rs`);
//! - an object never goes back to an older version (`collection.rs`);
//! - nothing is absent unless that is known (`mark.rs`), and nobody is shown what the cloud did not grant them;
//! - a watch misses nothing between two things that it tells, or ends (`watch.rs`);
//! - a view RV is issued once, in strictly increasing order, whatever happens to the node (`numbers.rs`).

mod ahead;
mod answer;
mod collection;
mod decode;
mod effect;
mod history;
mod intake;
mod mark;
mod numbers;
mod object;
mod outlet;
mod persist;
mod plan;
mod policy;
mod record;
mod resource;
mod restore;
mod scope;
mod show;
mod stream;
mod tombstone;
mod upstream;
mod version;
mod view;
mod watch;

pub use answer::{Answer, Ask, Listing};
pub use decode::{Unreadable, read};
pub use effect::{Effect, Open, StreamId, Trouble};
pub use history::{Change, Event, Limits};
pub use mark::{Asked, Identity};
pub use object::{Body, Header, Object};
pub use outlet::Shelf;
pub use persist::{Barrier, Record, Write};
pub use policy::Log;
pub use record::{object_bytes, object_key, object_version, prefix};
pub use resource::{Key, ResourceId};
pub use restore::Loading;
pub use scope::Scope;
pub use stream::End;
pub use version::{CloudRv, Shown, ViewRv};
pub use view::View;
pub use watch::{Frame, Next, Pulled, WatcherId};
