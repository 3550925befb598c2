//! Health and figures on a loopback address, and the hub's standing on a Unix socket for the operator's commands.

use std::convert::Infallible;
use std::future::ready;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use node::doctor::Boot;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};

use crate::error::{Error, Result};
use crate::reads::Reads;
use crate::standing::{Check, Standing};
use crate::waiting;

/// Who may be connected at a time; one more waits.
const CONNECTIONS: usize = 16;
/// The longest body of a request.
const BODY: usize = 16 << 10;
/// Before the name of something that waits, the path of its content.
const ENTRY: &str = "/outbox/";
/// How long a client may take for the head of its request.
const HEAD: Duration = Duration::from_secs(5);
/// How long nobody is accepted after the system had no more file descriptors or memory.
const PAUSE: Duration = Duration::from_millis(100);
/// The members of this group may ask the hub for its standing.
const GROUP: &str = "edgekeep";

/// What is asked here.
pub trait Source: Send + Sync + 'static {
    /// How the hub stands.
    fn standing(&self) -> Standing;
    /// What a boot without the cloud would find. Takes its time.
    fn boot(&self) -> Boot;
    /// What waits for the cloud.
    fn reads(&self) -> &Arc<Reads>;
    /// Its figures, in Prometheus' text format.
    fn figures(&self) -> String;
}

/// Serves health and figures; figures only to who brings the token `token`.
pub async fn serve(
    listener: TcpListener,
    source: Arc<dyn Source>,
    token: Arc<str>,
    stopping: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Some(accepted) = next(listener.accept(), &places, &stopping).await else { return };
        let Some((stream, place)) = accepted else { continue };
        let (source, token) = (source.clone(), token.clone());
        tokio::spawn(async move {
            let _place = place;
            talk(stream, move |request| ready(answer(&request, source.as_ref(), &token))).await;
        });
    }
}

/// Serves the operator's commands on a Unix socket, whose mode says who may ask.
pub async fn serve_admin(listener: UnixListener, source: Arc<dyn Source>, stopping: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Some(accepted) = next(listener.accept(), &places, &stopping).await else { return };
        let Some((stream, place)) = accepted else { continue };
        let source = source.clone();
        let uid = stream.peer_cred().ok().map(|peer| peer.uid());
        tokio::spawn(async move {
            let _place = place;
            talk(stream, move |request| admin(request, source.clone(), uid)).await;
        });
    }
}

/// The next connection and its place, nothing if it could not be accepted; `None` when the hub is about to stop.
async fn next<S, A>(
    accepting: impl Future<Output = std::io::Result<(S, A)>>,
    places: &Arc<Semaphore>,
    stopping: &watch::Receiver<bool>,
) -> Option<Option<(S, tokio::sync::OwnedSemaphorePermit)>> {
    let mut stopping = stopping.clone();
    let place = places.clone().acquire_owned().await.ok()?;
    let accepted = tokio::select! {
        accepted = accepting => accepted,
        _ = stopping.wait_for(|stopping| *stopping) => return None,
    };
    match accepted {
        Ok((stream, _)) => Some(Some((stream, place))),
        Err(e) => {
            tracing::warn!("health or admin: cannot accept connections: {e}");
            tokio::time::sleep(PAUSE).await;
            Some(None)
        }
    }
}

