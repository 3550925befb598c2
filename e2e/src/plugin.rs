//! One call of a CNI plugin, as libcni makes it: for what this program plays itself, a runtime or Multus.

use std::io::Write;
use std::net::IpAddr;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

/// The attachment that a call is about.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// The sandbox's id.
    pub container: String,
    /// Path of its network namespace; empty where the runtime has none any more.
    pub netns: String,
    /// The interface.
    pub ifname: String,
    /// Whose it is: namespace, name and uid of the pod.
    pub pod: (String, String, String),
}

impl Attachment {
    /// `CNI_ARGS` as containerd and Multus send them.
    fn arguments(&self) -> String {
        let (namespace, name, uid) = &self.pod;
        format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name};K8S_POD_INFRA_CONTAINER_ID={};K8S_POD_UID={uid}",
            self.container
        )
    }
}

/// Runs the plugin that `program` starts with `verb` for `attachment`; `path` is where it finds other plugins.
/// Returns the addresses of its result, none if it has no result.
///
/// # Errors
///
/// The plugin could not be started or refused; the text then holds its own words.
pub fn call(
    mut program: Command,
    verb: &str,
    attachment: &Attachment,
    path: &str,
    config: &Value,
) -> Result<Vec<IpAddr>> {
    let mut child = program
        .env("CNI_COMMAND", verb)
        .env("CNI_CONTAINERID", &attachment.container)
        .env("CNI_NETNS", &attachment.netns)
        .env("CNI_IFNAME", &attachment.ifname)
        .env("CNI_ARGS", attachment.arguments())
        .env("CNI_PATH", path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {program:?}"))?;
    let mut stdin = child.stdin.take().ok_or_else(|| anyhow!("no pipe to the plugin"))?;
    stdin.write_all(config.to_string().as_bytes())?;
    drop(stdin);
    let done = child.wait_with_output()?;
    let answer = String::from_utf8_lossy(&done.stdout).into_owned();
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        bail!("{verb} for {} of {:?}: {answer} {said}", attachment.ifname, attachment.pod);
    }
    if answer.trim().is_empty() { Ok(Vec::new()) } else { addresses(&answer) }
}

/// The addresses of a result in the form of CNI 0.3 and later, in its order.
fn addresses(result: &str) -> Result<Vec<IpAddr>> {
    let result: Value = serde_json::from_str(result).with_context(|| format!("no result: {result}"))?;
    let addresses = result.get("ips").and_then(Value::as_array).into_iter().flatten();
    let texts = addresses.map(|one| one.get("address").and_then(Value::as_str).unwrap_or_default());
    let parsed = texts.map(|text| {
        let (address, _) = text.split_once('/').unwrap_or((text, ""));
        address.parse().with_context(|| format!("{text} is no address"))
    });
    parsed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_from_a_result_in_its_order() {
        let result = r#"{"cniVersion":"1.0.0","ips":[{"address":"fd00::2/64"},{"address":"10.0.0.2/24"}]}"#;
        let expected: [IpAddr; 2] = ["fd00::2".parse().unwrap(), "10.0.0.2".parse().unwrap()];
        assert_eq!(addresses(result).unwrap(), expected);
        assert!(addresses(r#"{"ips":[{"address":"nonsense"}]}"#).is_err());
    }
}
