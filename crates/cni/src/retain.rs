//! Our own policy keys: how bindings are kept, and when they end.
//!
//! They stand under `ipam.retain` of a network, and at the top of one file for the whole node; the network's word
//! goes before the node's, and that before the default. Unlike host-local's keys they match exactly, and a key that
//! nobody knows is refused: a misspelt policy must not be taken for the default. Every error has code 7 and names
//! key and place.

use crate::error::{Error, quote};
use crate::json::{Json, Node};
use std::time::Duration;

/// The keys of a network, for messages.
const NETWORK_KEYS: &str = "hold, key, reclaim, maxGone, repeatAdd, ipAnnotation, lockTimeout";

/// How long a parked binding is held, in time that the node is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Until something else ends it.
    Forever,
    /// This long.
    For(Duration),
}

/// What names a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodKey {
    /// Namespace and name: a pod made anew under the old name comes home.
    Name,
    /// Namespace, name and uid: a pod made anew is another pod.
    Uid,
}

/// Whether a parked address may go to another pod when nothing else is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reclaim {
    /// It may.
    Pressure,
    /// It may not; ADD fails instead.
    Never,
}

/// What a repeated ADD for the same container and interface gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepeatAdd {
    /// The same addresses.
    Same,
    /// An error, as from stock host-local.
    Error,
}

/// The keys as one place states them; `None` where it is silent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys {
    /// `hold`
    pub hold: Option<Hold>,
    /// `key`
    pub key: Option<PodKey>,
    /// `reclaim`
    pub reclaim: Option<Reclaim>,
    /// `maxGone`
    pub max_gone: Option<u32>,
    /// `repeatAdd`
    pub repeat_add: Option<RepeatAdd>,
    /// `ipAnnotation`; empty turns it off.
    pub ip_annotation: Option<String>,
    /// `lockTimeout`
    pub lock_timeout: Option<Duration>,
}

/// The file for the whole node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeFile {
    /// The policy for networks that do not say otherwise.
    pub keys: Keys,
    /// `stateDir`: where bindings are kept; absolute.
    pub state_dir: Option<String>,
    /// `runDir`: where what need not survive a reboot is kept; absolute.
    pub run_dir: Option<String>,
}

/// The policy that holds for a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// How long a parked binding is held.
    pub hold: Hold,
    /// What names a pod.
    pub key: PodKey,
    /// Whether parked addresses may go to other pods.
    pub reclaim: Reclaim,
    /// How many bindings of pods known to be gone are kept, per network.
    pub max_gone: u32,
    /// What a repeated ADD gets.
    pub repeat_add: RepeatAdd,
    /// The annotation that asks for fixed addresses, if any.
    pub ip_annotation: Option<String>,
    /// How long to wait for another plugin process, 1 s to 110 s.
    pub lock_timeout: Duration,
}

impl Policy {
    /// The network's word before the node's before the default.
    pub fn resolve(network: &Keys, node: &Keys) -> Policy {
        let annotation = network.ip_annotation.as_deref().or(node.ip_annotation.as_deref());
        let annotation = annotation.unwrap_or("edgekeep.io/ips");
        Policy {
            hold: network.hold.or(node.hold).unwrap_or(Hold::Forever),
            key: network.key.or(node.key).unwrap_or(PodKey::Name),
            reclaim: network.reclaim.or(node.reclaim).unwrap_or(Reclaim::Pressure),
            max_gone: network.max_gone.or(node.max_gone).unwrap_or(4096),
            repeat_add: network.repeat_add.or(node.repeat_add).unwrap_or(RepeatAdd::Same),
            ip_annotation: (!annotation.is_empty()).then(|| annotation.to_owned()),
            lock_timeout: network.lock_timeout.or(node.lock_timeout).unwrap_or(Duration::from_secs(30)),
        }
    }
}

impl Default for Policy {
    fn default() -> Policy {
        Policy::resolve(&Keys::default(), &Keys::default())
    }
}

impl NodeFile {
    /// Reads the file's bytes; errors name `path`.
    pub fn parse(path: &str, bytes: &[u8]) -> Result<NodeFile, Error> {
        let json = Json::parse(bytes).map_err(|text| Error::config(format!("{path}: not JSON: {text}")))?;
        let Json::Object(members) = &json else {
            return Err(Error::config(format!("{path}: want a JSON object, found {}", json.kind())));
        };
        let mut file = NodeFile::default();
        for (key, value) in members {
            let entry = Entry { place: path, key, value };
            match key.as_str() {
                "stateDir" => file.state_dir = entry.read("an absolute path", absolute_path)?,
                "runDir" => file.run_dir = entry.read("an absolute path", absolute_path)?,
                _ if file.keys.take(&entry)? => {}
                _ => return Err(entry.unknown(", stateDir, runDir")),
            }
        }
        Ok(file)
    }
}

