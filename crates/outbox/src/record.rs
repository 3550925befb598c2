//! Entries as they are stored: `docs/formats/outbox-records.md`.

use std::sync::Arc;

use serde_json::{Value, json};
use view::{Identity, Key, ResourceId};

use crate::entry::{Base, Entry, Id, Named, What, Writer};

/// Version of the format.
const VERSION: u64 = 1;

/// The key of an entry's record.
pub(crate) fn key(id: &Id) -> Vec<u8> {
    let Named { resource, key, uid, writer } = &**id;
    let (group, version, name) = (resource.group(), resource.version(), resource.resource());
    let writer = match writer {
        Writer::Kubelet => "k".to_owned(),
        Writer::Daemon(who) => format!("d{}", who.as_str()),
    };
    format!("{group}\0{version}\0{name}\0{}\0{uid}\0{writer}", key.as_str()).into_bytes()
}

/// The entry that a record of this key is of.
pub(crate) fn id(key: &[u8]) -> Option<Id> {
    let text = std::str::from_utf8(key).ok()?;
    let mut parts = text.splitn(6, '\0');
    let (group, version, name) = (parts.next()?, parts.next()?, parts.next()?);
    let (place, uid, writer) = (Key::from_text(parts.next()?), parts.next()?, parts.next()?);
    let writer = match (writer, writer.strip_prefix('d')) {
        ("k", _) => Writer::Kubelet,
        (_, Some(who)) => Writer::Daemon(Identity::new(who)),
        _ => return None,
    };
    let resource = ResourceId::new(group, version, name, place.namespace());
    Some(Id::new(resource, place, uid, writer))
}

/// The value of an entry's record: a line of JSON, then the content.
pub(crate) fn value(entry: &Entry, content: &[u8]) -> Vec<u8> {
    let Entry { id, base, what, since, last, boot, writes, size: _ } = entry;
    let resource = [id.resource.group(), id.resource.version(), id.resource.resource()];
    let writer = match &id.writer {
        Writer::Kubelet => Value::Null,
        Writer::Daemon(who) => who.as_str().into(),
    };
    let what = match what {
        What::State => json!({"kind": "state"}),
        What::Finished { gone } => json!({"kind": "finished", "gone": gone}),
        What::Members { annotations, conditions } => {
            json!({"kind": "members", "annotations": annotations, "conditions": conditions})
        }
        What::Object => json!({"kind": "object"}),
        What::Event { names } => json!({"kind": "event", "names": names}),
    };
    let head = json!({
        "version": VERSION, "resource": resource, "key": id.key.as_str(), "uid": &*id.uid, "daemon": writer,
        "base": {"resourceVersion": base.rv, "generation": base.generation}, "what": what, "since": since,
        "last": last, "boot": &**boot, "writes": writes,
    });
    [head.to_string().as_bytes(), b"\n", content].concat()
}

/// Reads a record's value; `None` if it is not understood.
pub(crate) fn parse(value: &[u8]) -> Option<(Entry, &[u8])> {
    let (head, content) = split(value)?;
    let head: Value = serde_json::from_slice(head).ok()?;
    if head.get("version")?.as_u64()? != VERSION {
        return None;
    }
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let [group, version, name] = head.get("resource")?.as_array()?.as_slice() else { return None };
    let key = Key::from_text(head.get("key")?.as_str()?);
    let resource = ResourceId::new(group.as_str()?, version.as_str()?, name.as_str()?, key.namespace());
    let writer = match head.get("daemon")? {
        Value::Null => Writer::Kubelet,
        who => Writer::Daemon(Identity::new(who.as_str()?)),
    };
    let base = head.get("base")?;
    let base = Base {
        rv: base.get("resourceVersion")?.as_u64()?,
        generation: base.get("generation").and_then(Value::as_i64)?,
    };
    let id = Id::new(resource, key, text(head.get("uid")?)?, writer);
    let size = self::key(&id).len() + value.len();
    let entry = Entry {
        id,
        base,
        what: what(head.get("what")?)?,
        since: head.get("since")?.as_i64()?,
        last: head.get("last")?.as_i64()?,
        boot: Arc::from(head.get("boot")?.as_str()?),
        writes: head.get("writes")?.as_u64()?,
        size,
    };
    Some((entry, content))
}

fn what(value: &Value) -> Option<What> {
    let texts = |name: &str| -> Option<Vec<String>> {
        value.get(name)?.as_array()?.iter().map(|text| text.as_str().map(str::to_owned)).collect()
    };
    Some(match value.get("kind")?.as_str()? {
        "state" => What::State,
        "finished" => What::Finished { gone: value.get("gone")?.as_bool()? },
        "members" => What::Members { annotations: texts("annotations")?, conditions: texts("conditions")? },
        "object" => What::Object,
        "event" => {
            let names = value.get("names")?.as_array()?.iter();
            let pair = |pair: &Value| Some((pair.get(0)?.as_str()?.to_owned(), pair.get(1)?.as_i64()?));
            What::Event { names: names.map(pair).collect::<Option<_>>()? }
        }
        _ => return None,
    })
}

/// The content of a record's value.
pub(crate) fn content(value: &[u8]) -> Option<&[u8]> {
    split(value).map(|(_, content)| content)
}

fn split(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = value.iter().position(|byte| *byte == b'\n')?;
    let (head, rest) = value.split_at_checked(end)?;
    Some((head, rest.get(1..)?))
}
