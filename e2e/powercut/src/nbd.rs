//! The disk as QEMU sees it: a server of the network block device protocol, old-style, for one connection.
//!
//! QEMU's own `blklogwrites` would record the same. Here the record lies in the process that also hears what the guest
//! promises, so both stand in one order, and one recording can be cut at any of its entries.
//! The protocol: <https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md>.

// The protocol counts from the high end.
#![allow(clippy::big_endian_bytes)]

use std::io::{self, ErrorKind, Read, Write};

use crate::disk::Disk;

const OLD_STYLE: &[u8; 8] = b"NBDMAGIC";
const OLD_STYLE_NEXT: u64 = 0x0000_4202_8186_1253;
const REQUEST: u32 = 0x2560_9513;
const REPLY: u32 = 0x6744_6698;
/// There are flags; a flush can be asked for; so can a write that is durable when it is answered.
const ABILITIES: u32 = 1 | 1 << 2 | 1 << 3;
const FUA: u16 = 1;
const EINVAL: u32 = 22;
/// No request of QEMU's is longer.
const LONGEST: usize = 64 << 20;

struct Request {
    flags: u16,
    what: u16,
    cookie: u64,
    at: usize,
    length: usize,
}

/// Serves `disk` until the other side is done. Requests are answered in their order: what a flush follows, it covers.
///
/// # Errors
///
/// The other side does not speak the protocol, or is gone in the middle of a request.
pub fn serve(disk: &Disk, peer: &mut (impl Read + Write)) -> io::Result<()> {
    greet(disk, peer)?;
    while let Some(request) = next(peer)? {
        let Request { flags, what, cookie, at, length } = request;
        let mut answered = Ok(Vec::new());
        match what {
            0 => answered = disk.read(at, length).ok_or(EINVAL),
            1 => {
                let mut data = vec![0; length];
                peer.read_exact(&mut data)?;
                if !disk.write(at, data.into(), flags & FUA != 0) {
                    answered = Err(EINVAL);
                }
            }
            2 => return Ok(()),
            3 => disk.flush(),
            _ => answered = Err(EINVAL),
        }
        let (error, data) = answered.map_or_else(|error| (error, Vec::new()), |data| (0, data));
        let mut reply = Vec::with_capacity(16 + data.len());
        reply.extend(REPLY.to_be_bytes());
        reply.extend(error.to_be_bytes());
        reply.extend(cookie.to_be_bytes());
        reply.extend(data);
        peer.write_all(&reply)?;
    }
    Ok(())
}

fn greet(disk: &Disk, peer: &mut impl Write) -> io::Result<()> {
    let mut greeting = OLD_STYLE.to_vec();
    greeting.extend(OLD_STYLE_NEXT.to_be_bytes());
    greeting.extend((disk.len() as u64).to_be_bytes());
    greeting.extend(ABILITIES.to_be_bytes());
    greeting.extend([0; 124]);
    peer.write_all(&greeting)
}

