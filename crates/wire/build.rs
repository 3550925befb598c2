//! Makes static arrays of `table/api-1.36.txt`, so that the field table costs no heap and no start-up time.
//!
//! The text is what people review; its grammar stands at its head. A name is a number into one sorted text, a message
//! is a range of fields, and a field says where it stands when its message's fields are ordered by number.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

const TABLE: &str = "table/api-1.36.txt";

type Result<T> = std::result::Result<T, String>;

fn main() -> Result<()> {
    println!("cargo::rerun-if-changed={TABLE}");
    println!("cargo::rerun-if-changed=build.rs");
    let text = std::fs::read_to_string(TABLE).map_err(|error| format!("{TABLE}: {error}"))?;
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?).join("rows.rs");
    std::fs::write(&out, rows(&text)?).map_err(|error| format!("{}: {error}", out.display()))
}

/// One line of the table.
struct Line<'a> {
    name: &'a str,
    type_meta: bool,
    codec: &'a str,
    fields: Vec<Field<'a>>,
}

struct Field<'a> {
    json: &'a str,
    number: u8,
    cardinality: &'static str,
    kind: &'static str,
    target: String,
    flags: u8,
    merge: &'a str,
}

/// A strategy and a key, as they follow the plus sign.
const NO_MERGE: &str = "";

fn rows(text: &str) -> Result<String> {
    let mut messages = Vec::new();
    let mut kinds = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let wrong = || format!("{TABLE}: {line}");
        match line.split(' ').collect::<Vec<_>>().as_slice() {
            ["message", name, words @ ..] => messages.push(message(name, words).ok_or_else(wrong)?),
            ["kind", group_version, kind, message] => {
                let (group, version) = group_version.split_once('/').ok_or_else(wrong)?;
                kinds.push((group, version, *kind, *message));
            }
            _ => return Err(wrong()),
        }
    }
    let ids: BTreeMap<&str, usize> = messages.iter().enumerate().map(|(id, line)| (line.name, id)).collect();
    let all_fields = || messages.iter().flat_map(|line| &line.fields);
    let mut names: BTreeSet<&str> = all_fields().map(|field| field.json).collect();
    for (group, version, kind, _) in &kinds {
        names.extend([*group, *version, *kind]);
    }
    names.extend(all_fields().filter_map(|field| merge_key(field.merge)));
    let names: Vec<&str> = names.into_iter().collect();
    let merges: BTreeSet<&str> = all_fields().map(|field| field.merge).chain([NO_MERGE]).collect();
    let merges: Vec<&str> = merges.into_iter().collect();

    let mut out = String::new();
    write_names(&mut out, &names)?;
    write_merges(&mut out, &merges, &names)?;
    write_messages(&mut out, &messages)?;
    write_fields(&mut out, &messages, &ids, &names, &merges)?;
    write_kinds(&mut out, &kinds, &ids, &names)?;
    Ok(out)
}

fn message<'a>(name: &'a str, words: &[&'a str]) -> Option<Line<'a>> {
    let package = name.rsplit_once('.')?.0;
    let mut line = Line { name, type_meta: false, codec: "Plain", fields: Vec::new() };
    for word in words {
        match *word {
            "typemeta" => line.type_meta = true,
            "quantity" => line.codec = "Quantity",
            "int-or-string" => line.codec = "IntOrString",
            "time" => line.codec = "Time",
            "micro-time" => line.codec = "MicroTime",
            "raw" => line.codec = "Raw",
            "or-array" => line.codec = "OrArray",
            "or-bool" => line.codec = "OrBool",
            "items" => line.codec = "Items",
            word => line.fields.push(field(word, package)?),
        }
    }
    Some(line)
}

fn field<'a>(word: &'a str, package: &str) -> Option<Field<'a>> {
    let (rest, merge) = word.split_once('+').unwrap_or((word, NO_MERGE));
    let mut parts = rest.splitn(3, ':');
    let (json, number, kind) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?);
    let name = kind.trim_end_matches(['*', '?', '~', '^']);
    let flags =
        kind.get(name.len()..)?.chars().fold(0, |flags, flag| flags | 1 << "*?~^".find(flag).unwrap_or(7));
    let (cardinality, name) = match (name.strip_prefix("[]"), name.strip_prefix("{}")) {
        (Some(name), _) => ("List", name),
        (_, Some(name)) => ("Map", name),
        _ => ("One", name),
    };
    let (kind, target) = match name {
        "s" => ("String", String::new()),
        "i32" => ("Int32", String::new()),
        "i64" => ("Int64", String::new()),
        "bool" => ("Bool", String::new()),
        "f64" => ("Double", String::new()),
        "bytes" => ("Bytes", String::new()),
        name if name.starts_with('.') => ("Message", format!("{package}{name}")),
        name => ("Message", name.to_owned()),
    };
    Some(Field { json, number, cardinality, kind, target, flags, merge })
}

