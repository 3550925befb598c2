//! Damage to files, as a bad disk does it.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::shuffle::Shuffle;

/// Damages every file below `directory`, but for locks: bytes are turned over, a stretch is zeroed, or the end is cut
/// off. Returns what was done.
///
/// # Errors
///
/// There is none, or it cannot be written.
pub fn strike(directory: &Path, shuffle: &mut Shuffle) -> Result<Vec<String>> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("no log to damage at {}", directory.display()))?;
    let mut paths: Vec<_> = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    // The order in which a directory tells its files is chance without a seed.
    paths.sort();
    let mut done = Vec::new();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name != "lock" && path.is_file() && path.metadata()?.len() > 0 {
            let what =
                strike_file(&path, shuffle).with_context(|| format!("cannot damage {}", path.display()))?;
            done.push(format!("{name} {what}"));
        }
    }
    if done.is_empty() {
        bail!("{} holds nothing to damage", directory.display());
    }
    Ok(done)
}

fn strike_file(path: &Path, shuffle: &mut Shuffle) -> Result<String> {
    let file = File::options().read(true).write(true).open(path)?;
    let length = usize::try_from(file.metadata()?.len())?;
    let at = |offset: usize| u64::try_from(offset);
    Ok(match shuffle.below(3) {
        0 => {
            let count = shuffle.below(64) + 1;
            for _ in 0..count {
                let (place, mut byte) = (at(shuffle.below(length))?, [0]);
                file.read_exact_at(&mut byte, place)?;
                file.write_all_at(&byte.map(|byte| byte ^ (1 << shuffle.below(8))), place)?;
            }
            format!("{count} of {length} bytes turned over")
        }
        1 => {
            let from = shuffle.below(length);
            let count = shuffle.below(length - from) + 1;
            file.write_all_at(&vec![0; count], at(from)?)?;
            format!("{count} of {length} bytes zeroed from {from} on")
        }
        _ => {
            let left = shuffle.below(length);
            file.set_len(at(left)?)?;
            format!("cut off after {left} of {length} bytes")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_but_the_lock_is_damaged_and_a_seed_does_the_same_again() {
        let directory = std::env::temp_dir().join(format!("edgekeep-damage-{}", std::process::id()));
        let mut seen = Vec::new();
        for _ in 0..2 {
            fs::create_dir_all(&directory).unwrap();
            for name in ["lock", "segment-1", "segment-2"] {
                fs::write(directory.join(name), [7; 500]).unwrap();
            }
            let done = strike(&directory, &mut Shuffle::new(3)).unwrap();
            assert_eq!(done.len(), 2, "{done:?}");
            assert_eq!(fs::read(directory.join("lock")).unwrap(), [7; 500]);
            assert_ne!(fs::read(directory.join("segment-1")).unwrap(), [7; 500]);
            seen.push(done);
            fs::remove_dir_all(&directory).unwrap();
        }
        assert_eq!(seen.first(), seen.last());
    }
}
