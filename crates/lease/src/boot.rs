//! Whether a lease file can be from an earlier boot.
//!
//! A file whose container nobody recorded may belong to a sandbox that runs now (stock host-local ran before us) or to
//! one that ended with an earlier boot. A marker made at boot, before any runtime started, tells them apart by age,
//! as long as the clock has not been set since.

use std::io;
use std::path::Path;

use durable::fs::{self, File, Fs, Open, Stamp};

use crate::store::Now;

/// Name of the marker in the run directory.
pub const MARKER: &str = "boot-marker";
/// How far two readings of one clock may lie apart, in seconds.
const SLACK: i64 = 2;

/// When this boot began, by both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marker {
    wall: i64,
    uptime: i64,
}

impl Marker {
    /// Makes the marker, unless this boot has one: a later one would make leases of this boot look older than it. Only
    /// the truth if no container runtime has been started under this boot.
    pub fn make<F: Fs>(fs: &F, run: &Path, now: &Now) -> io::Result<()> {
        if Marker::read(fs, run, now).is_some() {
            return Ok(());
        }
        fs.create_dir_all(run, 0o755)?;
        let file = fs.open(&run.join(MARKER), Open::Create(0o644))?;
        let text = format!("{} {} {}\n", now.boot, now.wall, now.uptime);
        file.set_len(0)?;
        file.write_at(text.as_bytes(), 0)
    }

    /// The marker of this boot, if one was made.
    pub fn read<F: Fs>(fs: &F, run: &Path, now: &Now) -> Option<Marker> {
        let text = String::from_utf8(fs::read(fs, &run.join(MARKER), 256).ok()?).ok()?;
        let mut words = text.split_whitespace();
        let (boot, wall, uptime) = (words.next()?, words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        (boot == now.boot).then_some(Marker { wall, uptime })
    }

    /// Whether a file of this age was certainly made under an earlier boot.
    pub fn is_older(&self, mtime: Stamp, now: &Now) -> bool {
        let uptime = i64::try_from(now.uptime).unwrap_or(i64::MAX);
        let drift = now.wall.saturating_sub(uptime).saturating_sub(self.wall.saturating_sub(self.uptime));
        drift.abs() <= SLACK && mtime.secs < self.wall.saturating_sub(SLACK)
    }
}
