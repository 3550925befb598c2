//! JSON patches (RFC 6902), as the API server's library applies them (`json-patch`'s `patch.go`).
//!
//! It is laxer than the RFC, and Cilium and others live by that: `replace` of a missing member adds it, `copy` of a
//! missing member copies null, `test` of a missing member against null passes, negative indices count from the end, and
//! a path counts from its first slash on. Strings are compared by their content in `test`, where the API server compares
//! how they are escaped.

use serde_json::{Map, Value};

/// The most operations that one patch may have (`maxJSONPatchOperations`).
pub const MAX_OPERATIONS: usize = 10_000;

/// The most bytes of JSON that all `copy` operations of a patch may add (`JSONPatchMaxCopyBytes`).
pub const MAX_COPIED: usize = 3 << 20;

/// The most work that a patch may be, counted as its operations times the bytes of the document, because each operation
/// may walk over all of it. The API server knows no such limit; the largest object takes seven hundred operations.
pub const MAX_WORK: usize = 1 << 30;

/// Why an operation cannot be applied, for people; the API server answers 422 and keeps it to itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(pub String);

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

fn error<T>(what: impl Into<String>) -> Result<T, Error> {
    Err(Error(what.into()))
}

/// Applies the operations in their order; at the first one that fails nothing has been done.
///
/// # Errors
/// For an operation that is none, a path that leads nowhere, a `test` that fails, copies beyond [`MAX_COPIED`], and a
/// patch beyond [`MAX_WORK`].
pub fn apply(current: Value, operations: &[Map<String, Value>]) -> Result<Value, Error> {
    if current.to_string().len().saturating_mul(operations.len()) > MAX_WORK {
        return error("too many operations for so large an object");
    }
    let mut document = Document { root: current, copied: 0 };
    for (at, operation) in operations.iter().enumerate() {
        document.operate(operation).map_err(|error| Error(format!("operation {at}: {error}")))?;
    }
    Ok(document.root)
}

struct Document {
    root: Value,
    copied: usize,
}

/// Where a value stands or shall stand: what holds it, and its name there.
struct Spot<'d> {
    holder: &'d mut Value,
    token: String,
}

impl Document {
    fn operate(&mut self, operation: &Map<String, Value>) -> Result<(), Error> {
        let value = || operation.get("value").cloned().unwrap_or_default();
        let path = text(operation, "path");
        match operation.get("op").and_then(Value::as_str) {
            Some("add") => self.spot(path?)?.add(value()),
            Some("remove") => self.spot(path?)?.remove().map(drop),
            Some("replace") => self.replace(path?, value()),
            Some("move") => {
                let moved = self.spot(text(operation, "from")?)?.remove()?;
                self.spot(path?)?.add(moved)
            }
            Some("copy") => {
                let copy = self.spot(text(operation, "from")?)?.get()?.cloned().unwrap_or_default();
                self.copied = self.copied.saturating_add(copy.to_string().len());
                if self.copied > MAX_COPIED {
                    return error(format!("what is copied is larger than {MAX_COPIED} bytes"));
                }
                self.spot(path?)?.add(copy)
            }
            Some("test") => self.test(path?, operation.get("value")),
            _ => error("the operation is none of add, remove, replace, move, copy, test"),
        }
    }

    fn replace(&mut self, path: &str, value: Value) -> Result<(), Error> {
        if !path.is_empty() {
            return self.spot(path)?.set(value);
        }
        if !value.is_object() && !value.is_array() {
            return error("only an object or an array can replace the whole document");
        }
        self.root = value;
        Ok(())
    }

    fn test(&mut self, path: &str, wanted: Option<&Value>) -> Result<(), Error> {
        let passes = if path.is_empty() {
            wanted == Some(&self.root)
        } else {
            match (self.spot(path)?.get()?, wanted) {
                (None | Some(Value::Null), wanted) => wanted.is_none_or(Value::is_null),
                (found, wanted) => found.map(|found| &*found) == wanted,
            }
        };
        if passes { Ok(()) } else { error(format!("the value at {path} is another one")) }
    }

    /// Where `path` leads; the last step need not exist yet.
    fn spot(&mut self, path: &str) -> Result<Spot<'_>, Error> {
        let nowhere = || Error(format!("the path {path} leads nowhere"));
        let (_, tokens) = path.split_once('/').ok_or_else(nowhere)?;
        let (parents, last) =
            tokens.rsplit_once('/').map_or((None, tokens), |(parents, last)| (Some(parents), last));
        let mut holder = &mut self.root;
        for token in parents.into_iter().flat_map(|parents| parents.split('/')) {
            holder = child(holder, &unescape(token))?.ok_or_else(nowhere)?;
        }
        if !holder.is_object() && !holder.is_array() {
            return Err(nowhere());
        }
        Ok(Spot { holder, token: unescape(last) })
    }
}

impl Spot<'_> {
    fn get(&mut self) -> Result<Option<&mut Value>, Error> {
        child(self.holder, &self.token)
    }

    fn add(self, value: Value) -> Result<(), Error> {
        match self.holder {
            Value::Object(members) => {
                members.insert(self.token, value);
            }
            Value::Array(elements) if self.token == "-" => elements.push(value),
            Value::Array(elements) => {
                let at = index(&self.token, elements.len() + 1)?;
                elements.insert(at, value);
            }
            _ => return error("a value has no members"),
        }
        Ok(())
    }

    fn set(self, value: Value) -> Result<(), Error> {
        match self.holder {
            Value::Object(members) => {
                members.insert(self.token, value);
                Ok(())
            }
            holder => match child(holder, &self.token)? {
                Some(slot) => {
                    *slot = value;
                    Ok(())
                }
                None => error("a value has no members"),
            },
        }
    }

    fn remove(self) -> Result<Value, Error> {
        match self.holder {
            Value::Object(members) => members
                .remove(&self.token)
                .ok_or_else(|| Error(format!("there is no member {} to remove", self.token))),
            Value::Array(elements) => {
                let at = index(&self.token, elements.len())?;
                Ok(elements.remove(at))
            }
            _ => error("a value has no members"),
        }
    }
}

/// The member or element of this name; an element that is not there is an error, a member that is not there is none.
fn child<'v>(holder: &'v mut Value, token: &str) -> Result<Option<&'v mut Value>, Error> {
    match holder {
        Value::Object(members) => Ok(members.get_mut(token)),
        Value::Array(elements) => {
            let at = index(token, elements.len())?;
            Ok(elements.get_mut(at))
        }
        _ => Ok(None),
    }
}

/// The index that a token names, below `len`; a negative one counts from `len` down.
fn index(token: &str, len: usize) -> Result<usize, Error> {
    let outside = || Error(format!("there is no index {token}"));
    let number: i64 = token.parse().map_err(|_| Error(format!("{token} is no index")))?;
    let at = match usize::try_from(number) {
        Ok(at) => Some(at),
        Err(_) => usize::try_from(number.unsigned_abs()).ok().and_then(|back| len.checked_sub(back)),
    };
    at.filter(|at| *at < len).ok_or_else(outside)
}

fn text<'o>(operation: &'o Map<String, Value>, name: &str) -> Result<&'o str, Error> {
    operation.get(name).and_then(Value::as_str).ok_or_else(|| Error(format!("the operation has no {name}")))
}

/// RFC 6901, section 4.
fn unescape(token: &str) -> String {
    token.replace("~1", "/").replace("~0", "~")
}
