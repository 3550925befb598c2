//! The `CNI_*` environment variables.
//!
//! Invariant: after [`Env::request`] has allowed a command, the variables that it needs are there, and the container
//! id and interface name are safe to use in a file or a message.

use crate::error::Error;
use crate::frame::{Command, Request};

/// The longest interface name that Linux knows, in bytes.
const MAX_IFNAME: usize = 15;

/// The variables as the runtime set them; empty when absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Env {
    /// `CNI_COMMAND`
    pub command: String,
    /// `CNI_CONTAINERID`
    pub container_id: String,
    /// `CNI_NETNS`: a path.
    pub netns: String,
    /// `CNI_IFNAME`
    pub ifname: String,
    /// `CNI_ARGS`, as it came; see [`crate::Args`].
    pub args: String,
    /// `CNI_PATH`
    pub path: String,
    /// Whether `CNI_NETNS_OVERRIDE` allows the container's netns to be the plugin's own.
    pub netns_override: bool,
}

impl Env {
    /// Gathers the variables from wherever `lookup` finds them.
    pub fn from_vars(lookup: impl Fn(&str) -> Option<String>) -> Env {
        let value = |name: &str| lookup(name).unwrap_or_default();
        let netns_override = value("CNI_NETNS_OVERRIDE");
        Env {
            command: value("CNI_COMMAND"),
            container_id: value("CNI_CONTAINERID"),
            netns: value("CNI_NETNS"),
            ifname: value("CNI_IFNAME"),
            args: value("CNI_ARGS"),
            path: value("CNI_PATH"),
            netns_override: netns_override == "1" || netns_override.eq_ignore_ascii_case("true"),
        }
    }

    /// What to do next. Errors have code 4: a variable is missing, or the container id or interface name is illegal.
    /// A command that nobody knows passes here, since bad input on stdin is reported first.
    pub fn request(&self) -> Result<Request, Error> {
        match self.command.as_str() {
            "" => return Ok(Request::About),
            "VERSION" => return Ok(Request::Version),
            _ => {}
        }
        if let Some(command) = Command::parse(&self.command) {
            self.check(command)?;
        }
        Ok(Request::Stdin)
    }

    fn check(&self, command: Command) -> Result<(), Error> {
        let container = matches!(command, Command::Add | Command::Del | Command::Check);
        let netns = matches!(command, Command::Add | Command::Check);
        let required = [
            ("CNI_CONTAINERID", container, &self.container_id),
            ("CNI_NETNS", netns, &self.netns),
            ("CNI_IFNAME", container, &self.ifname),
            ("CNI_PATH", true, &self.path),
        ];
        let missing: Vec<&str> = required
            .iter()
            .filter(|(_, needed, value)| *needed && value.is_empty())
            .map(|(name, ..)| *name)
            .collect();
        if !missing.is_empty() {
            return Err(Error::environment(format!(
                "required env variables [{}] missing",
                missing.join(",")
            )));
        }
        if !container {
            return Ok(());
        }
        if !is_identifier(&self.container_id) {
            return Err(
                Error::environment("invalid characters in containerID").with_details(&self.container_id)
            );
        }
        check_ifname(&self.ifname)
    }
}

/// Whether the text starts with a letter or digit and goes on with those, `_`, `.` and `-`: the pattern that CNI
/// demands of container ids and network names.
pub(crate) fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

