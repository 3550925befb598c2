//! One call of the plugin: command, configuration and arguments, checked in the order of the CNI skeleton.
//!
//! Environment, then stdin, then the network name, then the command, then the version, then the configuration: the
//! first thing wrong is the one reported. Reading stdin is left to the caller, between [`Env::request`] and
//! [`Call::parse`].

use crate::args::Args;
use crate::config::NetConf;
use crate::env::{Env, is_identifier};
use crate::error::{DECODING_FAILURE, Error};
use crate::json::{Json, Node};
use crate::version::{self, Version};

/// What the environment asks for, before stdin has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// No command: write [`version::about`] to stderr and succeed.
    About,
    /// Write [`version::version_json`] to stdout; stdin is not read.
    Version,
    /// Read stdin and go on with [`Call::parse`].
    Stdin,
}

/// The commands that come with a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Give this container's interface its addresses.
    Add,
    /// Take them back.
    Del,
    /// Are they still there?
    Check,
    /// Take back what belongs to none of the attachments listed.
    Gc,
    /// Would ADD work?
    Status,
}

impl Command {
    /// The command of exactly this name.
    pub fn parse(name: &str) -> Option<Command> {
        match name {
            "ADD" => Some(Command::Add),
            "DEL" => Some(Command::Del),
            "CHECK" => Some(Command::Check),
            "GC" => Some(Command::Gc),
            "STATUS" => Some(Command::Status),
            _ => None,
        }
    }

    /// The first version that has the command.
    fn since(self) -> Version {
        match self {
            Command::Add | Command::Del => Version::V0_1_0,
            Command::Check => Version::V0_4_0,
            Command::Gc | Command::Status => Version::V1_1_0,
        }
    }
}

/// A call that is in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// What to do.
    pub command: Command,
    /// The network to do it in.
    pub conf: NetConf,
    /// Who asks: `CNI_ARGS`, read strictly for ADD and CHECK, leniently otherwise.
    pub args: Args,
}

impl Call {
    /// Reads the configuration for the command in `env`, after [`Env::request`] has said [`Request::Stdin`].
    pub fn parse(env: &Env, stdin: &[u8]) -> Result<Call, Error> {
        let json =
            Json::parse(stdin).map_err(|text| undecodable("error unmarshall network config", &text))?;
        // To Go, null is an empty configuration.
        let json = if json == Json::Null { Json::Object(Vec::new()) } else { json };
        let top = Node::top(&json);
        let name = check_name(&top)?;
        let Some(command) = Command::parse(&env.command) else {
            return Err(Error::environment(format!("unknown CNI_COMMAND: {}", env.command)));
        };
        let version = top
            .string_at("cniVersion")
            .map_err(|error| undecodable("decoding version from network config", &error.msg))?;
        let version = version::agree(version, &env.command, command.since())?;
        let (conf, args) = NetConf::parse(&top, name, version, command, &env.args)?;
        Ok(Call { command, conf, args })
    }
}

fn check_name(top: &Node) -> Result<String, Error> {
    let name =
        top.string_at("name").map_err(|error| undecodable("error unmarshall network config", &error.msg))?;
    if name.is_empty() {
        return Err(Error::config("missing network name"));
    }
    if !is_identifier(name) {
        return Err(Error::config("invalid characters found in network name").with_details(name));
    }
    Ok(name.to_owned())
}

fn undecodable(what: &str, text: &str) -> Error {
    Error::new(DECODING_FAILURE, text).within(what)
}

#[cfg(test)]
mod tests;
