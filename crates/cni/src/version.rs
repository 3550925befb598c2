//! The CNI protocol versions and what each of them allows.

use crate::error::{Error, INCOMPATIBLE_VERSION, quote};
use crate::json::{Json, Node};

/// A protocol version that this plugin speaks, older before newer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 0.1.0, also meant by an absent or empty `cniVersion`.
    V0_1_0,
    /// 0.2.0
    V0_2_0,
    /// 0.3.0, the first with several addresses of a family.
    V0_3_0,
    /// 0.3.1
    V0_3_1,
    /// 0.4.0, the first with CHECK.
    V0_4_0,
    /// 1.0.0
    V1_0_0,
    /// 1.1.0, the first with GC and STATUS.
    V1_1_0,
}

/// All versions, oldest first.
const ALL: [Version; 7] = [
    Version::V0_1_0,
    Version::V0_2_0,
    Version::V0_3_0,
    Version::V0_3_1,
    Version::V0_4_0,
    Version::V1_0_0,
    Version::V1_1_0,
];

impl Version {
    /// The newest version.
    pub const LATEST: Version = Version::V1_1_0;

    /// The text as it stands in `cniVersion`.
    pub fn as_str(self) -> &'static str {
        match self {
            Version::V0_1_0 => "0.1.0",
            Version::V0_2_0 => "0.2.0",
            Version::V0_3_0 => "0.3.0",
            Version::V0_3_1 => "0.3.1",
            Version::V0_4_0 => "0.4.0",
            Version::V1_0_0 => "1.0.0",
            Version::V1_1_0 => "1.1.0",
        }
    }

    /// The version that is written exactly so; empty means 0.1.0.
    pub fn parse(text: &str) -> Option<Version> {
        if text.is_empty() {
            return Some(Version::V0_1_0);
        }
        ALL.into_iter().find(|version| version.as_str() == text)
    }

    /// The version in which to report that this configuration was refused: its own, else the newest.
    pub fn for_refusal(stdin: &[u8]) -> Version {
        let Ok(json) = Json::parse(stdin) else { return Version::LATEST };
        Node::top(&json).string_at("cniVersion").ok().and_then(Version::parse).unwrap_or(Version::LATEST)
    }
}

/// What VERSION prints: compact, with a newline, the same for every caller.
pub fn version_json() -> String {
    let latest = Version::LATEST.as_str();
    format!("{{\"cniVersion\":\"{latest}\",\"supportedVersions\":[{}]}}\n", quoted(","))
}

/// The text for stderr when the program is run without `CNI_COMMAND`: two lines.
pub fn about(program_version: &str) -> String {
    let versions = ALL.map(Version::as_str).join(", ");
    format!("CNI edgekeep-ipam plugin {program_version}\nCNI protocol versions supported: {versions}\n")
}

fn quoted(separator: &str) -> String {
    ALL.map(|version| format!("\"{}\"", version.as_str())).join(separator)
}

/// Judges `cniVersion` for a command that exists since `since`; `command` is its name for messages.
/// Code 1 when the plugin and the configuration cannot agree.
pub(crate) fn agree(text: &str, command: &str, since: Version) -> Result<Version, Error> {
    let refuse =
        |who: &str| Error::new(INCOMPATIBLE_VERSION, format!("{who} version does not allow {command}"));
    if since > Version::V0_1_0 {
        let asked = numbers(if text.is_empty() { "0.1.0" } else { text });
        if asked.is_some() && asked < numbers(since.as_str()) {
            return Err(refuse("config"));
        }
        if asked > numbers(Version::LATEST.as_str()) {
            return Err(refuse("plugin"));
        }
    }
    Version::parse(text).ok_or_else(|| {
        let details = format!("config is {}, plugin supports [{}]", quote(text), quoted(" "));
        Error::new(INCOMPATIBLE_VERSION, "incompatible CNI versions").with_details(details)
    })
}

/// Up to three dotted numbers; missing ones are 0.
fn numbers(text: &str) -> Option<[u32; 3]> {
    let mut parts = text.split('.').map(|part| part.parse().ok());
    let first = parts.next()??;
    let second = parts.next().unwrap_or(Some(0))?;
    let third = parts.next().unwrap_or(Some(0))?;
    parts.next().is_none().then_some([first, second, third])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_prints_one_compact_line_with_all_seven() {
        assert_eq!(
            version_json(),
            "{\"cniVersion\":\"1.1.0\",\"supportedVersions\":[\"0.1.0\",\"0.2.0\",\"0.3.0\",\"0.3.1\",\"0.4.0\",\
             \"1.0.0\",\"1.1.0\"]}\n"
        );
    }

    #[test]
    fn about_names_the_program_and_the_versions_in_two_lines() {
        assert_eq!(
            about("v0.1.0"),
            "CNI edgekeep-ipam plugin v0.1.0\n\
             CNI protocol versions supported: 0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0\n"
        );
    }

    #[test]
    fn versions_are_ordered_and_read_back_as_written() {
        assert!(ALL.is_sorted());
        for version in ALL {
            assert_eq!(Version::parse(version.as_str()), Some(version));
        }
        assert_eq!(Version::parse(""), Some(Version::V0_1_0));
        assert_eq!(Version::parse("1.0"), None);
    }

    #[test]
    fn a_version_that_is_not_one_of_the_seven_is_incompatible() {
        let error = agree("0.9", "ADD", Version::V0_1_0).unwrap_err();
        assert_eq!((error.code, error.msg.as_str()), (1, "incompatible CNI versions"));
        assert_eq!(
            error.details,
            "config is \"0.9\", plugin supports [\"0.1.0\" \"0.2.0\" \"0.3.0\" \"0.3.1\" \"0.4.0\" \"1.0.0\" \"1.1.0\"]"
        );
        for between_or_nonsense in ["0.5.0", "0.4", "1", "x", "1.0.0.0", "1.0.00"] {
            let error = agree(between_or_nonsense, "CHECK", Version::V0_4_0).unwrap_err();
            assert_eq!((error.code, error.msg.as_str()), (1, "incompatible CNI versions"));
        }
    }

    #[test]
    fn a_command_that_the_version_does_not_know_is_refused_by_name() {
        let text = |asked, command, since| agree(asked, command, since).unwrap_err().msg;
        assert_eq!(text("", "CHECK", Version::V0_4_0), "config version does not allow CHECK");
        assert_eq!(text("0.3.1", "CHECK", Version::V0_4_0), "config version does not allow CHECK");
        assert_eq!(text("1.0.0", "GC", Version::V1_1_0), "config version does not allow GC");
        assert_eq!(text("0.4.0", "STATUS", Version::V1_1_0), "config version does not allow STATUS");
        assert_eq!(text("1.2.0", "STATUS", Version::V1_1_0), "plugin version does not allow STATUS");
        assert_eq!(text("9.0.0", "CHECK", Version::V0_4_0), "plugin version does not allow CHECK");
        assert_eq!(agree("0.4.0", "CHECK", Version::V0_4_0), Ok(Version::V0_4_0));
    }

    #[test]
    fn a_refusal_is_reported_in_the_version_of_the_configuration_where_it_has_one() {
        assert_eq!(Version::for_refusal(br#"{"cniversion":"0.3.1"}"#), Version::V0_3_1);
        assert_eq!(Version::for_refusal(b"{}"), Version::V0_1_0);
        for without in [&b"{"[..], b"[]", br#"{"cniVersion":"7"}"#, br#"{"cniVersion":7}"#] {
            assert_eq!(Version::for_refusal(without), Version::LATEST);
        }
    }
}