fn check_ifname(name: &str) -> Result<(), Error> {
    if name.len() > MAX_IFNAME {
        let limit = format!("interface name should be less than {} characters", MAX_IFNAME + 1);
        return Err(Error::environment("interface name is too long").with_details(limit));
    }
    if name == "." || name == ".." {
        return Err(Error::environment("interface name is . or .."));
    }
    if name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace()) {
        return Err(Error::environment("interface name contains / or : or whitespace characters"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(command: &str) -> Env {
        Env {
            command: command.into(),
            container_id: "c0ffee".into(),
            netns: "/run/netns/x".into(),
            ifname: "eth0".into(),
            path: "/opt/cni/bin".into(),
            ..Env::default()
        }
    }

    fn refused(env: &Env) -> String {
        let error = env.request().unwrap_err();
        assert_eq!(error.code, 4);
        error.msg
    }

    #[test]
    fn variables_come_from_the_lookup_and_are_empty_when_absent() {
        let env = Env::from_vars(|name| name.strip_prefix("CNI_").map(str::to_lowercase));
        assert_eq!((env.command.as_str(), env.container_id.as_str()), ("command", "containerid"));
        assert_eq!((env.netns.as_str(), env.ifname.as_str()), ("netns", "ifname"));
        assert_eq!((env.args.as_str(), env.path.as_str()), ("args", "path"));
        assert_eq!(Env::from_vars(|_| None), Env::default());
    }

    #[test]
    fn the_netns_override_is_1_or_true_in_any_case() {
        let overridden = |value: &str| {
            Env::from_vars(|name| (name == "CNI_NETNS_OVERRIDE").then(|| value.to_owned())).netns_override
        };
        assert!(overridden("1") && overridden("true") && overridden("TRUE"));
        assert!(!overridden("") && !overridden("0") && !overridden("yes"));
    }

    #[test]
    fn no_command_asks_for_the_about_text_and_version_needs_nothing_more() {
        assert_eq!(Env::default().request(), Ok(Request::About));
        assert_eq!(Env { command: "VERSION".into(), ..Env::default() }.request(), Ok(Request::Version));
    }

    #[test]
    fn each_command_needs_its_own_variables() {
        let bare = |command: &str| Env { command: command.into(), ..Env::default() };
        let all = "required env variables [CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH] missing";
        assert_eq!(refused(&bare("ADD")), all);
        assert_eq!(refused(&bare("CHECK")), all);
        assert_eq!(
            refused(&bare("DEL")),
            "required env variables [CNI_CONTAINERID,CNI_IFNAME,CNI_PATH] missing"
        );
        assert_eq!(refused(&bare("GC")), "required env variables [CNI_PATH] missing");
        assert_eq!(refused(&bare("STATUS")), "required env variables [CNI_PATH] missing");
        for command in ["ADD", "CHECK", "DEL", "GC", "STATUS"] {
            assert_eq!(env(command).request(), Ok(Request::Stdin));
        }
        assert_eq!(Env { netns: String::new(), ..env("DEL") }.request(), Ok(Request::Stdin));
    }

    #[test]
    fn an_unknown_command_is_not_refused_before_stdin_is_read() {
        assert_eq!(Env { command: "FOO".into(), ..Env::default() }.request(), Ok(Request::Stdin));
    }

    #[test]
    fn a_container_id_has_only_letters_digits_and_three_signs() {
        for bad in ["-a", ".", "_x", "a/b", "a b", "a\n", "é", "../x"] {
            let env = Env { container_id: bad.into(), ..env("ADD") };
            assert_eq!(refused(&env), "invalid characters in containerID");
            assert_eq!(env.request().unwrap_err().details, bad);
        }
        for good in ["0", "a_B.c-9", "c0ffee"] {
            assert_eq!(Env { container_id: good.into(), ..env("DEL") }.request(), Ok(Request::Stdin));
        }
    }

    #[test]
    fn ids_are_not_checked_where_they_are_not_required() {
        let env = Env { container_id: "a/b".into(), ifname: "..".into(), ..env("GC") };
        assert_eq!(env.request(), Ok(Request::Stdin));
    }

    #[test]
    fn an_interface_name_must_be_one_that_linux_takes() {
        let with = |name: &str| Env { ifname: name.into(), ..env("ADD") };
        assert_eq!(refused(&with("0123456789abcdef")), "interface name is too long");
        let details = with("0123456789abcdef").request().unwrap_err().details;
        assert_eq!(details, "interface name should be less than 16 characters");
        assert_eq!(with("0123456789abcde").request(), Ok(Request::Stdin));
        assert_eq!(refused(&with("ééééééé12")), "interface name is too long");
        for bad in [".", ".."] {
            assert_eq!(refused(&with(bad)), "interface name is . or ..");
        }
        for bad in ["a/b", "a:b", "a b", "a\tb", "a\u{85}"] {
            assert_eq!(refused(&with(bad)), "interface name contains / or : or whitespace characters");
        }
    }
}
