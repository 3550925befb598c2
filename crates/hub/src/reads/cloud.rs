//! Questions to the cloud, and whole answers.

use std::io::Read as _;

use bytes::{Bytes, BytesMut};
use flate2::read::GzDecoder;
use http_body_util::BodyExt as _;
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue,
    USER_AGENT,
};
use hyper::{Request, Response, StatusCode};
use view::{CloudRv, ResourceId, Scope};
use wire::Encoding;
use wire::media::Served;

use super::budget::Share;
use super::who::Who;
use super::{Reads, render};
use crate::body::{Arriving, Body};
use crate::cloud::{Held, Trouble};
use crate::link::State;
use crate::proxy::headers;

/// The largest answer that is taken in whole.
const MOST: usize = 64 << 20;

/// Up to this length an answer takes no share of the memory for whole answers, and is handed over at once.
const SMALL: usize = 64 << 10;

/// What the hub calls itself in the API server's logs.
pub(super) const AGENT: &str = concat!("edgekeep/", env!("CARGO_PKG_VERSION"));

/// An answer of the cloud's.
pub struct Whole {
    /// Its code.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// The memory that it takes.
    pub share: Share,
}

impl Whole {
    /// The body as it was before it was compressed; `None` if it cannot be read.
    pub fn plain(&self) -> Option<Bytes> {
        match self.headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes) {
            None => Some(self.body.clone()),
            Some(b"gzip") => {
                let mut plain = Vec::new();
                let read = GzDecoder::new(&*self.body).take(MOST as u64).read_to_end(&mut plain);
                (read.is_ok() && plain.len() < MOST).then(|| plain.into())
            }
            Some(_) => None,
        }
    }

    /// The same, and in which encoding it is; `None` if it is no object.
    pub fn object(&self) -> Option<(Bytes, Encoding)> {
        let encoding = encoding(&self.headers)?;
        Some((self.plain()?, encoding))
    }
}

/// In which encoding an answer is.
pub fn encoding(headers: &HeaderMap) -> Option<Encoding> {
    let text = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    match wire::media::body(text).ok()? {
        wire::media::Body::Object(encoding) => Some(encoding),
        wire::media::Body::Yaml => None,
    }
}

impl Reads {
    /// The headers of a question of the hub's own about a resource: in protobuf, where nothing gets lost by that.
    pub(super) fn own_headers(&self, resource: &ResourceId) -> HeaderMap {
        let accept = match render::served(resource) {
            Served::BuiltIn if !self.is_newer(resource) => {
                "application/vnd.kubernetes.protobuf,application/json"
            }
            _ => "application/json",
        };
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        headers
    }

    /// Asks the cloud as `who`; `headers` besides the credential.
    pub(super) async fn ask(
        &self,
        who: &Who,
        target: &str,
        mut headers: HeaderMap,
    ) -> Result<(Response<Arriving>, Held), Trouble> {
        let mut request = Request::new(Body::Empty);
        *request.uri_mut() = target.parse().map_err(|e| Trouble::NotSent(format!("{target}: {e}")))?;
        if let Some(authorization) = &who.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        *request.headers_mut() = headers;
        self.cloud.send(who.credential, who.drawn, request).await
    }

    /// Takes an answer in whole.
    pub(super) async fn whole(&self, who: &Who, answer: Response<Arriving>) -> Result<Whole, Trouble> {
        let (parts, mut body) = answer.into_parts();
        let (mut bytes, mut share) = (BytesMut::new(), Share::default());
        // Most answers come in one piece.
        let mut only: Option<Bytes> = None;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|e| Trouble::Lost(e.to_string()))?;
            let Ok(piece) = frame.into_data() else { continue };
            bytes.extend_from_slice(&only.take().unwrap_or_default());
            let size = bytes.len() + piece.len();
            if size > MOST {
                return Err(Trouble::Lost(format!("the answer is longer than {MOST} bytes")));
            }
            if size > SMALL && !self.budget.enlarge(&who.identity, &mut share, size).await {
                return Err(Trouble::TooMany);
            }
            match bytes.is_empty() {
                true => only = Some(piece),
                false => bytes.extend_from_slice(&piece),
            }
        }
        let body = only.unwrap_or_else(|| bytes.freeze());
        Ok(Whole { status: parts.status, headers: parts.headers, body, share })
    }

    /// The cloud's answer, as it came.
    pub(super) fn as_it_came(&self, whole: Whole) -> Response<Body> {
        let mut response = Response::new(self.body(whole.body, whole.share));
        *response.status_mut() = whole.status;
        *response.headers_mut() = headers::back(whole.headers);
        response
    }

    /// A body of bytes that are here.
    pub(super) fn body(&self, bytes: Bytes, share: Share) -> Body {
        match bytes.len() {
            0 => Body::Empty,
            len if len <= SMALL => Body::Own(Some(bytes)),
            _ => self.under_way.whole(bytes, Box::new(share)),
        }
    }

    /// The same for a question whose answer is read whole. When the cloud is given up meanwhile, so is the question.
    pub(super) async fn ask_whole(
        &self,
        who: &Who,
        target: &str,
        headers: HeaderMap,
    ) -> Result<Whole, Trouble> {
        let answered = async {
            let (answer, _held) = self.ask(who, target, headers).await?;
            self.whole(who, answer).await
        };
        let mut verdict = self.cloud.judge().verdict();
        tokio::select! {
            answered = answered => answered,
            gone = verdict.wait_for(|verdict| verdict.state != State::Up) => match gone.map(|verdict| verdict.state.clone()) {
                Ok(State::Down(why)) => Err(Trouble::Gone(why)),
                _ => Err(Trouble::NotSent("the hub stops".to_owned())),
            },
        }
    }

    /// Asks for a set as the API server has it in its memory, if that is no older than `known`; else for a page of it that the
    /// store is asked for.
    pub(super) async fn ask_set(
        &self,
        who: &Who,
        (resource, scope): (&ResourceId, &Scope),
        known: Option<CloudRv>,
        page: &[(&str, &str)],
    ) -> Result<Whole, Trouble> {
        let ask = async |parameters: &[(&str, &str)]| {
            let target = super::path::read(resource, scope, parameters);
            self.ask_whole(who, &target, self.own_headers(resource)).await
        };
        if let Some(known) = known {
            let remembered = ask(&[("resourceVersion", &known.to_string())]).await?;
            // "Too large resource version": the cloud was restored from a backup, or this API server is behind.
            if remembered.status != StatusCode::GATEWAY_TIMEOUT {
                return Ok(remembered);
            }
        }
        ask(page).await
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn whole(body: Vec<u8>) -> Whole {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Whole { status: StatusCode::OK, headers, body: body.into(), share: Share::default() }
    }

    fn zipped(bytes: &[u8]) -> Vec<u8> {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    }

    #[test]
    fn what_is_compressed_is_read_unless_it_grows_out_of_all_bounds() {
        assert_eq!(whole(zipped(b"{}")).object().unwrap(), (Bytes::from_static(b"{}"), Encoding::Json));
        assert!(whole(b"not gzip".to_vec()).object().is_none());
        assert!(whole(zipped(&vec![0; MOST + 1])).object().is_none(), "a bomb");
    }
}
