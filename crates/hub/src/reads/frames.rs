//! The body of a watch: what the view has to tell its client, taken at the client's speed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::Bytes;
use view::{Change, Frame, Next, Object, ResourceId, WatcherId};
use wire::Status;
use wire::watch::EventType;

use super::render::{Failed, Rendering};
use super::{Reads, lock};

/// So many frames are made at a time.
const MOST: usize = 64;

/// A client's watch.
pub struct Watching {
    reads: Arc<Reads>,
    /// `None`: nothing more comes than what is `ready`.
    id: Option<WatcherId>,
    resource: ResourceId,
    rendering: Rendering,
    ready: Vec<u8>,
    first: bool,
}

impl Watching {
    /// The watch `id`.
    pub(super) fn new(reads: Arc<Reads>, id: WatcherId, resource: ResourceId, rendering: Rendering) -> Self {
        Self { reads, id: Some(id), resource, rendering, ready: Vec::new(), first: true }
    }

    /// A watch that says `status` in its only event.
    pub(super) fn error(
        reads: Arc<Reads>,
        status: &Status,
        resource: ResourceId,
        rendering: Rendering,
    ) -> Self {
        let mut ready = Vec::new();
        rendering.error(&mut ready, status);
        Self { reads, id: None, resource, rendering, ready, first: false }
    }

    /// The next bytes; `None` at the end.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            if !self.ready.is_empty() {
                return Poll::Ready(Some(std::mem::take(&mut self.ready).into()));
            }
            let Some(id) = self.id.filter(|_| !self.reads.stopping.load(Ordering::Relaxed)) else {
                return Poll::Ready(None);
            };
            let reads = self.reads.clone();
            let now = reads.now();
            let pulled = reads.with(|view| {
                let pulled = view.pull(id, now, MOST);
                if pulled.next == Next::Wait {
                    lock(&reads.wakers).insert(id, cx.waker().clone());
                }
                pulled
            });
            for frame in pulled.frames {
                if let Err(failed) = self.tell(&frame) {
                    // Left out it would be missing for ever: the client must know that it knows too little.
                    let status = match failed {
                        Failed::Newer => {
                            self.reads.read_in_json(&self.resource);
                            Status::expired(
                                "an object is newer than the hub's table; read everything anew, in JSON",
                            )
                        }
                        Failed::Status(status) => status,
                    };
                    tracing::warn!("a watch of {} is ended: {}", self.resource, status.message);
                    self.rendering.error(&mut self.ready, &status);
                    self.leave();
                    break;
                }
            }
            match pulled.next {
                Next::More => {}
                Next::End => self.id = None,
                Next::Wait if self.ready.is_empty() && self.id.is_some() => return Poll::Pending,
                Next::Wait => {}
            }
        }
    }

    fn tell(&mut self, frame: &Frame) -> Result<(), Failed> {
        let first = std::mem::take(&mut self.first);
        match frame {
            Frame::State(object) => match self.reads.bytes(&self.resource, object) {
                Some(bytes) => {
                    self.rendering.event(&mut self.ready, EventType::Added, &bytes, object.encoding, first)
                }
                // A state that lacks an object says that there is none.
                None if self.reads.lock().is_present(&self.resource, object) => {
                    let text = format!("{} cannot be read from the disk", object.header.key);
                    Err(Failed::Status(Status::unavailable(text)))
                }
                // Its change follows.
                None => Ok(()),
            },
            Frame::Event(event, change) => {
                let kind = match change {
                    Change::Added => EventType::Added,
                    Change::Modified => EventType::Modified,
                    Change::Deleted => EventType::Deleted,
                };
                let object = event.object(*change);
                let bytes = object.and_then(|object| self.reads.bytes(&self.resource, object));
                let (Some(object), Some(bytes)) = (object, bytes) else {
                    return Err(
                        Status::expired("a change cannot be told any more; read everything anew").into()
                    );
                };
                let Some(encoding) = self.rendering.shared_encoding() else {
                    return self.rendering.event(&mut self.ready, kind, &bytes, object.encoding, first);
                };
                let mut failed = None;
                let frame = event.frame(*change, encoding, || {
                    let mut frame = Vec::new();
                    let made = self.rendering.event(&mut frame, kind, &bytes, object.encoding, first);
                    failed = made.err();
                    frame
                });
                self.ready.extend_from_slice(&frame);
                // An empty frame is one that could not be made, for whoever asked first and for everybody after.
                match failed {
                    Some(failed) => Err(failed),
                    None if frame.is_empty() => Err(Failed::Newer),
                    None => Ok(()),
                }
            }
            Frame::Bookmark { rv, end_of_state } => {
                self.rendering.bookmark(&mut self.ready, &rv.to_string(), *end_of_state);
                Ok(())
            }
            Frame::Error(status) => {
                self.rendering.error(&mut self.ready, status);
                Ok(())
            }
        }
    }

    fn leave(&mut self) {
        if let Some(id) = self.id.take() {
            self.reads.with(|view| view.unwatch(id));
            lock(&self.reads.wakers).remove(&id);
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Reads {
    /// An object's bytes; `None` if the log has another version of it by now.
    pub(super) fn bytes(&self, resource: &ResourceId, object: &Object) -> Option<Arc<[u8]>> {
        if let Some(bytes) = object.bytes() {
            return Some(bytes.clone());
        }
        let record = self.store.object(resource, &object.header.key)?;
        let same = view::object_version(&record) == Some(object.header.rv.get());
        view::object_bytes(&record).filter(|_| same).map(Into::into)
    }
}
