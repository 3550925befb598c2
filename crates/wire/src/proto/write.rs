//! Writing protobuf: varints and fields, appended to a buffer.

/// Appends a varint.
pub fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(low_seven(value) | 0x80);
        value >>= 7;
    }
    out.push(low_seven(value));
}

/// How many bytes a varint takes: one to ten.
pub fn varint_len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Appends a field that holds a varint; negative numbers take ten bytes, as in proto2.
pub fn push_varint_field(out: &mut Vec<u8>, number: u32, value: u64) {
    push_varint(out, u64::from(number) << 3);
    push_varint(out, value);
}

/// Appends a length-delimited field.
pub fn push_bytes(out: &mut Vec<u8>, number: u32, content: &[u8]) {
    push_varint(out, u64::from(number) << 3 | 2);
    push_varint(out, content.len() as u64);
    out.extend_from_slice(content);
}

/// Appends a string field.
pub fn push_string(out: &mut Vec<u8>, number: u32, text: &str) {
    push_bytes(out, number, text.as_bytes());
}

/// Appends a field whose content `write` appends: its length is put in front when it is known.
pub fn push_message(out: &mut Vec<u8>, number: u32, write: impl FnOnce(&mut Vec<u8>)) {
    let start = begin(out, number);
    write(out);
    end(out, start);
}

/// Appends the tag of a length-delimited field and room for a short length; [`end`] puts the length there.
pub(crate) fn begin(out: &mut Vec<u8>, number: u32) -> usize {
    push_varint(out, u64::from(number) << 3 | 2);
    out.push(0);
    out.len()
}

/// Puts the length of all that was appended since [`begin`] in front of it.
pub(crate) fn end(out: &mut Vec<u8>, start: usize) {
    let len = out.len().saturating_sub(start);
    let more = varint_len(len as u64) - 1;
    if more > 0 {
        out.resize(out.len() + more, 0);
        out.copy_within(start..start + len, start + more);
    }
    let mut rest = len as u64;
    for (at, byte) in out.iter_mut().skip(start - 1).take(more + 1).enumerate() {
        *byte = low_seven(rest) | if at < more { 0x80 } else { 0 };
        rest >>= 7;
    }
}

#[allow(clippy::cast_possible_truncation, reason = "seven bits fit into a byte")]
fn low_seven(value: u64) -> u8 {
    (value & 0x7f) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_have_the_length_that_is_said() {
        for value in [0, 1, 127, 128, 300, 16_383, 16_384, u64::from(u32::MAX), u64::MAX >> 1, u64::MAX] {
            let mut out = Vec::new();
            push_varint(&mut out, value);
            assert_eq!(out.len(), varint_len(value), "{value}");
        }
    }

    #[test]
    fn a_long_message_is_moved_to_make_room_for_its_length() {
        for len in [0, 1, 127, 128, 16_383, 16_384, 3_000_000] {
            let mut out = vec![9];
            push_message(&mut out, 1, |out| out.extend(std::iter::repeat_n(5, len)));
            let mut expected = vec![9, 0x0a];
            push_varint(&mut expected, len as u64);
            expected.extend(std::iter::repeat_n(5, len));
            assert!(out == expected, "{len}");
        }
    }

    #[test]
    fn a_message_is_prefixed_with_its_length() {
        let mut out = vec![7];
        push_message(&mut out, 5, |out| push_string(out, 1, &"x".repeat(200)));
        assert_eq!(out.get(..6), Some(&[7, 0x2a, 0xcb, 0x01, 0x0a, 0xc8][..]));
        assert_eq!(out.len(), 1 + 3 + 203);
    }
}