/// The next request; `None` where the connection has ended between two.
fn next(peer: &mut impl Read) -> io::Result<Option<Request>> {
    let mut head = [0; 28];
    match peer.read_exact(&mut head) {
        Err(e) if matches!(e.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => {
            return Ok(None);
        }
        other => other?,
    }
    let [m0, m1, m2, m3, f0, f1, w0, w1, rest @ ..] = head;
    let [c0, c1, c2, c3, c4, c5, c6, c7, a0, a1, a2, a3, a4, a5, a6, a7, l0, l1, l2, l3] = rest;
    let wrong =
        |what: &str| io::Error::new(ErrorKind::InvalidData, format!("no request of a block device: {what}"));
    if u32::from_be_bytes([m0, m1, m2, m3]) != REQUEST {
        return Err(wrong("its magic"));
    }
    let at = u64::from_be_bytes([a0, a1, a2, a3, a4, a5, a6, a7]);
    let length = u32::from_be_bytes([l0, l1, l2, l3]);
    let length = usize::try_from(length).ok().filter(|length| *length <= LONGEST);
    Ok(Some(Request {
        flags: u16::from_be_bytes([f0, f1]),
        what: u16::from_be_bytes([w0, w1]),
        cookie: u64::from_be_bytes([c0, c1, c2, c3, c4, c5, c6, c7]),
        at: usize::try_from(at).map_err(|_| wrong("its offset"))?,
        length: length.ok_or_else(|| wrong("its length"))?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Entry;

    /// A peer that says what stands in `says` and keeps what it hears.
    struct Peer {
        says: io::Cursor<Vec<u8>>,
        hears: Vec<u8>,
    }

    impl Read for Peer {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.says.read(buf)
        }
    }

    impl Write for Peer {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            self.hears.write(buf)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn request(flags: u16, what: u16, at: u64, length: u32) -> Vec<u8> {
        let mut head = REQUEST.to_be_bytes().to_vec();
        head.extend(flags.to_be_bytes());
        head.extend(what.to_be_bytes());
        head.extend(7_u64.to_be_bytes());
        head.extend(at.to_be_bytes());
        head.extend(length.to_be_bytes());
        head
    }

    fn served(disk: &Disk, says: Vec<u8>) -> (io::Result<()>, Vec<u8>) {
        let mut peer = Peer { says: io::Cursor::new(says), hears: Vec::new() };
        let served = serve(disk, &mut peer);
        (served, peer.hears.split_off(152))
    }

    fn reply(error: u32, data: &[u8]) -> Vec<u8> {
        let mut reply = REPLY.to_be_bytes().to_vec();
        reply.extend(error.to_be_bytes());
        reply.extend(7_u64.to_be_bytes());
        reply.extend(data);
        reply
    }

    #[test]
    fn writes_and_flushes_are_remembered_in_their_order_and_reads_see_them() {
        let disk = Disk::new(vec![0; 2048]);
        let mut says = request(0, 1, 512, 3);
        says.extend(b"abc");
        says.extend(request(0, 3, 0, 0));
        says.extend(request(FUA, 1, 513, 1));
        says.extend(b"x");
        says.extend(request(0, 0, 511, 5));
        says.extend(request(0, 2, 0, 0));
        let (served, heard) = served(&disk, says);
        served.unwrap();
        assert_eq!(heard, [reply(0, b""), reply(0, b""), reply(0, b""), reply(0, b"\0axc\0")].concat());
        let write = |at, data: &[u8], through| Entry::Write { at, data: data.into(), through };
        assert_eq!(disk.take_log(), [write(512, b"abc", false), Entry::Flush, write(513, b"x", true)]);
        assert_eq!(disk.position(), 0);
    }

    #[test]
    fn what_lies_beyond_the_end_is_refused_and_changes_nothing() {
        let disk = Disk::new(vec![0; 1024]);
        let mut says = request(0, 1, 1023, 2);
        says.extend(b"ab");
        says.extend(request(0, 0, u64::MAX, 1));
        says.extend(request(0, 4, 0, 512));
        let (served, heard) = served(&disk, says);
        served.unwrap();
        assert_eq!(heard, [reply(EINVAL, b""), reply(EINVAL, b""), reply(EINVAL, b"")].concat());
        assert_eq!((disk.position(), disk.read(1023, 1)), (0, Some(vec![0])));
    }

    #[test]
    fn a_peer_that_speaks_otherwise_or_breaks_off_is_an_error_and_no_panic() {
        let disk = Disk::new(vec![0; 1024]);
        assert!(served(&disk, vec![1; 28]).0.is_err());
        assert!(served(&disk, request(0, 1, 0, u32::MAX)).0.is_err());
        assert!(served(&disk, request(0, 1, 0, 512)).0.is_err());
        assert_eq!(disk.position(), 0);
    }
}
