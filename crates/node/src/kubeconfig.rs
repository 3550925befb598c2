//! Kubeconfigs: which server a file names, whom to trust there, and as whom to come.
//!
//! Read as client-go's `tools/clientcmd` reads them, for one context. What cannot be done here (a credential that a program
//! makes, a password) is refused by name rather than left out: without it the caller would be somebody else.

use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use durable::fs::{Fs, read};

use crate::yaml::Node;

/// Larger than any kubeconfig.
const LIMIT: usize = 1 << 20;

/// How one context reaches its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// `https://host:port`, perhaps with a path.
    pub server: String,
    /// The name that the server's certificate must bear, where it is not the host's.
    pub server_name: Option<String>,
    /// The certificates to trust, in PEM; without them those of the machine.
    pub authority: Option<Source>,
    /// Whether the server's certificate is not looked at.
    pub insecure: bool,
    /// The proxy through which to connect.
    pub proxy: Option<String>,
    /// As whom to come.
    pub credential: Credential,
}

/// As whom to come.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A client certificate. It goes before a token, as it does at the API server.
    Certificate {
        /// The certificate and those above it, in PEM.
        cert: Source,
        /// Its key, in PEM; often in the same file.
        key: Source,
    },
    /// A bearer token.
    Token(String),
    /// The file that holds the bearer token, to be read again from time to time.
    TokenFile(PathBuf),
    /// Anonymous.
    None,
}

/// Where bytes are.
#[derive(Clone, PartialEq, Eq)]
pub enum Source {
    /// In the kubeconfig itself.
    Inline(Vec<u8>),
    /// In this file.
    File(PathBuf),
}

/// Not the bytes: they may be a key.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Inline(bytes) => write!(f, "Inline({} bytes)", bytes.len()),
            Source::File(path) => write!(f, "File({})", path.display()),
        }
    }
}

/// Not the token.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Credential::Certificate { cert, key } => write!(f, "Certificate({cert:?}, {key:?})"),
            Credential::Token(_) => f.write_str("Token"),
            Credential::TokenFile(path) => write!(f, "TokenFile({})", path.display()),
            Credential::None => f.write_str("None"),
        }
    }
}

impl Source {
    /// The bytes, wherever they are. Errors name the file.
    pub fn bytes(&self, fs: &impl Fs) -> Result<Vec<u8>, String> {
        match self {
            Source::Inline(bytes) => Ok(bytes.clone()),
            Source::File(path) => {
                read(fs, path, LIMIT).map_err(|e| format!("cannot read {}: {e}", path.display()))
            }
        }
    }
}

impl Access {
    /// Reads the current context of the kubeconfig at this path. Errors name the file and the line.
    pub fn load(fs: &impl Fs, path: &Path) -> Result<Access, String> {
        let named = |why: String| format!("cannot use {}: {why}", path.display());
        let bytes = read(fs, path, LIMIT).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
        let text = String::from_utf8(bytes).map_err(|_| named("it is not UTF-8 text".into()))?;
        Access::parse(&text, path.parent().unwrap_or(Path::new("/"))).map_err(named)
    }

    /// Reads the current context of a kubeconfig that lies in `dir`, to which its relative paths are.
    pub fn parse(text: &str, dir: &Path) -> Result<Access, String> {
        let root = Node::parse(text)?;
        let said = |key| root.get(key)?.map(Node::text).transpose();
        if let Some(kind) = said("kind")?.filter(|kind| *kind != "Config") {
            return Err(format!("it is a {kind}, not a kubeconfig"));
        }
        let current = said("current-context")?.filter(|name| !name.is_empty());
        let current = current.ok_or("it has no current-context")?;
        let context =
            named(&root, "contexts", "context", current)?.ok_or_else(|| missing("context", current))?;
        let of_context =
            |key| text_of(context, key)?.ok_or_else(|| format!("the context {current} has no {key}"));
        let cluster = of_context("cluster")?;
        let found =
            named(&root, "clusters", "cluster", cluster)?.ok_or_else(|| missing("cluster", cluster))?;
        // A context without a user is an anonymous one.
        let user = text_of(context, "user")?.unwrap_or_default();
        let credential = match named(&root, "users", "user", user)? {
            Some(user) => credential(user, dir)?,
            None if user.is_empty() => Credential::None,
            None => return Err(missing("user", user)),
        };
        Ok(Access {
            server: server(found, cluster)?,
            server_name: text_of(found, "tls-server-name")?.map(str::to_owned),
            authority: source(found, "certificate-authority", dir)?,
            insecure: found.get("insecure-skip-tls-verify")?.map_or(Ok(false), Node::bool)?,
            proxy: text_of(found, "proxy-url")?.map(str::to_owned),
            credential,
        })
    }
}

