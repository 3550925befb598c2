//! A fleet that comes back as one: as many hubs as nodes before one API server, each with what its node did while the link was
//! cut, and with clients that behave as kubelet and kube-proxy do. What the API server saw of it, its own log says.
//!
//! The caller cuts and heals the link. It is told on stdout, a line of JSON for each step, when that may be done, and says on
//! stdin, by a line, that it is.

mod made;
mod member;

use std::future::Future;
use std::io::{BufRead as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::{Result, Target};
use member::Member;

/// So many hubs are started, or asked, at a time.
const ABREAST: usize = 16;
/// As long as anything may take.
const PATIENCE: Duration = Duration::from_secs(300);
/// The first of the ports of the hubs, two for each.
const PORTS: u16 = 12_000;

/// Plays `hubs` hubs of `program` below `dir`, where each has a directory `hub-N` with its node's kubeconfig. `admin` may do
/// everything; in the file `proxy` is kube-proxy's token.
pub(crate) async fn fleet(dir: &Path, program: &str, hubs: u32, admin: &str, proxy: &str) -> Result<()> {
    let admin = Target::connect(admin).await?;
    each((0..hubs).collect(), |at| made::node(admin.share(), at)).await?;
    let members = each((0..hubs).collect(), |at| {
        let (dir, program, proxy) = (dir.join(format!("hub-{at}")), program.to_owned(), proxy.to_owned());
        async move {
            let port = PORTS + 2 * u16::try_from(at)?;
            Member::start(&dir, &program, at, port, &proxy).await
        }
    })
    .await?;
    told(
        &json!({"step": "known", "memory": members.iter().map(Member::memory).collect::<Result<Vec<_>>>()?}),
    )?;

    heard("cut").await?;
    let members = each(members, |member| async move { member.judges(false).await.map(|()| member) }).await?;
    let members = each(members, Member::works).await?;
    let mut entries = 0;
    for member in &members {
        entries += member.figures().await?.waiting;
    }
    told(&json!({"step": "staged", "entries": entries}))?;

    heard("healed").await?;
    let began = Instant::now();
    let mut settling = JoinSet::new();
    for member in members {
        settling.spawn(async move { member.settles(began).await });
    }
    let (mut times, mut shown) = (Vec::new(), Vec::new());
    while let Some(settled) = settling.join_next().await {
        let (time, node) = settled??;
        times.push(time.as_millis());
        shown.push(node);
    }
    times.sort_unstable();
    std::fs::write(dir.join("shown.json"), Value::from(shown).to_string())?;
    let times: Vec<u64> = times.into_iter().filter_map(|time| time.try_into().ok()).collect();
    told(&json!({"step": "settled", "millis": times}))?;
    heard("looked").await
}

fn told(step: &Value) -> Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{step}")?;
    Ok(out.flush()?)
}

/// Waits for the caller's word, while what was begun goes on.
async fn heard(what: &str) -> Result<()> {
    let line = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).map(|_| line)
    });
    let line = line.await??;
    match line.trim() == what {
        true => Ok(()),
        false => Err(format!("{what} was to be said, not {line:?}").into()),
    }
}

/// Does something with each, a few at a time, and gives back what came of it, in any order.
async fn each<T, U, F>(items: Vec<T>, act: impl Fn(T) -> F) -> Result<Vec<U>>
where
    T: Send + 'static,
    U: Send + 'static,
    F: Future<Output = Result<U>> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(ABREAST));
    let mut tasks = JoinSet::new();
    for item in items {
        let (places, acting) = (places.clone(), act(item));
        tasks.spawn(async move {
            let _place = places.acquire().await?;
            acting.await
        });
    }
    let mut done = Vec::new();
    while let Some(one) = tasks.join_next().await {
        done.push(one??);
    }
    Ok(done)
}
