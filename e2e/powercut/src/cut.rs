//! What a disk holds after a power cut: all that was written before the last flush, and of the rest anything.

use testkit::rng::Rng;

use crate::disk::Entry;

/// A disk writes a sector whole or not at all; more it does not promise.
const SECTOR: usize = 512;
/// The blocks of the node's file system.
pub const BLOCK: usize = 1024;
/// Where ext4 has its superblock.
const SUPERBLOCK: usize = 1024;
/// How the blocks of ext4's journal begin that are neither data nor forgotten ones (linux/jbd2.h: `JBD2_MAGIC_NUMBER`).
const JOURNAL: [u8; 4] = [0xc0, 0x3b, 0x39, 0x98];
/// In how many of 100 cases a write that was not flushed arrives; drawn once for a cut, so that some lose nearly all
/// and some next to nothing.
const MOODS: [u64; 5] = [0, 20, 50, 80, 100];
/// In how many of 100 cases such a write arrives in parts.
const TORN: u64 = 25;

/// What became of the writes that no flush had covered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fates {
    /// They are all there.
    pub kept: usize,
    /// Some of their sectors are there.
    pub torn: usize,
    /// They never happened.
    pub lost: usize,
}

/// The content of a disk that held `base`, then saw `log`, and lost power.
pub fn content(base: &[u8], log: &[Entry], rng: &mut Rng) -> (Vec<u8>, Fates) {
    let mut content = base.to_vec();
    let flushed = log.iter().rposition(|entry| *entry == Entry::Flush).unwrap_or(0);
    let (durable, open) = log.split_at(flushed);
    for entry in durable {
        if let Entry::Write { at, data, .. } = entry {
            put(&mut content, *at, data);
        }
    }
    let mut fates = Fates::default();
    let mood = *rng.pick(&MOODS);
    for entry in open {
        let Entry::Write { at, data, through } = entry else { continue };
        if *through {
            put(&mut content, *at, data);
        } else if rng.chance(TORN) {
            fates.torn += 1;
            for (number, block) in data.chunks(BLOCK).enumerate() {
                let piece = if arrives_whole(at + number * BLOCK, block) { BLOCK } else { SECTOR };
                for (part, sectors) in block.chunks(piece).enumerate() {
                    if rng.chance(50) {
                        put(&mut content, at + number * BLOCK + part * SECTOR, sectors);
                    }
                }
            }
        } else if rng.chance(mood) {
            fates.kept += 1;
            put(&mut content, *at, data);
        } else {
            fates.lost += 1;
        }
    }
    (content, fates)
}

/// Whether ext4 counts on this block to arrive as a whole: it has a checksum, and Linux 6.1 mounts no disk on which that is wrong
/// (of a commit block later kernels do). To tear it would judge the guest's kernel.
fn arrives_whole(at: usize, block: &[u8]) -> bool {
    at == SUPERBLOCK || block.starts_with(&JOURNAL)
}

fn put(content: &mut [u8], at: usize, data: &[u8]) {
    if let Some(place) = content.get_mut(at..at + data.len()) {
        place.copy_from_slice(data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEDS: std::ops::Range<u64> = 0..200;

    fn write(at: usize, byte: u8, sectors: usize) -> Entry {
        Entry::Write { at: at * SECTOR, data: vec![byte; sectors * SECTOR].into(), through: false }
    }

    /// The first byte of each sector.
    fn sectors(content: &[u8]) -> Vec<u8> {
        let firsts = content.chunks(SECTOR).map(|sector| {
            assert!(sector.iter().all(|byte| *byte == sector[0]), "a sector is torn inside");
            sector[0]
        });
        firsts.collect()
    }

    fn after(log: &[Entry], seed: u64) -> (Vec<u8>, Fates) {
        let (content, fates) = content(&[0; 4 * SECTOR], log, &mut Rng::new(seed));
        (sectors(&content), fates)
    }

    #[test]
    fn what_was_flushed_is_there_whatever_befalls_the_rest() {
        let log = [write(0, 1, 2), write(1, 2, 1), Entry::Flush, write(2, 3, 2)];
        for seed in SEEDS {
            assert_eq!(after(&log, seed).0[..2], [1, 2]);
        }
        assert_eq!(after(&log[..3], 0), (vec![1, 2, 0, 0], Fates::default()));
    }

    #[test]
    fn of_what_was_not_flushed_any_write_may_be_there_without_those_before_it() {
        let log = [Entry::Flush, write(0, 1, 1), write(1, 2, 1)];
        let seen: std::collections::BTreeSet<_> =
            SEEDS.map(|seed| after(&log, seed).0[..2].to_vec()).collect();
        assert_eq!(seen.len(), 4, "{seen:?}");
    }

    #[test]
    fn a_later_write_to_the_same_place_is_never_undone_by_an_earlier_one() {
        let log = [Entry::Flush, write(0, 1, 1), Entry::Flush, write(0, 2, 1), write(0, 3, 1)];
        let seen: std::collections::BTreeSet<_> = SEEDS.map(|seed| after(&log, seed).0[0]).collect();
        assert_eq!(Vec::from_iter(seen), [1, 2, 3]);
    }

    #[test]
    fn a_write_may_be_torn_between_its_sectors_and_never_within_one() {
        let log = [write(0, 1, 4)];
        let torn = |(sectors, fates): &(Vec<u8>, Fates)| {
            fates.torn == 1 && sectors.contains(&0) && sectors.contains(&1)
        };
        assert!(SEEDS.map(|seed| after(&log, seed)).any(|seen| torn(&seen)));
    }

    #[test]
    fn what_the_guests_file_system_counts_on_is_not_torn() {
        let mut commit = vec![1; BLOCK];
        commit[..JOURNAL.len()].copy_from_slice(&JOURNAL);
        for (at, block) in [(0, commit), (SUPERBLOCK, vec![1; BLOCK])] {
            let log = [Entry::Write { at, data: block.clone().into(), through: false }];
            for seed in SEEDS {
                let (disk, _) = content(&[0; 4 * SECTOR], &log, &mut Rng::new(seed));
                let there = &disk[at..at + BLOCK];
                assert!(there == block || there.iter().all(|byte| *byte == 0), "seed {seed}");
            }
        }
    }

    #[test]
    fn a_write_through_is_there_though_nothing_was_flushed() {
        let through = Entry::Write { at: 0, data: vec![9; SECTOR].into(), through: true };
        for seed in SEEDS {
            assert_eq!(after(&[write(1, 1, 1), through.clone()], seed).0[0], 9);
        }
    }

    #[test]
    fn the_same_seed_cuts_the_same_way() {
        let log: Vec<Entry> = (0..4).map(|at| write(at, 1, 1)).collect();
        assert_eq!(after(&log, 5), after(&log, 5));
    }
}
