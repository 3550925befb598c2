//! Lists that were made a moment ago: when programs start together, or come back together, many ask for the same.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use view::{Body, Listing, Object, ResourceId};
use wire::media::{Accepted, Form};

use super::lock;

/// So many bytes are kept at most, for everybody together.
const MOST: usize = 4 << 20;
/// How long nobody may have asked for a list before it is forgotten.
const AGE: Duration = Duration::from_secs(5);

/// The lists.
#[derive(Default)]
pub struct Lists(Mutex<VecDeque<Made>>);

struct Made {
    resource: ResourceId,
    accepted: Accepted,
    rv: String,
    /// What it is made of. Holding these keeps others from taking their places in memory.
    objects: Vec<Object>,
    bytes: Bytes,
    asked: Duration,
}

impl Made {
    /// Whether it is what would be made of this: the same objects in the same states, not only equal versions.
    fn is(&self, resource: &ResourceId, accepted: &Accepted, listing: &Listing, rv: &str) -> bool {
        self.rv == rv
            && self.accepted == *accepted
            && self.resource == *resource
            && self.objects.len() == listing.objects.len()
            && self
                .objects
                .iter()
                .zip(&listing.objects)
                .all(|(one, other)| Arc::ptr_eq(&one.header, &other.header) && one.encoding == other.encoding)
    }
}

impl Lists {
    /// The list, if it was made.
    pub fn get(
        &self,
        resource: &ResourceId,
        accepted: &Accepted,
        listing: &Listing,
        rv: &str,
        now: Duration,
    ) -> Option<Bytes> {
        let mut made = lock(&self.0);
        let found = made.iter_mut().find(|one| one.is(resource, accepted, listing, rv))?;
        found.asked = now;
        Some(found.bytes.clone())
    }

    /// Keeps a list; the oldest go for it.
    pub fn keep(
        &self,
        resource: &ResourceId,
        accepted: &Accepted,
        listing: &Listing,
        rv: String,
        (bytes, now): (Bytes, Duration),
    ) {
        // A table tells ages.
        if accepted.form != Form::Object || bytes.len() > MOST {
            return;
        }
        let unheld = |object: &Object| Object { body: Body::Stored, ..object.clone() };
        let objects = listing.objects.iter().map(unheld).collect();
        let (resource, accepted) = (resource.clone(), *accepted);
        let mut made = lock(&self.0);
        // One of its kind: the state of a moment before is asked for no more.
        made.retain(|one| one.resource != resource || one.accepted != accepted || one.rv == rv);
        made.push_back(Made { resource, accepted, rv, objects, bytes, asked: now });
        while made.iter().map(|one| one.bytes.len()).sum::<usize>() > MOST {
            made.pop_front();
        }
    }

    /// Forgets what nobody asks for any more.
    pub fn forget(&self, now: Duration) {
        lock(&self.0).retain(|one| one.asked + AGE > now);
    }
}

#[cfg(test)]
mod tests {
    use view::{Barrier, CloudRv, Header, Key, Shown};
    use wire::Encoding;
    use wire::media::{Served, negotiate};

    use super::*;

    fn pods() -> ResourceId {
        ResourceId::new("", "v1", "pods", "")
    }

    fn accepted() -> Accepted {
        negotiate("application/json", Served::BuiltIn).unwrap()
    }

    fn object(name: &str) -> Object {
        let rv = CloudRv::parse("5").unwrap();
        let header = Header::new(Key::new("ns", name), "uid", rv, false, [], []);
        Object::new(header, Encoding::Json, b"{}".to_vec())
    }

    fn listing(objects: &[&Object]) -> Listing {
        let objects = objects.iter().copied().cloned().collect();
        Listing { objects, rv: Shown::parse("7").unwrap(), after: Barrier::default() }
    }

    fn keep(lists: &Lists, listing: &Listing, len: usize) {
        let bytes = Bytes::from(vec![0; len]);
        lists.keep(&pods(), &accepted(), listing, "7".into(), (bytes, Duration::ZERO));
    }

    fn get(lists: &Lists, listing: &Listing, now: u64) -> Option<usize> {
        let found = lists.get(&pods(), &accepted(), listing, "7", Duration::from_secs(now));
        found.map(|bytes| bytes.len())
    }

    #[test]
    fn a_list_is_given_again_for_the_very_same_objects_only() {
        let (lists, a, b) = (Lists::default(), object("a"), object("b"));
        keep(&lists, &listing(&[&a, &b]), 10);
        assert_eq!(get(&lists, &listing(&[&a, &b]), 1), Some(10));
        assert_eq!(get(&lists, &listing(&[&a]), 1), None, "a narrower set");
        assert_eq!(get(&lists, &listing(&[&a, &object("b")]), 1), None, "b changed");
        let stored = Object { body: Body::Stored, ..b };
        assert_eq!(get(&lists, &listing(&[&a, &stored]), 1), Some(10), "b is in the log by now");
    }

    #[test]
    fn lists_that_nobody_asks_for_are_forgotten_and_all_of_them_are_bounded() {
        let (lists, a, b) = (Lists::default(), object("a"), object("b"));
        keep(&lists, &listing(&[&a]), MOST + 1);
        assert_eq!(get(&lists, &listing(&[&a]), 0), None, "too large");
        keep(&lists, &listing(&[&a]), MOST / 2 + 1);
        keep(&lists, &listing(&[&b]), MOST / 2 + 1);
        assert_eq!(get(&lists, &listing(&[&a]), 0), None, "the oldest went");
        assert_eq!(get(&lists, &listing(&[&b]), 4), Some(MOST / 2 + 1));
        lists.forget(Duration::from_secs(8));
        assert!(!lock(&lists.0).is_empty(), "asked for four seconds ago");
        lists.forget(Duration::from_secs(9));
        assert_eq!(get(&lists, &listing(&[&b]), 9), None);
    }
}
