//! Bodies on their way through the hub: passed on piece by piece, as fast as the slower side goes.
//!
//! Every answer that is under way is on a list, for two things that its reader cannot see to: one who stopped reading must
//! not hold the room that others share on a connection to the cloud, and a hub that is going to stop ends watches in
//! order, so that clients go on from where they were.

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::{Reason, RecvStream};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};

use crate::reads::Watching;

/// How long a reader may leave bytes lying that are there for it.
pub const STUCK: Duration = Duration::from_secs(60);

/// How much of a whole answer is handed over at a time: what fills a record of TLS with its frame's head (RFC 9113 §4.1), and a
/// second, small record for each frame is spared.
const PORTION: usize = (16 << 10) - 9;

/// The body of a request or an answer.
pub enum Body {
    /// Nothing.
    Empty,
    /// Bytes of the hub's own.
    Own(Option<Bytes>),
    /// A client's request.
    Request(Incoming),
    /// The cloud's answer.
    Answer(Answer),
    /// What the view tells.
    Watch(Box<Watching>),
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Body::Own(Some(bytes.into()))
    }
}

/// The body of an answer as it comes from the cloud.
pub enum Arriving {
    /// Over a connection of its own.
    Http1(Incoming),
    /// Over a connection that others share.
    Http2(RecvStream),
}

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let stream = match self.get_mut() {
            Arriving::Http1(incoming) => return Pin::new(incoming).poll_frame(cx).map_err(Broken::Http),
            Arriving::Http2(stream) => stream,
        };
        match ready!(stream.poll_data(cx)) {
            Some(Ok(piece)) => {
                // It fails for a stream that has ended, where nobody waits for room.
                let _ = stream.flow_control().release_capacity(piece.len());
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            // The answer is whole; no more of the request is wanted (RFC 9113 §8.1).
            Some(Err(e)) if e.reason() == Some(Reason::NO_ERROR) => Poll::Ready(None),
            Some(Err(e)) => Poll::Ready(Some(Err(Broken::Http2(e)))),
            None => match ready!(stream.poll_trailers(cx)) {
                Ok(trailers) => Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers)))),
                Err(e) => Poll::Ready(Some(Err(Broken::Http2(e)))),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Arriving::Http1(incoming) => incoming.is_end_stream(),
            Arriving::Http2(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Arriving::Http1(incoming) => incoming.size_hint(),
            // A length that was said stands in the head, which is passed on.
            Arriving::Http2(_) => SizeHint::default(),
        }
    }
}

/// Why a body ended too early.
#[derive(Debug)]
pub enum Broken {
    /// The connection that it came over said so.
    Http(hyper::Error),
    /// The same, in HTTP/2 to the cloud.
    Http2(h2::Error),
    /// Its reader did not read for longer than [`STUCK`].
    Stuck,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::Http(e) => e.fmt(f),
            Broken::Http2(e) => e.fmt(f),
            Broken::Stuck => write!(f, "the client has not read for {} s", STUCK.as_secs()),
        }
    }
}

impl std::error::Error for Broken {}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.get_mut() {
            Body::Empty => Poll::Ready(None),
            Body::Own(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Body::Request(incoming) => Pin::new(incoming).poll_frame(cx).map_err(Broken::Http),
            Body::Answer(answer) => answer.poll(cx),
            Body::Watch(watching) => watching.poll(cx).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Empty => true,
            Body::Own(bytes) => bytes.is_none(),
            Body::Request(incoming) => incoming.is_end_stream(),
            Body::Answer(answer) => answer.flow.lock().is_end(),
            Body::Watch(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Empty => SizeHint::with_exact(0),
            Body::Own(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Body::Request(incoming) => incoming.size_hint(),
            Body::Answer(answer) => answer.flow.lock().size_hint(),
            Body::Watch(_) => SizeHint::default(),
        }
    }
}

/// An answer of the cloud's under way to its reader.
pub struct Answer {
    flow: Arc<Flow>,
    under_way: Arc<UnderWay>,
    key: u64,
}

struct Flow {
    watch: bool,
    state: Mutex<State>,
}

struct State {
    source: Source,
    /// What has to know how long this lasts: its place on a connection to the cloud, its share of memory. Dropped with the
    /// body, or when its reader is given up.
    held: Option<Box<dyn Send + Sync>>,
    /// Whether it is the reader who waits for the cloud, and not bytes for the reader.
    reader_waits: bool,
    last: Instant,
    waker: Option<Waker>,
}

enum Source {
    Open(Arriving),
    /// Bytes that are here already.
    Whole(Bytes),
    /// Ended by the hub, as if the cloud had.
    Ended,
    Stuck,
}

impl State {
    fn is_end(&self) -> bool {
        match &self.source {
            Source::Open(arriving) => arriving.is_end_stream(),
            Source::Whole(bytes) => bytes.is_empty(),
            Source::Ended => true,
            Source::Stuck => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Open(arriving) => arriving.size_hint(),
            Source::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            _ => SizeHint::default(),
        }
    }
}

impl Flow {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Answer {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let mut state = self.flow.lock();
        let polled = match &mut state.source {
            Source::Open(arriving) => Pin::new(arriving).poll_frame(cx),
            Source::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Source::Whole(bytes) => {
                Poll::Ready(Some(Ok(Frame::data(bytes.split_to(bytes.len().min(PORTION))))))
            }
            Source::Ended => Poll::Ready(None),
            Source::Stuck => Poll::Ready(Some(Err(Broken::Stuck))),
        };
        state.reader_waits = polled.is_pending();
        state.last = Instant::now();
        if polled.is_pending() && self.flow.watch {
            state.waker = Some(cx.waker().clone());
        }
        polled
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.under_way.lock().remove(&self.key);
    }
}

/// All answers under way.
#[derive(Default)]
pub struct UnderWay {
    next: AtomicU64,
    flows: Mutex<HashMap<u64, Arc<Flow>>>,
}

impl UnderWay {
    /// Puts an answer that is here as a whole on the list. It is handed over in portions, so that `held` is dropped only when
    /// its reader has read it.
    pub fn whole(self: &Arc<Self>, bytes: Bytes, held: Box<dyn Send + Sync>) -> Body {
        self.add(Source::Whole(bytes), false, held)
    }

