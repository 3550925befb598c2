//! One stream from the cloud: the present state page by page, then a watch.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::StatusCode;
use view::{Change, CloudRv, End, Object, Open};
use wire::watch::{Decoder, EventType};
use wire::{Encoding, List, Status};

use super::cloud::encoding;
use super::who::Who;
use super::{Reads, lock, path, random};
use crate::cloud::Trouble;
use crate::link::State;

/// Objects in a page of the present state.
const PAGE: &str = "500";
/// A question that has time is asked at a random moment of so many milliseconds, after those in which all come back.
const AT_LEISURE: u64 = 40_000;
const NOT_BEFORE: Duration = Duration::from_secs(20);
/// If it got no answer, of so many.
const AGAIN: u64 = 10_000;

/// Follows until the stream ends, and reports how it did.
pub async fn follow(reads: &Arc<Reads>, open: Open) {
    let mut verdict = reads.cloud.judge().verdict();
    let stream = Stream { reads, open: &open };
    let end = tokio::select! {
        end = stream.run() => end,
        // What is left of it is silence.
        _ = verdict.wait_for(|verdict| verdict.state != State::Up) => End::Broken,
    };
    tracing::debug!("the stream of {} ({}) ended: {end:?}", open.resource, open.scope);
    lock(&reads.streams).remove(&open.stream);
    let now = reads.now();
    reads.with(|view| view.ended(open.stream, end, now, random()));
}

struct Stream<'a> {
    reads: &'a Arc<Reads>,
    open: &'a Open,
}

