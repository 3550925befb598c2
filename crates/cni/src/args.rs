//! `CNI_ARGS`: pairs `KEY=VALUE` separated by semicolons, by which a runtime says which pod this is.
//!
//! ADD and CHECK read it as strictly as host-local. DEL takes what it can get, so that nothing in the environment
//! can keep an address from being released.

use crate::addr::parse_requested;
use crate::error::{Error, quote};
use std::net::IpAddr;

/// The longest pod name, namespace or uid that is taken, in bytes. Kubernetes allows 253.
pub const MAX_POD_VALUE: usize = 1024;

/// What `CNI_ARGS` said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Args {
    /// The address asked for by `IP=`.
    pub ip: Option<IpAddr>,
    /// `K8S_POD_NAMESPACE`, unless empty.
    pub namespace: Option<String>,
    /// `K8S_POD_NAME`, unless empty.
    pub pod: Option<String>,
    /// `K8S_POD_UID`, unless empty.
    pub uid: Option<String>,
}

impl Args {
    /// Reads as ADD and CHECK do. Errors have code 999 and host-local's texts, or code 4 for a pod value that is
    /// too long. Pod keys count as unknown, so `IgnoreUnknown=1` must be there too, as it is from every runtime.
    pub fn strict(text: &str) -> Result<Args, Error> {
        let mut args = Args::default();
        let mut ignore_unknown = false;
        let mut unknown: Vec<&str> = Vec::new();
        if text.is_empty() {
            return Ok(args);
        }
        for pair in text.split(';') {
            let Some((key, value)) = split(pair) else {
                return Err(Error::internal(format!("ARGS: invalid pair {}", quote(pair))));
            };
            match key {
                "IP" => args.ip = parse_ip(value).map_err(|text| bad_value(pair, &text))?,
                "IgnoreUnknown" => {
                    ignore_unknown = parse_bool(value).map_err(|text| bad_value(pair, &text))?;
                }
                _ => {
                    unknown.push(pair);
                    args.take_pod_value(key, value)?;
                }
            }
        }
        if unknown.is_empty() || ignore_unknown {
            return Ok(args);
        }
        let pairs: Vec<String> = unknown.into_iter().map(quote).collect();
        Err(Error::internal(format!("ARGS: unknown args [{}]", pairs.join(" "))))
    }

    /// Reads as DEL does: whatever cannot be understood is left out.
    pub fn lenient(text: &str) -> Args {
        let mut args = Args::default();
        for (key, value) in text.split(';').filter_map(split) {
            if key == "IP" {
                args.ip = parse_ip(value).unwrap_or(args.ip);
            } else if args.take_pod_value(key, value).is_err() {
                continue;
            }
        }
        args
    }

    fn take_pod_value(&mut self, key: &str, value: &str) -> Result<(), Error> {
        let field = match key {
            "K8S_POD_NAMESPACE" => &mut self.namespace,
            "K8S_POD_NAME" => &mut self.pod,
            "K8S_POD_UID" => &mut self.uid,
            _ => return Ok(()),
        };
        if value.len() > MAX_POD_VALUE {
            let length = value.len();
            return Err(Error::environment(format!(
                "CNI_ARGS: {key} is {length} bytes long; at most {MAX_POD_VALUE} are allowed"
            )));
        }
        *field = (!value.is_empty()).then(|| value.to_owned());
        Ok(())
    }
}

/// Exactly one equals sign makes a pair.
fn split(pair: &str) -> Option<(&str, &str)> {
    pair.split_once('=').filter(|(_, value)| !value.contains('='))
}

/// An empty `IP=` asks for nothing.
fn parse_ip(value: &str) -> Result<Option<IpAddr>, String> {
    if value.is_empty() {
        return Ok(None);
    }
    parse_requested(value).map(Some).ok_or_else(|| format!("invalid IP address {value}"))
}

fn parse_bool(value: &str) -> Result<bool, String> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(format!("boolean unmarshal error: invalid input {value}")),
    }
}

