//! The checksum of all formats: CRC-32 as in Ethernet and zip (ISO HDLC).
//!
//! By a table of 1 KB: the faster ways bring 20 KB of tables and code to a plugin that sums up a few hundred bytes. The
//! object log, which the plugin does not have, sums up megabytes and takes the larger table.

use crc::{CRC_32_ISO_HDLC, Crc, Table};

static CRC: Crc<u32, Table<1>> = Crc::<u32, Table<1>>::new(&CRC_32_ISO_HDLC);
static BULK: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISO_HDLC);

/// The checksum of all parts, one behind the other.
pub(crate) fn of(parts: &[&[u8]]) -> u32 {
    let mut digest = CRC.digest();
    parts.iter().for_each(|part| digest.update(part));
    digest.finalize()
}

/// The same checksum, for much data at once.
pub(crate) fn bulk(parts: &[&[u8]]) -> u32 {
    let mut digest = BULK.digest();
    parts.iter().for_each(|part| digest.update(part));
    digest.finalize()
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_is_the_crc_that_everybody_knows() {
        assert_eq!(super::of(&[b"1234", b"56789"]), 0xcbf4_3926);
        assert_eq!(super::bulk(&[b"1234", b"56789"]), 0xcbf4_3926);
    }
}