impl Stream<'_> {
    async fn run(&self) -> End {
        let Some(who) = self.reads.callers.find(&self.open.identity) else { return End::Unauthenticated };
        // A credential that the hub lends is the hub's to renew: whoever follows with it only waits.
        let lent = who.authorization.is_none();
        let followed = match self.open.from {
            Some(from) => self.go_on(&who, from).await,
            None => self.begin(&who).await,
        };
        match followed {
            Err(End::Unauthenticated) if lent => End::Broken,
            Err(end) => end,
            Ok(()) => End::Broken,
        }
    }

    /// Goes on from a version, if the cloud is still there.
    async fn go_on(&self, who: &Who, from: CloudRv) -> Result<(), End> {
        if !self.open.is_proven {
            self.prove(who, from).await?;
            return self.watch(who, from, true).await;
        }
        let proven = async {
            tokio::time::sleep(NOT_BEFORE).await;
            let mut within = AT_LEISURE;
            loop {
                tokio::time::sleep(Duration::from_millis(random() % within)).await;
                match self.prove(who, from).await {
                    Ok(()) => return std::future::pending().await,
                    Err(End::Broken) => within = AGAIN,
                    Err(end) => return Err(end),
                }
            }
        };
        tokio::select! {
            end = self.watch(who, from, true) => end,
            end = proven => end,
        }
    }

    /// Asks whether the cloud is still as young as it was.
    async fn prove(&self, who: &Who, from: CloudRv) -> Result<(), End> {
        let now = self.present(who, from).await?;
        self.reads.with(|view| view.revision(self.open.stream, now.rv));
        Ok(())
    }

    /// A page that says what the present version is, as short as may be. Of a node's pods one is no short page: to find it, older
    /// API servers read the pods of all nodes from their store one by one. So these are read as the API server has them in its
    /// memory, where they are found by their node; if that is older than what is known, the store is asked.
    async fn present(&self, who: &Who, from: CloudRv) -> Result<Page, End> {
        let known = path::is_of_a_node(&self.open.scope).then(|| self.open.reached.max(Some(from))).flatten();
        self.page(who, known, &[("limit", "1")], |_| {}).await
    }

    /// Reads everything, then follows.
    async fn begin(&self, who: &Who) -> Result<(), End> {
        let mut token = String::new();
        loop {
            let mut parameters = vec![("limit", PAGE)];
            if !token.is_empty() {
                parameters.push(("continue", token.as_str()));
            }
            let mut objects = Vec::new();
            let page = self.page(who, None, &parameters, |object| objects.push(object)).await?;
            self.reads.with(|view| {
                if token.is_empty() {
                    view.opened(self.open.stream);
                }
                for object in objects {
                    view.initial(self.open.stream, object);
                }
            });
            token = page.token;
            if token.is_empty() {
                self.reads.with(|view| view.synced(self.open.stream, page.rv));
                return self.watch(who, page.rv, false).await;
            }
        }
    }

    /// A page of the present state; the whole of it, if the API server has it no older than `known` in its memory.
    async fn page(
        &self,
        who: &Who,
        known: Option<CloudRv>,
        parameters: &[(&str, &str)],
        mut take: impl FnMut(Object),
    ) -> Result<Page, End> {
        let resource = &self.open.resource;
        let answer = self.reads.ask_set(who, (resource, &self.open.scope), known, parameters).await;
        let answer = answer.map_err(|trouble| end_of(&trouble))?;
        if answer.status != StatusCode::OK {
            return Err(end_with(answer.status));
        }
        let (body, encoding) = answer.object().ok_or(End::NotServed)?;
        let list = List::parse(&body, encoding).map_err(|_| End::Broken)?;
        let rv = CloudRv::parse(&list.meta.resource_version).ok_or(End::NotServed)?;
        for item in &list.items {
            let object = view::read(resource, item.to_bytes(), encoding).map_err(|e| {
                tracing::warn!("{e}");
                End::NotServed
            })?;
            take(object);
        }
        if let Some(item) = list.items.first() {
            self.reads.learn_kind(resource, item.kind());
        }
        Ok(Page { rv, token: list.meta.continue_token.clone() })
    }

    /// Follows from a version. `tell`: the view waits to hear that the stream is open.
    async fn watch(&self, who: &Who, from: CloudRv, tell: bool) -> Result<(), End> {
        let resource = &self.open.resource;
        let from = from.to_string();
        // As long as the API server keeps a watch whose client says nothing.
        let seconds = (1800 + random() % 1800).to_string();
        let parameters = [
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", from.as_str()),
            ("timeoutSeconds", seconds.as_str()),
        ];
        let target = path::read(resource, &self.open.scope, &parameters);
        let answer = self.reads.ask(who, &target, self.reads.own_headers(resource)).await;
        let (answer, _held) = answer.map_err(|trouble| end_of(&trouble))?;
        let (parts, mut body) = answer.into_parts();
        if parts.status != StatusCode::OK {
            return Err(end_with(parts.status));
        }
        let encoding = encoding(&parts.headers).ok_or(End::NotServed)?;
        if tell {
            self.reads.with(|view| view.opened(self.open.stream));
        }
        let mut decoder = Decoder::new(encoding);
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| End::Broken)?.into_data() else { continue };
            decoder.push(&data);
            while let Some(event) = decoder.next_event().map_err(|_| End::Broken)? {
                self.event(event.event, event.object, encoding)?;
            }
        }
        Err(End::Broken)
    }

    fn event(&self, event: EventType, bytes: Vec<u8>, encoding: Encoding) -> Result<(), End> {
        let id = self.open.stream;
        let change = match event {
            EventType::Added => Change::Added,
            EventType::Modified => Change::Modified,
            EventType::Deleted => Change::Deleted,
            EventType::Bookmark => {
                let object = wire::Object::parse(&bytes, encoding).map_err(|_| End::Broken)?;
                if let Some(rv) = CloudRv::parse(&object.resource_version()) {
                    self.reads.with(|view| view.bookmark(id, rv));
                }
                return Ok(());
            }
            EventType::Error => {
                let code = Status::decode(&bytes, encoding).map_or(500, |status| status.code);
                return Err(if code == 410 { End::Expired } else { End::Broken });
            }
        };
        let object = view::read(&self.open.resource, bytes, encoding).map_err(|e| {
            tracing::warn!("{e}");
            End::Expired
        })?;
        self.reads.with(|view| view.changed(id, change, object));
        Ok(())
    }
}

/// What a page says of the whole.
struct Page {
    rv: CloudRv,
    token: String,
}

fn end_of(trouble: &Trouble) -> End {
    tracing::debug!("{trouble}");
    match trouble {
        Trouble::NoCredential => End::Unauthenticated,
        _ => End::Broken,
    }
}

fn end_with(status: StatusCode) -> End {
    match status {
        StatusCode::GONE => End::Expired,
        StatusCode::UNAUTHORIZED => End::Unauthenticated,
        StatusCode::FORBIDDEN => End::Forbidden,
        StatusCode::NOT_FOUND => End::NotServed,
        _ => End::Broken,
    }
}
