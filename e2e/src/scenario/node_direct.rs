//! A real node without any hub: the day of a node when everything goes straight to the API server, twice, which shows
//! that two days can be compared; and every verb of the link shown to do what it says.

use anyhow::Result;

use crate::checks::Checks;
use crate::cloud;
use crate::cluster::Cluster;
use crate::run_dir::RunDir;
use crate::scenario::{Options, day, link};
use crate::verdict::none_of;

/// Plays it in `dir`.
///
/// # Errors
///
/// Something that is not a check failed.
pub async fn run(dir: &RunDir, options: &Options, checks: &mut Checks) -> Result<()> {
    let mut cluster = Cluster::set_up(dir, options, "node-direct", cloud::Options::default(), checks).await?;
    let played = play(&mut cluster).await;
    cluster.close(played)
}

async fn play(cluster: &mut Cluster<'_>) -> Result<()> {
    let access = cluster.cloud.access().clone();
    cluster.join(&access).await?;
    cluster.stage.check("join", "the node is ready", Ok("with a certificate of its own".to_owned()));
    let first = day::spend(cluster, &access).await?;
    let noted = first.keep(&cluster.stage.keepsakes(), access.name)?;
    cluster.stage.check("a day", "everything goes as it should", Ok(noted));
    let second = day::spend(cluster, &access).await?;
    let same = none_of(&first.differences(&second), format!("{} answers", first.len()));
    cluster.stage.check("a second day", "clients are answered the same, field by field", same);
    link::play(cluster).await
}