fn missing(what: &str, name: &str) -> String {
    format!("it names the {what} {name} and has none of that name")
}

/// The text of a key; an empty one is as good as none.
fn text_of<'a>(node: &'a Node, key: &str) -> Result<Option<&'a str>, String> {
    let text = node.get(key)?.map(Node::text).transpose()?;
    Ok(text.filter(|text| !text.is_empty()))
}

/// The member `part` of the item of this name in a list of named items.
fn named<'a>(root: &'a Node, list: &str, part: &str, name: &str) -> Result<Option<&'a Node>, String> {
    const NOTHING: &Node = &Node { line: 0, value: crate::yaml::Value::Null };
    let Some(items) = root.get(list)? else { return Ok(None) };
    let mut found = None;
    for item in items.list()? {
        if text_of(item, "name")? != Some(name) {
            continue;
        }
        if found.is_some() {
            return Err(format!("line {}: a second {part} is called {name}", item.line));
        }
        found = Some(item.get(part)?.unwrap_or(NOTHING));
    }
    Ok(found)
}

fn server(cluster: &Node, name: &str) -> Result<String, String> {
    let server = text_of(cluster, "server")?.ok_or_else(|| format!("the cluster {name} has no server"))?;
    let rest = server.strip_prefix("https://").or_else(|| server.strip_prefix("http://"));
    match rest.and_then(|rest| rest.split('/').next()) {
        Some(host) if !host.is_empty() && !host.contains(['@', ' ']) => {
            Ok(server.trim_end_matches('/').into())
        }
        _ => Err(format!("the server {server} of the cluster {name} is not of the form https://host:port")),
    }
}

/// Bytes that are given in the file (`key-data`, which go first) or by a path (`key`).
fn source(node: &Node, key: &str, dir: &Path) -> Result<Option<Source>, String> {
    let data = format!("{key}-data");
    if let Some(text) = text_of(node, &data)? {
        // Long values may be folded over several lines.
        let text: String = text.split_ascii_whitespace().collect();
        let bytes = STANDARD.decode(text).map_err(|e| {
            let line = node.get(&data).ok().flatten().map_or(node.line, |node| node.line);
            format!("line {line}: {data} is not base64 ({e})")
        })?;
        return Ok(Some(Source::Inline(bytes)));
    }
    Ok(text_of(node, key)?.map(|path| Source::File(dir.join(path))))
}

/// Ways to come that we cannot go, and what they are called.
const REFUSED: [(&str, &str); 7] = [
    ("exec", "a credential that a program makes (`exec`)"),
    ("auth-provider", "a credential that a plugin makes (`auth-provider`)"),
    ("username", "a user name and password"),
    ("password", "a user name and password"),
    ("as", "impersonation (`as`)"),
    ("as-uid", "impersonation (`as-uid`)"),
    ("as-groups", "impersonation (`as-groups`)"),
];

fn credential(user: &Node, dir: &Path) -> Result<Credential, String> {
    for (key, what) in REFUSED {
        if let Some(found) = user.get(key)? {
            return Err(format!("line {}: {what} cannot be used here", found.line));
        }
    }
    let (cert, key) = (source(user, "client-certificate", dir)?, source(user, "client-key", dir)?);
    match (cert, key) {
        (Some(cert), Some(key)) => return Ok(Credential::Certificate { cert, key }),
        (None, None) => {}
        (cert, _) => {
            let (there, absent) =
                if cert.is_some() { ("certificate", "key") } else { ("key", "certificate") };
            return Err(format!("line {}: a client {there} without a client {absent}", user.line));
        }
    }
    // client-go reads the file again and again, and goes back to the token only while it cannot.
    if let Some(path) = text_of(user, "tokenFile")? {
        return Ok(Credential::TokenFile(dir.join(path)));
    }
    Ok(text_of(user, "token")?.map_or(Credential::None, |token| Credential::Token(token.to_owned())))
}

#[cfg(test)]
mod tests;