    /// Puts an answer on the list; `watch`: it goes on until somebody ends it. `held` is dropped when it has ended.
    pub fn answer(self: &Arc<Self>, arriving: Arriving, watch: bool, held: Box<dyn Send + Sync>) -> Body {
        self.add(Source::Open(arriving), watch, held)
    }

    fn add(self: &Arc<Self>, source: Source, watch: bool, held: Box<dyn Send + Sync>) -> Body {
        let state = State { source, held: Some(held), reader_waits: true, last: Instant::now(), waker: None };
        let flow = Arc::new(Flow { watch, state: Mutex::new(state) });
        let key = self.next.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(key, flow.clone());
        Body::Answer(Answer { flow, under_way: self.clone(), key })
    }

    /// How many there are: all, and of these the watches.
    #[must_use]
    pub fn count(&self) -> (usize, usize) {
        let flows = self.lock();
        (flows.len(), flows.values().filter(|flow| flow.watch).count())
    }

    /// Lets go of the sources of answers that nobody has read since `now` less [`STUCK`], and of what was held for them, though
    /// their clients may stay connected for ever; says how many.
    pub fn drop_stuck(&self, now: Instant) -> usize {
        let mut dropped = 0;
        for flow in self.lock().values() {
            let mut state = flow.lock();
            let open = matches!(state.source, Source::Open(_) | Source::Whole(_));
            if open && !state.reader_waits && now.saturating_duration_since(state.last) > STUCK {
                state.source = Source::Stuck;
                state.held = None;
                dropped += 1;
            }
        }
        dropped
    }

    /// Ends every watch in order.
    pub fn end_watches(&self) {
        for flow in self.lock().values().filter(|flow| flow.watch) {
            let mut state = flow.lock();
            state.source = Source::Ended;
            if let Some(waker) = state.waker.take() {
                waker.wake();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Flow>>> {
        self.flows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stuck_reader_gives_back_what_is_held_for_it_while_it_stays() {
        let (under_way, held) = (Arc::new(UnderWay::default()), Arc::new(()));
        let long = Bytes::from(vec![1; PORTION * 2]);
        let mut body = under_way.whole(long, Box::new(held.clone()));
        let mut cx = Context::from_waker(Waker::noop());
        let read = |body: &mut Body, cx: &mut Context<'_>| match Pin::new(body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => Ok(frame.into_data().map(|piece| piece.len()).ok()),
            other => Err(format!("{other:?}")),
        };
        assert_eq!(read(&mut body, &mut cx), Ok(Some(PORTION)));
        let now = Instant::now();
        assert_eq!(under_way.drop_stuck(now), 0);
        assert_eq!(Arc::strong_count(&held), 2, "it may go on reading");
        assert_eq!(under_way.drop_stuck(now + STUCK * 2), 1);
        assert_eq!(Arc::strong_count(&held), 1, "it is given up");
        assert!(read(&mut body, &mut cx).is_err_and(|e| e.contains("Stuck")));
        assert_eq!(under_way.count().0, 1, "but it is still there");
    }
}
