//! `cargo xtask kinds`: writes the field table of `wire` from the Kubernetes API as data.
//!
//! The data are two tables read off the API's Go types (`fields-*.tsv`, `kinds-*.tsv`); what `wire` needs of them is
//! kept in the repository as text, one line a message, so that a new Kubernetes release is a diff that people can read.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::Result;

const TABLE: &str = "crates/wire/table/api-1.36.txt";

const HEAD: &str = "\
# The Kubernetes 1.36 API as `wire` knows it. Written by `cargo xtask kinds`; do not edit.
#
# message NAME [typemeta] [codec] FIELD…     fields in the order in which Go writes them in JSON
# FIELD is JSON:NUMBER:TYPE[FLAGS][+STRATEGY[(KEY)]]
#   TYPE   s string, i32, i64, bool, f64, bytes, or a message; [] list of, {} map from strings to
#          a message beginning with a dot is of the same package
#   FLAGS  * pointer  ? omitempty  ~ omitzero  ^ inlined in JSON
#   +      patchStrategy and patchMergeKey
# kind GROUP/VERSION KIND MESSAGE
";

/// Packages by what they are called here.
const PACKAGES: [(&str, &str); 7] = [
    ("k8s.io.apimachinery.pkg.apis.meta.v1.", "meta.v1."),
    ("k8s.io.apimachinery.pkg.api.resource.", "resource."),
    ("k8s.io.apimachinery.pkg.util.intstr.", "intstr."),
    ("k8s.io.apimachinery.pkg.runtime.", "runtime."),
    ("k8s.io.apiextensions-apiserver.pkg.apis.apiextensions.v1.", "apiextensions.v1."),
    ("k8s.io.kube-aggregator.pkg.apis.apiregistration.v1.", "apiregistration.v1."),
    ("k8s.io.api.", ""),
];

/// What the data leave out: groups that are never stored (admission, discovery, image policy), metadata-only kinds. Read
/// off the Go types in the same way, in the same form.
const MORE_FIELDS: &str = include_str!("../data/more-fields-1.36.tsv");
const MORE_KINDS: &str = include_str!("../data/more-kinds-1.36.tsv");

/// Messages without fields, of which the data hold no row.
const EMPTY: [&str; 3] = [
    "apiextensions.v1.CustomResourceSubresourceStatus",
    "apiserverinternal.v1alpha1.StorageVersionSpec",
    "scheduling.v1alpha2.BasicSchedulingPolicy",
];

/// Writes the table, or says with `--check` whether it is what would be written.
pub fn main(words: &[&str]) -> Result<ExitCode> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("xtask has no parent directory")?;
    let (check, from) = match words {
        [] => (false, None),
        ["--check"] => (true, None),
        [from] => (false, Some(PathBuf::from(from))),
        ["--check", from] => (true, Some(PathBuf::from(from))),
        _ => return Err("usage: cargo xtask kinds [--check] [DIRECTORY WITH fields-1.36.tsv]".to_owned()),
    };
    let from = from
        .or_else(|| std::env::var_os("EDGEKEEP_K8S_DATA").map(PathBuf::from))
        .unwrap_or_else(|| root.join("../shared/k8s"));
    let read = |name: &str| {
        let path = from.join(name);
        std::fs::read_to_string(&path).map_err(|error| {
            format!("{}: {error}; name its directory, or set EDGEKEEP_K8S_DATA", path.display())
        })
    };
    let table = table(&read("fields-1.36.tsv")?, &read("kinds-1.36.tsv")?)?;
    let path = root.join(TABLE);
    if check {
        let committed = std::fs::read_to_string(&path).map_err(|error| format!("{TABLE}: {error}"))?;
        if committed != table {
            return Err(format!("{TABLE} is not what {} says: run `cargo xtask kinds`", from.display()));
        }
        println!("{TABLE} is what {} says", from.display());
    } else {
        std::fs::write(&path, &table).map_err(|error| format!("{TABLE}: {error}"))?;
        println!("{TABLE}: {} lines, {} bytes", table.lines().count(), table.len());
    }
    Ok(ExitCode::SUCCESS)
}

/// What is known of a message while the table is made.
#[derive(Default)]
struct Message {
    type_meta: bool,
    /// Whether it has a form in JSON of its own.
    custom: bool,
    /// `wire`'s name for that form.
    codec: Option<&'static str>,
    fields: Vec<String>,
    refers_to: BTreeSet<String>,
}