/// Reads `ipam.retain`, if it is there.
pub(crate) fn from_ipam(ipam: &Node) -> Result<Keys, Error> {
    let mut keys = Keys::default();
    let Json::Object(members) = ipam.json else { return Ok(keys) };
    let Some((_, retain)) = members.iter().rfind(|(key, _)| key == "retain") else { return Ok(keys) };
    let members = match retain {
        Json::Null => return Ok(keys),
        Json::Object(members) => members,
        other => {
            return Err(Error::config(format!("ipam.retain: want a JSON object, found {}", other.kind())));
        }
    };
    for (key, value) in members {
        let entry = Entry { place: "ipam.retain", key, value };
        if !keys.take(&entry)? {
            return Err(entry.unknown(""));
        }
    }
    Ok(keys)
}

impl Keys {
    /// Takes the entry if its key is one of these; says whether it was.
    fn take(&mut self, entry: &Entry) -> Result<bool, Error> {
        match entry.key {
            "hold" => self.hold = entry.read("a duration such as 30m, 24h, 7d or 0s, or forever", hold)?,
            "key" => self.key = entry.read("name or uid", pod_key)?,
            "reclaim" => self.reclaim = entry.read("pressure or never", reclaim)?,
            "maxGone" => self.max_gone = entry.read("a number from 0 to 4294967295", max_gone)?,
            "repeatAdd" => self.repeat_add = entry.read("same or error", repeat_add)?,
            "ipAnnotation" => {
                self.ip_annotation = entry.read("the key of an annotation, or nothing", any_text)?
            }
            "lockTimeout" => self.lock_timeout = entry.read("a duration from 1s to 110s", lock_timeout)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// A key, its value, and where both stand.
struct Entry<'a> {
    place: &'a str,
    key: &'a str,
    value: &'a Json,
}

impl Entry<'_> {
    /// Reads the value with `read`; `want` says in a message what would have been right. Null counts as absent.
    fn read<T>(&self, want: &str, read: fn(&Json) -> Option<T>) -> Result<Option<T>, Error> {
        if matches!(self.value, Json::Null) {
            return Ok(None);
        }
        read(self.value).map(Some).ok_or_else(|| {
            let found = match self.value {
                Json::Str(text) => quote(text),
                Json::Int(number) => number.to_string(),
                other => format!("of type {}", other.kind()),
            };
            Error::config(format!("{}: {} is {found}; want {want}", self.place, self.key))
        })
    }

    fn unknown(&self, more: &str) -> Error {
        let key = quote(self.key);
        Error::config(format!("{}: unknown key {key}; the keys are {NETWORK_KEYS}{more}", self.place))
    }
}

fn any_text(value: &Json) -> Option<String> {
    match value {
        Json::Str(text) => Some(text.clone()),
        _ => None,
    }
}

fn absolute_path(value: &Json) -> Option<String> {
    any_text(value).filter(|path| path.starts_with('/') && !path.contains('\0'))
}

fn hold(value: &Json) -> Option<Hold> {
    match any_text(value)?.as_str() {
        "forever" => Some(Hold::Forever),
        text => parse_duration(text).map(Hold::For),
    }
}

fn pod_key(value: &Json) -> Option<PodKey> {
    match any_text(value)?.as_str() {
        "name" => Some(PodKey::Name),
        "uid" => Some(PodKey::Uid),
        _ => None,
    }
}

fn reclaim(value: &Json) -> Option<Reclaim> {
    match any_text(value)?.as_str() {
        "pressure" => Some(Reclaim::Pressure),
        "never" => Some(Reclaim::Never),
        _ => None,
    }
}

fn repeat_add(value: &Json) -> Option<RepeatAdd> {
    match any_text(value)?.as_str() {
        "same" => Some(RepeatAdd::Same),
        "error" => Some(RepeatAdd::Error),
        _ => None,
    }
}

fn max_gone(value: &Json) -> Option<u32> {
    match value {
        Json::Int(number) => u32::try_from(*number).ok(),
        _ => None,
    }
}

fn lock_timeout(value: &Json) -> Option<Duration> {
    let allowed = Duration::from_secs(1)..=Duration::from_secs(110);
    parse_duration(&any_text(value)?).filter(|timeout| allowed.contains(timeout))
}

/// Reads whole numbers with units, such as `1h30m`; the units are `d`, `h`, `m`, `s` and `ms`, a day being 24 hours.
/// `None` for everything else and for more than fits.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let unit_end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_end);
        let number: u64 = number.parse().ok()?;
        let part = match unit {
            "d" => Duration::from_secs(number.checked_mul(86_400)?),
            "h" => Duration::from_secs(number.checked_mul(3_600)?),
            "m" => Duration::from_secs(number.checked_mul(60)?),
            "s" => Duration::from_secs(number),
            "ms" => Duration::from_millis(number),
            _ => return None,
        };
        total = total.checked_add(part)?;
        rest = next;
    }
    Some(total)
}

#[cfg(test)]
mod tests;
