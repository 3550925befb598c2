//! Whether a machine lives. A processor that is emulated on a machine that others want too may stand still for minutes, and
//! its kernel take that for a fault; so limits count what the guest does, and a guest that does nothing has not failed: it has
//! said nothing.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::disk::Disk;

/// How long a guest may do nothing at all, by the clock outside.
const SILENCE: Duration = Duration::from_secs(120);
/// How long a boot may take by that clock, whatever the guest does meanwhile: a kernel that is locked up says so again and
/// again.
const BOOT: Duration = Duration::from_secs(300);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);
/// How a kernel says on its console that it stood still.
const LOCKUPS: [&[&str]; 4] = [&["soft lockup"], &["hard LOCKUP"], &["rcu", "stall"], &["rcu", "starved"]];

/// A guest gave no verdict: it stood still, or did not come to an answer within its own time. Says nothing of its disk.
#[derive(Debug, Clone)]
pub struct Stalled(pub String);

impl std::fmt::Display for Stalled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Stalled {}

/// The signs of life of a machine.
#[derive(Debug)]
pub struct Pulse {
    console: PathBuf,
    disk: Arc<Disk>,
    beats: AtomicU64,
}

impl Pulse {
    /// Of a machine with this console and disk, which is not up yet.
    pub fn new(console: PathBuf, disk: Arc<Disk>) -> Self {
        Self { console, disk, beats: AtomicU64::new(0) }
    }

    /// Notes a beat: the program inside sends one after each second of its own.
    pub fn beat(&self) {
        self.beats.fetch_add(1, Ordering::Relaxed);
    }

    /// How many there were: the guest's own time, in seconds in which it got something done.
    pub fn beats(&self) -> u64 {
        self.beats.load(Ordering::Relaxed)
    }

    /// What the kernel inside says of having stood still, the first time.
    pub fn lockup(&self) -> Option<String> {
        lockup(&self.console())
    }

    /// Everything that stands on the console.
    pub fn console(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.console).unwrap_or_default()).into_owned()
    }

    /// Waits for something that happens while the guest boots.
    ///
    /// # Errors
    ///
    /// The guest stands still, or takes too long.
    pub async fn while_it_boots<T>(
        &self,
        silence: Duration,
        work: impl Future<Output = T>,
    ) -> Result<T, Stalled> {
        let end = Instant::now() + BOOT;
        let written = || std::fs::metadata(&self.console).map_or(0, |metadata| metadata.len());
        let signs = || written() + self.disk.requests();
        let late = || (Instant::now() > end).then(|| format!("is not up after {BOOT:?}"));
        self.watch(silence, signs, late, work).await
    }

    /// Waits for something that the guest, which is up, needs at most this many beats for.
    ///
    /// # Errors
    ///
    /// The guest stands still, or needs more.
    pub async fn within<T>(
        &self,
        beats: u64,
        what: &str,
        work: impl Future<Output = T>,
    ) -> Result<T, Stalled> {
        let end = self.beats() + beats;
        let late =
            || (self.beats() > end).then(|| format!("gives no answer within {beats} s of its own: {what}"));
        self.watch(SILENCE, || self.beats(), late, work).await
    }

    async fn watch<T>(
        &self,
        silence: Duration,
        signs: impl Fn() -> u64,
        late: impl Fn() -> Option<String>,
        work: impl Future<Output = T>,
    ) -> Result<T, Stalled> {
        let mut work = std::pin::pin!(work);
        let (mut seen, mut since) = (signs(), Instant::now());
        loop {
            if let Ok(done) = tokio::time::timeout(LOOK, &mut work).await {
                return Ok(done);
            }
            let now = signs();
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
            let silent =
                (since.elapsed() > silence).then(|| format!("gives no sign of life for {silence:?}"));
            if let Some(why) = silent.or_else(&late) {
                return Err(self.stalled(&format!("the guest {why}")));
            }
        }
    }

    /// No verdict, for this reason; with what the kernel inside says of it.
    pub fn stalled(&self, why: &str) -> Stalled {
        let console = self.console();
        let kernel = lockup(&console).map(|line| format!("; its kernel: {line}")).unwrap_or_default();
        let last = console
            .lines()
            .next_back()
            .map(|line| format!("; last on its console: {line}"))
            .unwrap_or_default();
        Stalled(format!("{why}{kernel}{last}"))
    }
}

fn lockup(console: &str) -> Option<String> {
    let is_one = |line: &&str| LOCKUPS.iter().any(|words| words.iter().all(|word| line.contains(word)));
    console.lines().find(is_one).map(|line| line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_stood_still_is_known_by_what_it_says() {
        let said = [
            "[   49.1] watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [swapper/0:1]",
            "[   60.0] NMI watchdog: Watchdog detected hard LOCKUP on cpu 1",
            "[   23.0] rcu: INFO: rcu_preempt self-detected stall on CPU",
            "[   23.0] rcu: INFO: rcu_sched detected stalls on CPUs/tasks:",
            "[   44.2] rcu: rcu_preempt kthread starved for 5250 jiffies!",
        ];
        for line in said {
            assert_eq!(lockup(&format!("before\n{line}\nafter")).as_deref(), Some(line));
        }
        let others = "[    2.0] EXT4-fs error (device vda): ext4_lookup:1786: inode #2: comm edgekeep: deleted inode\n\
                      [    2.1] INFO: task jbd2/vda-8:66 blocked for more than 120 seconds.\n\
                      [    2.2] Kernel panic - not syncing: EXT4-fs (device vda): panic forced after error";
        assert_eq!(lockup(others), None);
    }

    fn pulse() -> Pulse {
        Pulse::new("/nonexistent".into(), Arc::new(Disk::new(Vec::new())))
    }

    #[tokio::test(start_paused = true)]
    async fn a_guest_that_beats_gets_as_many_as_it_was_given_and_one_that_does_not_gets_none() {
        let pulse = pulse();
        let beating = async {
            loop {
                tokio::time::sleep(Duration::from_secs(100)).await;
                pulse.beat();
            }
        };
        let never = std::future::pending::<()>();
        let began = Instant::now();
        let slow = tokio::select! {
            ended = pulse.within(5, "an answer", never) => ended.map_err(|e| e.0),
            () = beating => Ok(()),
        };
        assert_eq!(slow, Err("the guest gives no answer within 5 s of its own: an answer".into()));
        assert!(began.elapsed() > SILENCE * 4);
        let still = pulse.within(5, "an answer", std::future::pending::<()>()).await.map_err(|e| e.0);
        assert_eq!(still, Err("the guest gives no sign of life for 120s".into()));
        assert_eq!(pulse.within(0, "an answer", async { 7 }).await.map_err(|e| e.0), Ok(7));
    }
}