fn table(fields: &str, kinds: &str) -> Result<String> {
    let mut messages = messages([fields, MORE_FIELDS])?;
    let mut lines = Vec::new();
    for line in [kinds, MORE_KINDS].into_iter().flat_map(|file| file.lines().skip(1)) {
        let [group, version, kind, message] = columns(line).ok_or_else(|| format!("kinds: {line}"))?;
        lines.push((group.to_owned(), version.to_owned(), kind.to_owned(), short(message)));
    }
    lines.sort();
    let mut out = HEAD.to_owned();
    let roots = lines.iter().map(|(_, _, _, message)| message.clone());
    for name in reachable(roots.collect(), &messages) {
        let message = match messages.remove(&name) {
            Some(message) => message,
            None if EMPTY.contains(&name.as_str()) => Message::default(),
            None => return Err(format!("{name} is referred to, but the data do not describe it")),
        };
        if message.custom && message.codec.is_none() {
            return Err(format!("{name} has a form in JSON of its own, for which wire has no codec"));
        }
        write_message(&mut out, &name, &message);
    }
    for (group, version, kind, message) in lines {
        writeln!(out, "kind {group}/{version} {kind} {message}").map_err(|error| error.to_string())?;
    }
    Ok(out)
}

fn write_message(out: &mut String, name: &str, message: &Message) {
    let type_meta = message.type_meta.then_some("typemeta");
    let words = type_meta.into_iter().chain(message.codec).chain(message.fields.iter().map(String::as_str));
    out.push_str("message ");
    out.push_str(name);
    for word in words {
        out.push(' ');
        out.push_str(word);
    }
    out.push('\n');
}

/// Every message that the roots reach, in the order of their names.
fn reachable(mut open: Vec<String>, messages: &BTreeMap<String, Message>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    while let Some(name) = open.pop() {
        if found.insert(name.clone()) {
            open.extend(
                messages.get(&name).into_iter().flat_map(|message| message.refers_to.iter().cloned()),
            );
        }
    }
    found
}

fn messages(files: [&str; 2]) -> Result<BTreeMap<String, Message>> {
    let mut messages: BTreeMap<String, Message> = BTreeMap::new();
    for line in files.into_iter().flat_map(|file| file.lines().skip(1)) {
        let wrong = || format!("fields: {line}");
        let name = short(line.split('\t').next().unwrap_or_default());
        let message = messages.entry(name.clone()).or_default();
        message.codec = codec(&name);
        if line.split('\t').nth(1) == Some("custom-json") {
            message.custom = true;
            continue;
        }
        let [_, number, _, json, _, kind, flags] = columns(line).ok_or_else(wrong)?;
        if kind.ends_with(".TypeMeta") && number.is_empty() {
            message.type_meta = true;
        } else if number.parse::<u8>().is_ok() {
            let (text, target) = self::kind(kind, &name);
            message.refers_to.extend(target);
            let json = if message.codec.is_some() { "" } else { json };
            message.fields.push(format!("{json}:{number}:{text}{}", self::flags(flags)));
        }
    }
    // Lists that are messages on the wire.
    let wrappers: Vec<String> = messages
        .values()
        .flat_map(|message| &message.refers_to)
        .filter(|name| codec(name) == Some("items"))
        .cloned()
        .collect();
    for name in wrappers {
        let items = Message { codec: Some("items"), fields: vec![":1:[]s".to_owned()], ..Message::default() };
        messages.insert(name, items);
    }
    Ok(messages)
}

/// The form in JSON of a message whose form is its own, by `wire`'s name for it.
fn codec(name: &str) -> Option<&'static str> {
    Some(match name {
        "resource.Quantity" => "quantity",
        "intstr.IntOrString" => "int-or-string",
        "meta.v1.Time" => "time",
        "meta.v1.MicroTime" => "micro-time",
        "runtime.RawExtension" | "meta.v1.FieldsV1" | "apiextensions.v1.JSON" => "raw",
        "apiextensions.v1.JSONSchemaPropsOrArray" | "apiextensions.v1.JSONSchemaPropsOrStringArray" => {
            "or-array"
        }
        "apiextensions.v1.JSONSchemaPropsOrBool" => "or-bool",
        name if name.ends_with(".ExtraValue") || name == "meta.v1.Verbs" => "items",
        _ => return None,
    })
}

