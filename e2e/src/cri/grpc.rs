//! Unary gRPC calls over a Unix socket: as much of the protocol as a CRI client needs, on HTTP/2 directly.
//!
//! The crates that know CRI generate their code with a protobuf compiler at build time; this program is to build on
//! a machine that has only Rust and a C compiler.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use bytes::{BufMut, Bytes, BytesMut};
use h2::RecvStream;
use h2::client::SendRequest;
use http::{HeaderMap, Method, Request};
use prost::Message;
use tokio::net::UnixStream;

/// The longest that a call may take: far above any sandbox's start, short enough for a run that hangs to end.
const LIMIT: Duration = Duration::from_secs(120);

/// A connection that can be shared; calls run side by side.
#[derive(Clone)]
pub struct Connection {
    send: SendRequest<Bytes>,
}

impl Connection {
    /// Connects to the server at `socket`.
    ///
    /// # Errors
    ///
    /// Nothing listens there, or it does not speak HTTP/2.
    pub async fn open(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket).await.with_context(|| format!("{}", socket.display()))?;
        let (send, connection) = h2::client::handshake(stream).await.context("no HTTP/2 handshake")?;
        // Its end shows itself in the next call, with the reason.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Self { send })
    }

    /// Calls `method` (`package.Service/Method`) and returns its answer.
    ///
    /// # Errors
    ///
    /// The connection broke, the call took longer than two minutes, or the server answered with a status other
    /// than OK, whose number and message the text holds.
    pub async fn call<Q: Message, A: Message + Default>(&self, method: &str, request: &Q) -> Result<A> {
        let done = tokio::time::timeout(LIMIT, self.exchange(method, frame(request)?)).await;
        let body = done.map_err(|_| anyhow!("no answer within {} s", LIMIT.as_secs())).flatten();
        let body = body.with_context(|| method.to_owned())?;
        let message = body.get(5..).ok_or_else(|| anyhow!("{method}: empty answer"))?;
        A::decode(message).with_context(|| format!("{method}: answer is not understood"))
    }

    async fn exchange(&self, method: &str, body: Bytes) -> Result<BytesMut> {
        let head = Request::builder()
            .method(Method::POST)
            .uri(format!("http://localhost/{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        let mut send = self.send.clone().ready().await?;
        let (response, mut stream) = send.send_request(head, false)?;
        stream.send_data(body, true)?;
        let (head, mut body) = response.await?.into_parts();
        // A call that fails at once is answered by a head alone, which then holds the status.
        if status(&head.headers)? {
            bail!("status OK came before the answer");
        }
        let answer = read(&mut body).await?;
        match body.trailers().await? {
            Some(trailers) if status(&trailers)? => Ok(answer),
            _ => bail!("the answer has no status"),
        }
    }
}

/// A message as it goes on the wire: not compressed, its length, itself.
fn frame(message: &impl Message) -> Result<Bytes> {
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(message.encoded_len()).context("request is too long")?);
    message.encode(&mut bytes)?;
    Ok(bytes.freeze())
}

async fn read(body: &mut RecvStream) -> Result<BytesMut> {
    let mut all = BytesMut::new();
    while let Some(part) = body.data().await {
        let part = part?;
        body.flow_control().release_capacity(part.len())?;
        all.extend_from_slice(&part);
    }
    Ok(all)
}

/// Whether `headers` hold the status OK. Another status is an error, its absence is not.
fn status(headers: &HeaderMap) -> Result<bool> {
    let Some(status) = headers.get("grpc-status") else { return Ok(false) };
    if status == "0" {
        return Ok(true);
    }
    let message = headers.get("grpc-message").map(|text| plain(text.as_bytes())).unwrap_or_default();
    bail!("gRPC status {}: {message}", String::from_utf8_lossy(status.as_bytes()))
}

/// Undoes percent encoding; what is not encoded well stays as it is.
fn plain(mut text: &[u8]) -> String {
    let mut bytes = Vec::new();
    while let Some((&first, rest)) = text.split_first() {
        let digits = rest.get(..2).filter(|_| first == b'%').and_then(|pair| str::from_utf8(pair).ok());
        match digits.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                text = rest.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(first);
                text = rest;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_message_is_read_as_it_was_meant() {
        assert_eq!(
            plain(b"no IP addresses: 100%25 \"%E2%82%AC\" %zz %"),
            "no IP addresses: 100% \"€\" %zz %"
        );
    }
}