fn bad_value(pair: &str, text: &str) -> Error {
    Error::internal(format!("ARGS: error parsing value of pair {}: {text}", quote(pair)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        let error = Args::strict(text).unwrap_err();
        assert_eq!(error.code, 999, "{text}");
        error.msg
    }

    #[test]
    fn what_containerd_sends_names_the_pod() {
        let text = "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;\
                    K8S_POD_INFRA_CONTAINER_ID=abc;K8S_POD_UID=1-2-3";
        let args = Args::strict(text).unwrap();
        assert_eq!(args.namespace.as_deref(), Some("default"));
        assert_eq!(args.pod.as_deref(), Some("web-0"));
        assert_eq!(args.uid.as_deref(), Some("1-2-3"));
        assert_eq!(args.ip, None);
        assert_eq!(Args::lenient(text), args);
    }

    #[test]
    fn nothing_at_all_is_fine() {
        assert_eq!(Args::strict(""), Ok(Args::default()));
    }

    #[test]
    fn an_empty_pod_name_counts_as_absent() {
        let args = Args::strict("IgnoreUnknown=1;K8S_POD_NAME=;K8S_POD_NAMESPACE=;K8S_POD_UID=").unwrap();
        assert_eq!(args, Args::default());
    }

    #[test]
    fn a_piece_that_is_not_one_pair_is_refused() {
        assert_eq!(refused("IP=10.0.0.9;"), "ARGS: invalid pair \"\"");
        assert_eq!(refused("A=b;C=d=e"), "ARGS: invalid pair \"C=d=e\"");
        assert_eq!(refused("IgnoreUnknown=1;C"), "ARGS: invalid pair \"C\"");
    }

    #[test]
    fn unknown_keys_are_refused_unless_told_otherwise() {
        assert_eq!(refused("A=b;C=d"), "ARGS: unknown args [\"A=b\" \"C=d\"]");
        assert_eq!(refused("=;K8S_POD_NAME=x"), "ARGS: unknown args [\"=\" \"K8S_POD_NAME=x\"]");
        assert_eq!(refused("A=\"x\";B=é"), "ARGS: unknown args [\"A=\\\"x\\\"\" \"B=é\"]");
        assert_eq!(refused("ip=10.0.0.1"), "ARGS: unknown args [\"ip=10.0.0.1\"]");
        assert_eq!(refused("IgnoreUnknown=False;A=b"), "ARGS: unknown args [\"A=b\"]");
        assert_eq!(refused("IgnoreUnknown=1;IgnoreUnknown=0;A=b"), "ARGS: unknown args [\"A=b\"]");
        for said in ["1", "true", "TRUE", "True"] {
            assert!(Args::strict(&format!("A=b;IgnoreUnknown={said}")).is_ok());
        }
    }

    #[test]
    fn a_bad_value_is_refused_with_its_pair() {
        assert_eq!(
            refused("IgnoreUnknown=yes"),
            "ARGS: error parsing value of pair \"IgnoreUnknown=yes\": boolean unmarshal error: invalid input yes"
        );
        assert_eq!(
            refused("IgnoreUnknown="),
            "ARGS: error parsing value of pair \"IgnoreUnknown=\": boolean unmarshal error: invalid input "
        );
        assert_eq!(refused("IP=x"), "ARGS: error parsing value of pair \"IP=x\": invalid IP address x");
        assert_eq!(
            refused("IP=010.0.0.1"),
            "ARGS: error parsing value of pair \"IP=010.0.0.1\": invalid IP address 010.0.0.1"
        );
    }

    #[test]
    fn an_asked_address_may_carry_a_prefix_and_may_be_empty() {
        assert_eq!(Args::strict("IP=10.0.0.9/24").unwrap().ip, "10.0.0.9".parse().ok());
        assert_eq!(Args::strict("IP=").unwrap().ip, None);
    }

    #[test]
    fn del_takes_what_it_can_and_never_fails() {
        let long = "n".repeat(MAX_POD_VALUE + 1);
        let text =
            format!("IP=x;;A=b=c;IgnoreUnknown=yes;K8S_POD_UID={long};K8S_POD_NAME=web-0;IP=10.0.0.9;IP=y");
        let args = Args::lenient(&text);
        assert_eq!(args.pod.as_deref(), Some("web-0"));
        assert_eq!(args.uid, None);
        assert_eq!(args.ip, "10.0.0.9".parse().ok());
    }

    #[test]
    fn a_pod_value_is_kept_up_to_the_limit_and_refused_by_name_beyond() {
        let longest = "n".repeat(MAX_POD_VALUE);
        let args = Args::strict(&format!("IgnoreUnknown=1;K8S_POD_NAME={longest}")).unwrap();
        assert_eq!(args.pod, Some(longest.clone()));
        let error = Args::strict(&format!("IgnoreUnknown=1;K8S_POD_NAME={longest}n")).unwrap_err();
        assert_eq!(error.code, 4);
        assert_eq!(error.msg, "CNI_ARGS: K8S_POD_NAME is 1025 bytes long; at most 1024 are allowed");
    }
}