async fn talk<S: AsyncRead + AsyncWrite + Unpin, A: Future<Output = Response<Full<Bytes>>>>(
    stream: S,
    answer: impl Fn(Request<Incoming>) -> A,
) {
    let service = service_fn(|request| {
        let answering = answer(request);
        async move { Ok::<_, Infallible>(answering.await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(16 << 10)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(e) = served {
        tracing::debug!("health or admin: {e}");
    }
}

fn answer(request: &Request<Incoming>, source: &dyn Source, token: &str) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
    }
    match request.uri().path() {
        // That this is answered is all that it says.
        "/livez" | "/healthz" => text(StatusCode::OK, "ok\n"),
        "/readyz" => readiness(&source.standing().checks()),
        "/metrics" => {
            let brought = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
            if !brought.is_some_and(|brought| is_token(brought, token)) {
                return text(
                    StatusCode::UNAUTHORIZED,
                    "a bearer token is needed: see metrics.token in the state directory\n",
                );
            }
            let mut response = text(StatusCode::OK, source.figures());
            let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
            response.headers_mut().insert(CONTENT_TYPE, kind);
            response
        }
        _ => text(StatusCode::NOT_FOUND, "here are /livez, /readyz and /metrics\n"),
    }
}

/// Each check on a line, as Kubernetes' own components do.
fn readiness(checks: &[Check]) -> Response<Full<Bytes>> {
    let ready = checks.iter().all(|check| check.warns || check.failed.is_none());
    let mut out = String::new();
    for check in checks {
        match &check.failed {
            None => out += &format!("[+]{} ok: {}\n", check.name, check.detail),
            Some(why) if check.warns => out += &format!("[!]{} warns: {why}\n", check.name),
            Some(why) => out += &format!("[-]{} failed: {why}\n", check.name),
        }
    }
    out += if ready { "readyz check passed\n" } else { "readyz check failed\n" };
    text(if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, out)
}

/// Compares in a time that does not tell how much was right.
fn is_token(brought: &[u8], token: &str) -> bool {
    let Some((scheme, rest)) = brought.split_at_checked(7) else { return false };
    let same_length = rest.len() == token.len();
    let differs = rest.iter().zip(token.bytes()).fold(0, |differs, (a, b)| differs | (a ^ b));
    scheme.eq_ignore_ascii_case(b"bearer ") && same_length && differs == 0
}

async fn admin(
    request: Request<Incoming>,
    source: Arc<dyn Source>,
    uid: Option<u32>,
) -> Response<Full<Bytes>> {
    let json = match (request.method(), request.uri().path()) {
        (&Method::GET, "/status") => source.standing().to_json(),
        (&Method::GET, "/outbox") => waiting::list(source.reads()),
        (&Method::POST, "/outbox/drop") => {
            let body = match Limited::new(request.into_body(), BODY).collect().await {
                Ok(body) => body.to_bytes(),
                Err(e) => return text(StatusCode::BAD_REQUEST, format!("{e}\n")),
            };
            match waiting::drop(source.reads(), &body, uid).await {
                Ok(json) => json,
                Err((code, why)) => return text(code, why + "\n"),
            }
        }
        (&Method::GET, path) if path.starts_with(ENTRY) => {
            match waiting::content(source.reads(), path.trim_start_matches(ENTRY)) {
                Ok(json) => json,
                Err((code, why)) => return text(code, why + "\n"),
            }
        }
        (&Method::GET, "/boot") => {
            // Beside the clients, who are served by one thread.
            match tokio::task::spawn_blocking(move || source.boot().to_json()).await {
                Ok(json) => json,
                Err(e) => return text(StatusCode::INTERNAL_SERVER_ERROR, format!("{e}\n")),
            }
        }
        (&Method::GET, "/settle") => source.reads().settling_document(),
        (&Method::GET, "/settle/plan") => {
            let reads = source.reads().clone();
            reads.settling_plan().await
        }
        _ => {
            return text(
                StatusCode::NOT_FOUND,
                "here are /status, /boot, /outbox, /settle and /settle/plan\n",
            );
        }
    };
    let mut response = text(StatusCode::OK, json.to_string());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn text(code: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// Makes the Unix socket at `path`, for root and the group `edgekeep`, in place of one that a dead hub left.
///
/// # Errors
///
/// It cannot be made.
pub fn bind_admin(path: &Path) -> Result<std::os::unix::net::UnixListener> {
    let wrong = |e| Error::file("cannot make the socket", path, e);
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(wrong)?;
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(Error::new(format!("another hub answers at {}", path.display())));
    }
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(wrong(e)),
        _ => {}
    }
    let listener = std::os::unix::net::UnixListener::bind(path).map_err(wrong)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).map_err(wrong)?;
    if let Some(group) = group_id(GROUP)
        && let Err(e) = std::os::unix::fs::chown(path, None, Some(group))
    {
        tracing::warn!("{} stays with the group of the process: {e}", path.display());
    }
    Ok(listener)
}

/// The number of a group of this machine.
fn group_id(name: &str) -> Option<u32> {
    let groups = std::fs::read_to_string("/etc/group").ok()?;
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn p9_what_only_warns_leaves_the_hub_ready() {
        let check = |name, failed: Option<&str>, warns| Check {
            name,
            detail: String::new(),
            failed: failed.map(str::to_owned),
            warns,
        };
        let warning = check("outbox", Some("nearly full"), true);
        let response = readiness(&[check("cloud", None, false), warning.clone()]);
        assert_eq!(response.status(), StatusCode::OK);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "[+]cloud ok: \n[!]outbox warns: nearly full\nreadyz check passed\n");
        let broken = readiness(&[check("store", Some("no room"), false), warning]);
        assert_eq!(broken.status(), StatusCode::SERVICE_UNAVAILABLE);
    }

    #[test]
    fn p8_only_the_very_token_opens_the_figures() {
        assert!(is_token(b"Bearer abc", "abc"));
        assert!(is_token(b"bearer abc", "abc"));
        for wrong in
            ["Bearer abd", "Bearer ab", "Bearer abcd", "Bearer ", "", "Basic abc", "abc", "Bearerabc"]
        {
            assert!(!is_token(wrong.as_bytes(), "abc"), "{wrong}");
        }
    }
}
