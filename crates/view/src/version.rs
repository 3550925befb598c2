//! Resource versions. Three types, so that one of the cloud's can never stand where one of the hub's belongs.

use std::fmt;

/// A resourceVersion of the cloud: a revision of its etcd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloudRv(u64);

/// A resourceVersion that the hub issued, for an overlaid resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ViewRv(u64);

/// A resourceVersion as the hub's clients see it: a view RV for overlaid resources, the cloud's for all others.
///
/// It is made in one place, `numbers.rs`, which knows the resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shown(u64);

impl CloudRv {
    /// The lowest there is.
    pub(crate) const FIRST: CloudRv = CloudRv(1);

    /// Reads what the cloud wrote: decimal, positive, no leading zero, within an int64, which kubelet makes of it
    /// (`apimachinery:pkg/util/resourceversion`).
    pub fn parse(text: &str) -> Option<CloudRv> {
        number(text).map(CloudRv)
    }

    /// The number.
    pub fn get(self) -> u64 {
        self.0
    }

    pub(crate) fn stored(number: u64) -> Option<CloudRv> {
        (number > 0).then_some(CloudRv(number))
    }
}

impl ViewRv {
    pub(crate) fn issued(number: u64) -> ViewRv {
        ViewRv(number)
    }

    /// The number.
    pub fn get(self) -> u64 {
        self.0
    }
}

impl Shown {
    /// The lowest there is.
    pub(crate) const FIRST: Shown = Shown(1);

    pub(crate) fn view(rv: ViewRv) -> Shown {
        Shown(rv.0)
    }

    pub(crate) fn cloud(rv: CloudRv) -> Shown {
        Shown(rv.0)
    }

    /// The version right after this one.
    pub(crate) fn next(self) -> Shown {
        Shown(self.0.saturating_add(1))
    }

    pub(crate) fn stored(number: u64) -> Shown {
        Shown(number)
    }

    /// Reads what a client sent; `None` for what no server writes.
    pub fn parse(text: &str) -> Option<Shown> {
        number(text).map(Shown)
    }

    /// The number.
    pub fn get(self) -> u64 {
        self.0
    }
}

fn number(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    let number = plain.then(|| text.parse::<u64>().ok())??;
    i64::try_from(number).is_ok().then_some(number)
}

impl fmt::Display for CloudRv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ViewRv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_server_writes_is_a_version() {
        assert_eq!(CloudRv::parse("12").map(CloudRv::get), Some(12));
        for text in ["", "0", "012", "-1", "+1", "1 ", "9223372036854775808", "99999999999999999999", "x"] {
            assert_eq!(CloudRv::parse(text), None, "{text}");
            assert_eq!(Shown::parse(text), None, "{text}");
        }
    }
}
