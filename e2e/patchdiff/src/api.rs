//! An API server behind a Unix socket, as `kubectl proxy` offers it: HTTP/1.1, one request after the other.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// How long an answer may take, on a machine that others use too.
const PATIENCE: Duration = Duration::from_secs(60);

/// The connection.
pub struct Api {
    stream: BufReader<UnixStream>,
}

/// A request's answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP's code.
    pub code: u16,
    /// The body; null if it is no JSON.
    pub body: Value,
}

impl Answer {
    /// Whether the request was carried out.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.code)
    }
}

/// A request.
pub struct Request<'a> {
    /// `GET`, `PATCH`…
    pub method: &'a str,
    /// Path and query.
    pub path: &'a str,
    /// Media type of the body.
    pub content_type: &'a str,
    /// The node as whose kubelet it is sent; as administrator without.
    pub node: Option<&'a str>,
    /// The body.
    pub body: &'a [u8],
}

impl Api {
    /// Connects.
    ///
    /// # Errors
    ///
    /// Nothing listens there.
    pub fn connect(socket: &Path) -> Result<Api> {
        let stream = UnixStream::connect(socket).with_context(|| format!("no {}", socket.display()))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Api { stream: BufReader::new(stream) })
    }

    /// Sends a request and reads its answer.
    ///
    /// # Errors
    ///
    /// The connection breaks, or what comes is no HTTP.
    pub fn send(&mut self, request: &Request<'_>) -> Result<Answer> {
        let Request { method, path, content_type, node, body } = request;
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n");
        head.push_str(&format!("Content-Type: {content_type}\r\nContent-Length: {}\r\n", body.len()));
        if let Some(node) = node {
            head.push_str(&format!(
                "Impersonate-User: system:node:{node}\r\nImpersonate-Group: system:nodes\r\n"
            ));
        }
        head.push_str("\r\n");
        let stream = self.stream.get_mut();
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        self.answer().with_context(|| format!("{method} {path}"))
    }

    /// Creates an object; one that exists already is good as well.
    ///
    /// # Errors
    ///
    /// It is refused.
    pub fn create(&mut self, path: &str, object: &Value) -> Result<()> {
        let body = object.to_string();
        let content_type = "application/json";
        let request = Request { method: "POST", path, content_type, node: None, body: body.as_bytes() };
        let answer = self.send(&request)?;
        match answer.code {
            200..300 | 409 => Ok(()),
            code => bail!("{path}: {code} {}", answer.body),
        }
    }

    /// Reads an object.
    ///
    /// # Errors
    ///
    /// It is not there.
    pub fn get(&mut self, path: &str) -> Result<Value> {
        let request =
            Request { method: "GET", path, content_type: "application/json", node: None, body: b"" };
        let answer = self.send(&request)?;
        if !answer.is_success() {
            bail!("{path}: {} {}", answer.code, answer.body);
        }
        Ok(answer.body)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            bail!("the connection was closed");
        }
        Ok(line.trim_end().to_owned())
    }

    fn answer(&mut self) -> Result<Answer> {
        let status = self.line()?;
        let code = status.split(' ').nth(1).and_then(|code| code.parse().ok());
        let code = code.with_context(|| format!("no HTTP: {status}"))?;
        let (mut len, mut chunked) = (0, false);
        loop {
            let line = self.line()?.to_ascii_lowercase();
            match line.split_once(':') {
                None => break,
                Some(("content-length", value)) => len = value.trim().parse()?,
                Some(("transfer-encoding", value)) => chunked = value.trim() == "chunked",
                Some(_) => {}
            }
        }
        let body = if chunked { self.chunks()? } else { self.bytes(len)? };
        Ok(Answer { code, body: serde_json::from_slice(&body).unwrap_or_default() })
    }

    fn bytes(&mut self, len: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn chunks(&mut self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let len = usize::from_str_radix(&self.line()?, 16)?;
            body.extend(self.bytes(len)?);
            self.line()?;
            if len == 0 {
                return Ok(body);
            }
        }
    }
}
