//! Answers of the hub's own: always a Kubernetes `Status`, in the encoding that the caller reads, and never with
//! `Retry-After`, on which client-go would wait inside the call (`reference/wire.md` §0).

use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};
use wire::media::{self, Encoding};
use wire::status::Status;

use crate::body::Body;
use crate::cloud::Trouble;
use crate::proxy::headers;

/// The answer `status` to a request with these headers.
#[must_use]
pub fn answer(status: &Status, headers: &HeaderMap) -> Response<Body> {
    let encoding = media::for_status(headers::text(headers, ACCEPT));
    let media_type = match encoding {
        Encoding::Json => media::JSON,
        Encoding::Protobuf => media::PROTOBUF,
    };
    let mut response = Response::new(Body::from(status.encode(encoding)));
    *response.status_mut() = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// What is said of `trouble`.
#[must_use]
pub fn trouble(trouble: &Trouble) -> Status {
    let text = trouble.to_string();
    match trouble {
        Trouble::Gone(_) | Trouble::NotSent(_) | Trouble::NoCredential => Status::unavailable(text),
        Trouble::TooMany => Status::too_many_requests(text),
        Trouble::Lost(_) => Status::timeout(&text),
    }
}
