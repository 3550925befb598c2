//! The way back: what to do with a configuration that was adopted, from what was kept and what stands there now.
//!
//! Invariant: bytes that somebody else wrote since are kept, but for the one word that is ours.

use super::plan::{Change, ConfFile, FilePlan, understand};
use super::rules::{self, Finding, OURS, STOCK, Verdict};
use super::text;

/// A configuration as it was directly before and after its adoption.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Before.
    pub before: Vec<u8>,
    /// After.
    pub after: Vec<u8>,
    /// Its permissions.
    pub mode: u32,
}

/// Plans the way back of one configuration; `None` if it is none of ours.
pub fn undo(file: &ConfFile, kept: Option<&Kept>) -> Option<FilePlan> {
    let (verdict, text, new) = match &file.content {
        Ok(now) => match kept.filter(|kept| !names_us(&kept.before)) {
            Some(kept) if *now == kept.before => (Verdict::Done, "is as it was before".into(), None),
            Some(kept) if *now == kept.after => {
                let change = Change { old: now.clone(), new: kept.before.clone(), mode: kept.mode };
                (Verdict::Change, "becomes what it was before, byte for byte".into(), Some(change))
            }
            kept => take_out(file, now, kept.is_some())?,
        },
        Err(why) if kept.is_some() => (Verdict::Cannot, format!("left untouched: {why}"), None),
        Err(_) => return None,
    };
    Some(FilePlan {
        path: file.path.clone(),
        runtime: file.runtime,
        network: None,
        findings: vec![Finding { place: String::new(), verdict, text }],
        advice: Vec::new(),
        change: new,
    })
}

type Fate = (Verdict, String, Option<Change>);

/// Puts host-local back wherever our name stands, in text that is not what we left.
fn take_out(file: &ConfFile, now: &[u8], was_ours: bool) -> Option<Fate> {
    if !names_us(now) {
        let text = "was changed since and names edgekeep-ipam no more: left as it is";
        return was_ours.then(|| (Verdict::Done, text.into(), None));
    }
    let since = if was_ours { "was changed since: only" } else { "has no backup:" };
    Some(match without_us(now) {
        Ok(new) => {
            let change = Change { old: now.to_vec(), new, mode: file.mode };
            (Verdict::Change, format!("{since} `ipam.type` goes back to host-local"), Some(change))
        }
        Err(why) => {
            let text = format!("left untouched: {why}; put host-local where it says edgekeep-ipam, by hand");
            (Verdict::Cannot, text, None)
        }
    })
}

fn without_us(now: &[u8]) -> Result<Vec<u8>, String> {
    let edits = rules::ours(&understand(now)?);
    let mut text = String::from_utf8(now.to_vec()).map_err(|_| "it is not UTF-8 text")?;
    for edit in &edits {
        text = text::apply(&text, edit, STOCK)?;
    }
    if names_us(text.as_bytes()) {
        return Err("it names edgekeep-ipam in a place that is not understood".into());
    }
    Ok(text.into_bytes())
}

/// Whether our name stands anywhere in these bytes, also inside base64, in which libcni and Multus keep what they will
/// call at DEL.
pub fn names_us(bytes: &[u8]) -> bool {
    let holds =
        |needle: &[u8]| !needle.is_empty() && bytes.windows(needle.len()).any(|window| window == needle);
    holds(OURS.as_bytes()) || (0..3).any(|offset| holds(&base64_core(OURS.as_bytes(), offset)))
}

/// The characters of base64 that depend on nothing but `needle`, when `offset` bytes (modulo 3) stand before it.
fn base64_core(needle: &[u8], offset: usize) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits = |at: usize| -> Option<bool> {
        let byte = needle.get((at / 8).checked_sub(offset)?)?;
        Some(byte >> (7 - at % 8) & 1 == 1)
    };
    (0..(offset + needle.len()) * 8 / 6)
        .filter_map(|char| {
            let value = (char * 6..char * 6 + 6)
                .try_fold(0, |value, at| bits(at).map(|bit| value << 1 | usize::from(bit)))?;
            ALPHABET.get(value).copied()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_name_is_seen_in_base64_wherever_it_begins() {
        // {"ipam":{"type":"edgekeep-ipam"}} and the same with one and two blanks before it.
        for text in [
            "eyJpcGFtIjp7InR5cGUiOiJlZGdla2VlcC1pcGFtIn19",
            "IHsiaXBhbSI6eyJ0eXBlIjoiZWRnZWtlZXAtaXBhbSJ9fQ==",
            "ICB7ImlwYW0iOnsidHlwZSI6ImVkZ2VrZWVwLWlwYW0ifX0=",
        ] {
            assert!(names_us(format!("{{\"config\":\"{text}\"}}").as_bytes()), "{text}");
        }
        assert!(names_us(br#"{"ipam":{"type":"edgekeep-ipam"}}"#));
        assert!(!names_us(
            br#"{"ipam":{"type":"host-local"},"config":"eyJpcGFtIjp7InR5cGUiOiJob3N0LWxvY2FsIn19"}"#
        ));
    }
}
