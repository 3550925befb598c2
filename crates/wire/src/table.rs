//! Tables: what kubectl prints, with the API server's own columns for the kinds that people look at most.
//!
//! Columns and cells are those of `pkg/printers/internalversion/printers.go`; of kinds without columns of their own here,
//! name and age are shown. Descriptions of columns are left empty: nobody shows them.

mod age;
mod cells;
mod columns;
mod network;
mod pod;
mod workload;

#[cfg(test)]
mod tests;

use columns::{Column, columns};

use crate::json::{self, Tape};
use crate::list::ListMeta;
use crate::media::{Encoding, MetaVersion};
use crate::object::Object;
use crate::partial;
use crate::request::Query;
use crate::schema::Kind;
use crate::status::Status;
use crate::transcode::{self, Error};

/// What stands in a row beside its cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Include {
    /// The object's metadata.
    #[default]
    Metadata,
    /// Nothing.
    Nothing,
    /// The whole object.
    Object,
}

impl Include {
    /// Reads `includeObject` of a query; 400 for a word that it does not know.
    pub fn of(query: &Query) -> Result<Include, Status> {
        match query.first("includeObject").unwrap_or_default() {
            "" | "Metadata" => Ok(Include::Metadata),
            "None" => Ok(Include::Nothing),
            "Object" => Ok(Include::Object),
            other => {
                let value = crate::gotext::quote(other);
                Err(Status::bad_request(format!(
                    "Unable to convert to Table as requested: includeObject: Invalid value: {value}: must be 'Metadata', \
                     'Object', 'None', or empty"
                )))
            }
        }
    }
}

/// How a table is to be written.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// What stands in a row beside its cells.
    pub include: Include,
    /// The version of meta.k8s.io that was asked for.
    pub version: MetaVersion,
    /// Whether columns are named; in a watch only the first table names them.
    pub headers: bool,
    /// The present moment in seconds since 1970, for ages.
    pub now: i64,
}

/// What stands in a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Cell {
    Text(String),
    Number(i64),
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell::Text(text)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell::Text(text.to_owned())
    }
}

impl From<i64> for Cell {
    fn from(number: i64) -> Cell {
        Cell::Number(number)
    }
}

/// Writes a table of objects in JSON, the only encoding there is for it. `kind` is that of the resource, `None` for a
/// custom one.
pub fn table<'a>(
    kind: Option<Kind>,
    objects: impl IntoIterator<Item = &'a Object<'a>>,
    meta: &ListMeta,
    options: Options,
) -> Result<Vec<u8>, Error> {
    let mut out = b"{\"kind\":\"Table\",\"apiVersion\":\"".to_vec();
    out.extend_from_slice(options.version.api_version().as_bytes());
    out.extend_from_slice(b"\",\"metadata\":");
    meta.push_json(&mut out);
    out.extend_from_slice(b",\"columnDefinitions\":");
    push_columns(&mut out, if options.headers { columns(kind) } else { &[] }, options.headers);
    out.extend_from_slice(b",\"rows\":[");
    for (at, object) in objects.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        push_row(&mut out, kind, object, options)?;
    }
    out.extend_from_slice(b"]}\n");
    Ok(out)
}

fn push_columns(out: &mut Vec<u8>, columns: &[Column], named: bool) {
    if !named {
        out.extend_from_slice(b"null");
        return;
    }
    out.push(b'[');
    for (at, column) in columns.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        let Column { name, kind, format, priority } = column;
        out.extend_from_slice(
            format!(
                "{{\"name\":\"{name}\",\"type\":\"{kind}\",\"format\":\"{format}\",\"description\":\"\",\"priority\":{priority}}}"
            )
            .as_bytes(),
        );
    }
    out.push(b']');
}

fn push_row(
    out: &mut Vec<u8>,
    kind: Option<Kind>,
    object: &Object<'_>,
    options: Options,
) -> Result<(), Error> {
    let alone;
    let document = match object.encoding() {
        Encoding::Json => object.body(),
        Encoding::Protobuf => {
            alone = transcode::to_json(&object.to_bytes())?.bytes;
            &alone
        }
    };
    let tape = Tape::parse(document)?;
    let (cells, conditions) = cells::row(kind, tape.root(), options.now);
    out.extend_from_slice(b"{\"cells\":[");
    for (at, cell) in cells.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        match cell {
            Cell::Text(text) => json::push_string(out, text),
            Cell::Number(number) => out.extend_from_slice(number.to_string().as_bytes()),
        }
    }
    out.push(b']');
    if let Some(conditions) = conditions {
        out.extend_from_slice(b",\"conditions\":");
        out.extend_from_slice(conditions.as_bytes());
    }
    out.extend_from_slice(b",\"object\":");
    match options.include {
        Include::Nothing => out.extend_from_slice(b"null"),
        Include::Metadata => {
            partial::push_json(object, options.version, out)?;
        }
        Include::Object => match object.encoding() {
            Encoding::Json => out.extend_from_slice(&object.to_bytes()),
            Encoding::Protobuf => out.extend_from_slice(document),
        },
    }
    out.push(b'}');
    Ok(())
}