/// The type as the table writes it, and the message that it is made of.
fn kind(kind: &str, of: &str) -> (String, Option<String>) {
    let (prefix, rest) = match kind.strip_prefix("list:") {
        // A named list that is a message of its own on the wire.
        Some(rest) if rest.ends_with("=string") => ("", rest.trim_end_matches("=string")),
        Some(rest) => ("[]", rest.rsplit('=').next().unwrap_or(rest)),
        None => match kind.strip_prefix("map:string:") {
            Some(rest) => ("{}", rest.trim_start_matches("list:").trim_end_matches("=string")),
            None => ("", kind),
        },
    };
    let scalar = match rest {
        "string" => "s",
        "int32" => "i32",
        "int64" => "i64",
        "float64" => "f64",
        "bool" | "bytes" => rest,
        _ => "",
    };
    if !scalar.is_empty() {
        return (format!("{prefix}{scalar}"), None);
    }
    let target = short(rest.trim_start_matches("msg:"));
    let package = |name: &str| name.rsplit_once('.').map_or(String::new(), |(package, _)| package.to_owned());
    let shown = match target.rsplit_once('.') {
        Some((own, name)) if own == package(of) => format!(".{name}"),
        _ => target.clone(),
    };
    (format!("{prefix}{shown}"), Some(target))
}

fn flags(flags: &str) -> String {
    let mut out = String::new();
    let (mut strategy, mut key) = (None, None);
    for flag in flags.split(' ') {
        match flag {
            "ptr" => out.push('*'),
            "omitempty" => out.push('?'),
            "omitzero" => out.push('~'),
            "inline" => out.push('^'),
            other => match other.split_once('=') {
                Some(("patchStrategy", value)) => strategy = Some(value),
                Some(("patchMergeKey", value)) => key = Some(value),
                _ => {}
            },
        }
    }
    if let Some(strategy) = strategy {
        out.push('+');
        out.push_str(strategy);
    }
    if let Some(key) = key {
        out.extend(["(", key, ")"]);
    }
    out
}

fn short(name: &str) -> String {
    let found =
        PACKAGES.iter().find_map(|(long, short)| Some(format!("{short}{}", name.strip_prefix(long)?)));
    found.unwrap_or_else(|| name.to_owned())
}

fn columns<const N: usize>(line: &str) -> Option<[&str; N]> {
    let mut columns = [""; N];
    for (at, column) in line.split('\t').enumerate() {
        *columns.get_mut(at)? = column;
    }
    Some(columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_and_flags_are_written_in_short() {
        let short_kind = |kind: &str| super::kind(kind, "core.v1.Pod").0;
        assert_eq!(short_kind("list:msg:k8s.io.api.core.v1.Container"), "[].Container");
        assert_eq!(
            short_kind("map:string:msg:k8s.io.apimachinery.pkg.api.resource.Quantity"),
            "{}resource.Quantity"
        );
        assert_eq!(
            short_kind("map:string:list:k8s.io.api.certificates.v1.ExtraValue=string"),
            "{}certificates.v1.ExtraValue"
        );
        assert_eq!(short_kind("list:k8s.io.apimachinery.pkg.apis.meta.v1.Verbs=string"), "meta.v1.Verbs");
        assert_eq!(short_kind("list:a.ValidationRules=msg:k8s.io.api.core.v1.Rule"), "[].Rule");
        assert_eq!(
            flags("ptr omitempty patchStrategy=merge,retainKeys patchMergeKey=name"),
            "*?+merge,retainKeys(name)"
        );
    }

    #[test]
    fn the_committed_table_is_what_the_data_say_where_they_are_at_hand() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let given = std::env::var_os("EDGEKEEP_K8S_DATA").map(PathBuf::from);
        let from = given.clone().unwrap_or_else(|| root.join("../shared/k8s"));
        let read = |name: &str| std::fs::read_to_string(from.join(name));
        let (fields, kinds) = match (read("fields-1.36.tsv"), read("kinds-1.36.tsv")) {
            (Ok(fields), Ok(kinds)) => (fields, kinds),
            _ if given.is_none() => {
                eprintln!("not checked: no Kubernetes API data in {}; set EDGEKEEP_K8S_DATA", from.display());
                return;
            }
            _ => panic!("EDGEKEEP_K8S_DATA={} holds no fields-1.36.tsv and kinds-1.36.tsv", from.display()),
        };
        let committed = std::fs::read_to_string(root.join(TABLE)).unwrap();
        assert!(table(&fields, &kinds).unwrap() == committed, "{TABLE} is stale: run `cargo xtask kinds`");
    }
}