fn merge_key(merge: &str) -> Option<&str> {
    merge.split_once('(').map(|(_, key)| key.trim_end_matches(')'))
}

fn name_id(names: &[&str], name: &str) -> Result<usize> {
    names.binary_search(&name).map_err(|_| format!("{TABLE}: {name} is not among the names"))
}

fn write_names(out: &mut String, names: &[&str]) -> Result<()> {
    let mut ends = Vec::new();
    let mut len = 0;
    for name in names {
        len += name.len();
        ends.push(len);
    }
    put(out, format_args!("pub(super) static NAMES: &str = {:?};\n", names.concat()))?;
    put(out, format_args!("pub(super) static NAME_ENDS: [u16; {}] = {ends:?};\n", ends.len()))
}

fn write_merges(out: &mut String, merges: &[&str], names: &[&str]) -> Result<()> {
    put(out, format_args!("pub(super) static MERGES: [MergeRow; {}] = [\n", merges.len()))?;
    for merge in merges {
        let strategy = merge.split('(').next().unwrap_or_default();
        let has = |word| strategy.split(',').any(|own| own == word);
        let key = name_id(names, merge_key(merge).unwrap_or_default())?;
        let (merge, retain_keys) = (has("merge"), has("retainKeys"));
        put(out, format_args!("MergeRow {{ merge: {merge}, retain_keys: {retain_keys}, key: {key} }},\n"))?;
    }
    put(out, format_args!("];\n"))
}

fn write_messages(out: &mut String, messages: &[Line<'_>]) -> Result<()> {
    put(out, format_args!("pub(super) static MESSAGES: [MessageRow; {}] = [\n", messages.len()))?;
    let mut first = 0;
    for Line { name, type_meta, codec, fields } in messages {
        let len = fields.len();
        put(
            out,
            format_args!(
                "/* {name} */ MessageRow {{ first: {first}, len: {len}, codec: Codec::{codec}, type_meta: {type_meta} }},\n"
            ),
        )?;
        first += len;
    }
    put(out, format_args!("];\n"))?;
    let max = messages.iter().map(|line| line.fields.len()).max().unwrap_or(0);
    put(
        out,
        format_args!(
            "/// The largest number of fields of any message.\npub(crate) const MAX_FIELDS: usize = {max};\n"
        ),
    )
}

fn write_fields(
    out: &mut String,
    messages: &[Line<'_>],
    ids: &BTreeMap<&str, usize>,
    names: &[&str],
    merges: &[&str],
) -> Result<()> {
    let count: usize = messages.iter().map(|line| line.fields.len()).sum();
    put(out, format_args!("pub(super) static FIELDS: [FieldRow; {count}] = [\n"))?;
    for line in messages {
        let mut order: Vec<usize> = (0..line.fields.len()).collect();
        order.sort_by_key(|at| line.fields.get(*at).map(|field| field.number));
        for (field, nth) in line.fields.iter().zip(order) {
            let target = match field.target.as_str() {
                "" => 0,
                name => *ids.get(name).ok_or_else(|| format!("{TABLE}: {name} is not described"))?,
            };
            let name = name_id(names, field.json)?;
            let merge = merges.binary_search(&field.merge).map_err(|_| "merge".to_owned())?;
            let Field { number, cardinality, kind, flags, .. } = field;
            put(
                out,
                format_args!(
                    "FieldRow {{ name: {name}, target: {target}, number: {number}, nth: {nth}, kind: Kind::{kind}, \
                     cardinality: Cardinality::{cardinality}, flags: {flags}, merge: {merge} }},\n"
                ),
            )?;
        }
    }
    put(out, format_args!("];\n"))
}

fn write_kinds(
    out: &mut String,
    kinds: &[(&str, &str, &str, &str)],
    ids: &BTreeMap<&str, usize>,
    names: &[&str],
) -> Result<()> {
    put(out, format_args!("pub(super) static KINDS: [KindRow; {}] = [\n", kinds.len()))?;
    for (group, version, kind, message) in kinds {
        let message = ids.get(message).ok_or_else(|| format!("{TABLE}: {message} is not described"))?;
        let [group, version, kind] =
            [name_id(names, group)?, name_id(names, version)?, name_id(names, kind)?];
        put(
            out,
            format_args!(
                "KindRow {{ group: {group}, version: {version}, kind: {kind}, message: {message} }},\n"
            ),
        )?;
    }
    put(out, format_args!("];\n"))
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) -> Result<()> {
    out.write_fmt(text).map_err(|error| error.to_string())
}
