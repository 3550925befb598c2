//! Versions in protobuf.
//!
//! The request says which message stands in the envelope, not the type that the envelope names: what is of another one is
//! refused by the API server, and DeleteOptions come under the names of many groups or of none. Of fields that stand twice
//! each is changed, for a decoder makes one message of both.

use std::borrow::Cow;

use super::{Change, NotMapped, Place, is_none};
use crate::object::last_field;
use crate::proto::{FieldValue, Fields, MAGIC, Malformed, push_bytes};

/// The object with its versions changed.
pub(super) fn change<'a>(
    body: &'a [u8],
    places: &[Place],
    change: &mut dyn Change,
) -> Result<Cow<'a, [u8]>, NotMapped> {
    let envelope = body.strip_prefix(MAGIC).ok_or(Malformed("it does not begin with k8s\\0"))?;
    let mut changed = Cow::Borrowed(envelope);
    for place in places {
        if let Some(next) = message(&changed, place.numbers, change)? {
            changed = Cow::Owned(next);
        }
    }
    Ok(match changed {
        Cow::Borrowed(_) => Cow::Borrowed(body),
        Cow::Owned(envelope) => Cow::Owned([MAGIC, envelope.as_slice()].concat()),
    })
}

/// The message with the versions to which numbers lead changed; `None` if all stay.
fn message(bytes: &[u8], numbers: &[u32], change: &mut dyn Change) -> Result<Option<Vec<u8>>, NotMapped> {
    let Some((number, rest)) = numbers.split_first() else { return version(bytes, change) };
    if rest.is_empty() {
        change.enter(&|_, number| match last_field(bytes, number) {
            Some(FieldValue::Bytes(text)) => String::from_utf8_lossy(text).into_owned(),
            _ => String::new(),
        });
    }
    let (mut out, mut done) = (Vec::new(), 0);
    let mut fields = Fields::new(bytes);
    let mut start = 0;
    while let Some(field) = fields.next() {
        let end = fields.position();
        if let (own, FieldValue::Bytes(content)) = field?
            && own == *number
            && let Some(changed) = message(content, rest, change)?
        {
            out.extend_from_slice(bytes.get(done..start).unwrap_or_default());
            push_bytes(&mut out, own, &changed);
            done = end;
        }
        start = end;
    }
    if done == 0 {
        return Ok(None);
    }
    out.extend_from_slice(bytes.get(done..).unwrap_or_default());
    Ok(Some(out))
}

fn version(bytes: &[u8], change: &mut dyn Change) -> Result<Option<Vec<u8>>, NotMapped> {
    let version = String::from_utf8_lossy(bytes);
    if is_none(&version) {
        return Ok(None);
    }
    let changed = change.version(&version)?;
    Ok((changed != version).then(|| changed.into_bytes()))
}
