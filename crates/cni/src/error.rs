//! The error object of the CNI specification, and the codes it defines.
//!
//! Invariant: whatever goes wrong leaves the plugin as one such object; there is no other kind of failure here.

use crate::json::Json;
use crate::version::Version;
use std::fmt;

/// The configuration asks for a CNI version that the plugin does not speak.
pub const INCOMPATIBLE_VERSION: u32 = 1;
/// The configuration holds a field that is not supported.
pub const UNSUPPORTED_FIELD: u32 = 2;
/// The container is unknown; the caller need not clean anything up.
pub const UNKNOWN_CONTAINER: u32 = 3;
/// A `CNI_*` variable is missing or illegal.
pub const INVALID_ENVIRONMENT: u32 = 4;
/// Reading stdin or a file failed.
pub const IO_FAILURE: u32 = 5;
/// Stdin is not the JSON that it should be.
pub const DECODING_FAILURE: u32 = 6;
/// The network configuration was understood and is wrong.
pub const INVALID_CONFIG: u32 = 7;
/// The network namespace is not usable for this call.
pub const INVALID_NETNS: u32 = 8;
/// A passing condition; the caller should try again later.
pub const TRY_AGAIN_LATER: u32 = 11;
/// STATUS: the plugin cannot serve ADD now.
pub const NOT_AVAILABLE: u32 = 50;
/// STATUS: as 50, and containers already there may have lost connectivity.
pub const NOT_AVAILABLE_LIMITED: u32 = 51;
/// Everything that host-local itself refuses, whatever the reason.
pub const INTERNAL: u32 = 999;

/// A refusal, as the runtime will see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// A code of the CNI specification: one of the constants in this module.
    pub code: u32,
    /// What happened, to what, and what to do about it.
    pub msg: String,
    /// More of the same; empty means none.
    pub details: String,
}

impl Error {
    /// An error without details.
    pub fn new(code: u32, msg: impl Into<String>) -> Error {
        Error { code, msg: msg.into(), details: String::new() }
    }

    /// Code 999, which host-local uses for every refusal of its own.
    pub fn internal(msg: impl Into<String>) -> Error {
        Error::new(INTERNAL, msg)
    }

    /// Code 7: the configuration was read and is wrong.
    pub fn config(msg: impl Into<String>) -> Error {
        Error::new(INVALID_CONFIG, msg)
    }

    /// Code 4: a `CNI_*` variable is missing or wrong.
    pub fn environment(msg: impl Into<String>) -> Error {
        Error::new(INVALID_ENVIRONMENT, msg)
    }

    /// Code 5: stdin, a file or a directory could not be read or written.
    pub fn io(msg: impl Into<String>) -> Error {
        Error::new(IO_FAILURE, msg)
    }

    /// Code 11: may well succeed when tried again.
    pub fn try_again(msg: impl Into<String>) -> Error {
        Error::new(TRY_AGAIN_LATER, msg)
    }

    /// Code 50: STATUS says that ADD would fail now.
    pub fn not_available(msg: impl Into<String>) -> Error {
        Error::new(NOT_AVAILABLE, msg)
    }

    /// Code 8: what the CNI skeleton says after an ADD or DEL that ran in the container's own network namespace.
    pub fn same_netns() -> Error {
        Error::new(INVALID_NETNS, "plugin's netns and netns from CNI_NETNS should not be the same")
    }

    /// The same error with this as its details.
    #[must_use]
    pub fn with_details(mut self, details: impl Into<String>) -> Error {
        self.details = details.into();
        self
    }

    /// The same error, its message led in by `context` and a colon.
    #[must_use]
    pub fn within(mut self, context: &str) -> Error {
        self.msg = format!("{context}: {}", self.msg);
        self
    }

    /// The object for stdout: 4-space indent, no newline at the end, details left out when empty.
    pub fn to_json(&self, version: Version) -> String {
        let mut object = vec![
            ("cniVersion".to_owned(), Json::text(version.as_str())),
            ("code".to_owned(), Json::Int(i64::from(self.code))),
            ("msg".to_owned(), Json::text(&self.msg)),
        ];
        if !self.details.is_empty() {
            object.push(("details".to_owned(), Json::text(&self.details)));
        }
        Json::Object(object).to_pretty()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.msg)?;
        if !self.details.is_empty() {
            f.write_str("; ")?;
            f.write_str(&self.details)?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// A Go string literal: quotes and backslashes escaped, control characters made visible.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_ascii_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_object_is_indented_by_four_and_ends_without_a_newline() {
        let error = Error::environment("invalid characters in containerID").with_details("a/\"b");
        assert_eq!(
            error.to_json(Version::V0_3_1),
            "{\n    \"cniVersion\": \"0.3.1\",\n    \"code\": 4,\n    \
             \"msg\": \"invalid characters in containerID\",\n    \"details\": \"a/\\\"b\"\n}"
        );
    }

    #[test]
    fn details_are_left_out_when_there_are_none() {
        let text = Error::internal("no IP ranges specified").to_json(Version::LATEST);
        assert_eq!(
            text,
            "{\n    \"cniVersion\": \"1.1.0\",\n    \"code\": 999,\n    \"msg\": \"no IP ranges specified\"\n}"
        );
    }

    #[test]
    fn the_netns_refusal_has_the_text_and_code_of_the_skeleton() {
        let error = Error::same_netns();
        assert_eq!(error.code, 8);
        assert_eq!(error.msg, "plugin's netns and netns from CNI_NETNS should not be the same");
    }

    #[test]
    fn quoting_makes_control_characters_visible() {
        assert_eq!(quote("a\"\\\n\t\r\u{1}\u{7f}"), r#""a\"\\\n\t\r\x01\x7f""#);
    }
}
