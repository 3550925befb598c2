//! What crossed the WAN, and as whom: every request that reached the cloud.

use bytes::Bytes;

/// A request as it came.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// The connection it came on, counted from 1.
    pub connection: u64,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub http: String,
    /// The method.
    pub method: String,
    /// Path and query as they stood there.
    pub target: String,
    /// All headers, names in lower case, in the order of their names.
    pub headers: Vec<(String, String)>,
    /// The common name of the client certificate that the connection showed, if it showed one.
    pub certificate: Option<String>,
    /// The bearer token, if one was sent.
    pub token: Option<String>,
    /// As whom it was judged; empty where it was as nobody.
    pub user: String,
    /// The body.
    pub body: Bytes,
    /// The HTTP code of the answer; 0 until it is answered.
    pub code: u16,
}

impl Seen {
    /// The value of a header; its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// Path without the query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}
