//! The hub's admin socket.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use durable::os::OsFs;
use hub::config::{Config, PATH};

/// How long the hub may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
const MAX_ANSWER: u64 = 16 << 20;

/// What the hub answered.
pub struct Answer {
    /// The status code.
    pub code: u16,
    /// The body.
    pub body: String,
}

/// Where it is: as was typed, or as the hub's configuration has it.
pub fn socket(typed: Option<&Path>) -> Result<PathBuf, String> {
    match typed {
        Some(path) => Ok(path.to_owned()),
        None => Ok(Config::load(&OsFs, Path::new(PATH), false).map_err(|e| e.to_string())?.admin),
    }
}

/// Asks the hub. The error says why it does not answer, and what to do.
pub fn get(socket: &Path, path: &str) -> Result<Answer, String> {
    ask(socket, "GET", path, "", PATIENCE)
}

/// The same for what takes the hub longer.
pub fn get_within(socket: &Path, path: &str, patience: Duration) -> Result<Answer, String> {
    ask(socket, "GET", path, "", patience)
}

/// Tells the hub something, in JSON.
pub fn post(socket: &Path, path: &str, body: &str) -> Result<Answer, String> {
    ask(socket, "POST", path, body, PATIENCE)
}

fn ask(socket: &Path, method: &str, path: &str, body: &str, patience: Duration) -> Result<Answer, String> {
    talk(socket, method, path, body, patience).map_err(|e| {
        let advice = match e.kind() {
            ErrorKind::PermissionDenied => "be root, or in the group edgekeep",
            _ => "is edgekeep-hub.service running?",
        };
        format!("the hub does not answer at {}: {e}; {advice}", socket.display())
    })
}

/// HTTP/1.0: the answer ends with the connection.
fn talk(socket: &Path, method: &str, path: &str, body: &str, patience: Duration) -> std::io::Result<Answer> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let length = match method {
        "GET" => String::new(),
        _ => format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len()),
    };
    stream.write_all(format!("{method} {path} HTTP/1.0\r\nhost: hub\r\n{length}\r\n{body}").as_bytes())?;
    let mut text = String::new();
    stream.take(MAX_ANSWER).read_to_string(&mut text)?;
    let parts = || {
        let (head, body) = text.split_once("\r\n\r\n")?;
        let code = head.split(' ').nth(1)?.parse().ok()?;
        Some(Answer { code, body: body.to_owned() })
    };
    parts().ok_or_else(|| ErrorKind::UnexpectedEof.into())
}
