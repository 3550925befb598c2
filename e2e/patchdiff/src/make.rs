//! Generated patches: mostly such that mean something to the object, some with faults.

use patch::Form;
use serde_json::{Map, Value, json};
use testkit::rng::Rng;
use wire::schema::{Field, Message};

/// Members of metadata that are played with now and then only; with most of them nothing else can be seen.
const RARE: [&str; 11] = [
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
    "managedFields",
    "ownerReferences",
];

/// Makes patches.
pub struct Maker<'r> {
    /// Chance.
    pub rng: &'r mut Rng,
    /// Percent of places in which something is wrong.
    pub faults: u64,
}

impl Maker<'_> {
    /// The body of a patch to `current`.
    pub fn body(&mut self, form: Form, current: &Value, sample: &Value, message: Option<Message>) -> Vec<u8> {
        if self.rng.chance(self.faults) {
            return self.no_patch();
        }
        let patch = match form {
            Form::Json => self.operations(current, sample),
            Form::Merge => self.root(current, sample, None),
            Form::Strategic => self.root(current, sample, message),
        };
        // As Go writes it: in a JSON patch, the API server compares how strings are escaped.
        let escapes = [('<', "\\u003c"), ('>', "\\u003e"), ('&', "\\u0026"), ('\u{2028}', "\\u2028")];
        let text =
            escapes.iter().fold(patch.to_string(), |text, (plain, escaped)| text.replace(*plain, escaped));
        text.into_bytes()
    }

    fn pick<'v, T>(&mut self, list: &'v [T]) -> Option<&'v T> {
        if list.is_empty() { None } else { list.get(self.rng.index(list.len())) }
    }

    fn no_patch(&mut self) -> Vec<u8> {
        let bodies: [&[u8]; 8] = [b"", b"null", b"[]", b"{}", b"\"x\"", b"{\"metadata\":", b"[{}]", b"7"];
        self.pick(&bodies).copied().unwrap_or_default().to_vec()
    }

    /// A patch of a whole object: of its metadata, and of its spec, its status or its data.
    fn root(&mut self, current: &Value, sample: &Value, message: Option<Message>) -> Value {
        let mut patch = Map::new();
        for (name, value) in sample.as_object().into_iter().flatten() {
            let percent = match name.as_str() {
                "kind" | "apiVersion" => 2,
                "metadata" => 35,
                _ => 60,
            };
            if self.rng.chance(percent) {
                self.member(&mut patch, name, current.get(name), value, message);
            }
        }
        Value::Object(patch)
    }

    /// Something that changes an object with known or unknown fields. Without a message there are no directives.
    fn object(&mut self, current: Option<&Value>, sample: &Value, message: Option<Message>) -> Value {
        let mut patch = Map::new();
        let mut names: Vec<&String> =
            sample.as_object().into_iter().flatten().map(|(name, _)| name).collect();
        names.extend(current.and_then(Value::as_object).into_iter().flatten().map(|(name, _)| name));
        names.retain(|name| !RARE.contains(&name.as_str()) || self.rng.chance(8));
        for _ in 0..1 + self.rng.below(3) {
            let Some(name) = self.pick(&names).copied() else { break };
            if patch.keys().any(|key| key == name || key.ends_with(&format!("/{name}"))) {
                continue;
            }
            let now = current.and_then(|current| current.get(name));
            let Some(value) = sample.get(name).or(now) else { continue };
            self.member(&mut patch, name, now, value, message);
        }
        if self.rng.chance(2) {
            patch.insert("invented".to_owned(), json!({"a": 1}));
        }
        if message.is_some() {
            self.directives(&mut patch, &names);
        }
        Value::Object(patch)
    }

    fn directives(&mut self, patch: &mut Map<String, Value>, names: &[&String]) {
        if self.rng.chance(3) {
            let directive = if self.rng.chance(self.faults) { "merge" } else { "replace" };
            let directive = if self.rng.chance(40) { "delete" } else { directive };
            patch.insert("$patch".to_owned(), directive.into());
        } else if self.rng.chance(4) {
            let mut keep: Vec<String> = patch.keys().filter(|key| !key.starts_with('$')).cloned().collect();
            keep.extend(names.iter().filter(|_| self.rng.chance(60)).map(|name| (*name).clone()));
            if self.rng.chance(self.faults) {
                keep.clear();
            }
            let keep = if self.rng.chance(self.faults) { json!("type") } else { json!(keep) };
            patch.insert("$retainKeys".to_owned(), keep);
        }
    }

    fn member(
        &mut self,
        patch: &mut Map<String, Value>,
        name: &str,
        current: Option<&Value>,
        sample: &Value,
        message: Option<Message>,
    ) {
        if self.rng.chance(10) {
            patch.insert(name.to_owned(), Value::Null);
            return;
        }
        if self.rng.chance(self.faults) {
            let values = [
                json!(7),
                json!("x"),
                json!([]),
                json!({}),
                json!([null]),
                json!({"a": null}),
                json!(1.5),
                json!(true),
            ];
            let value = self.pick(&values).cloned().unwrap_or_default();
            patch.insert(name.to_owned(), value);
            return;
        }
        let field = message.and_then(|message| message.field(name));
        match sample {
            Value::Object(_) => {
                let inner = field.and_then(Field::message);
                let value = self.object(current, sample, inner.or(message.filter(|_| field.is_some())));
                patch.insert(name.to_owned(), value);
            }
            Value::Array(elements) => match field.filter(|field| field.merges()) {
                Some(field) => self.list(patch, name, current, elements, field),
                None => {
                    let list = self.whole_list(elements);
                    patch.insert(name.to_owned(), list);
                }
            },
            scalar => {
                let value = self.scalar(current, scalar);
                patch.insert(name.to_owned(), value);
            }
        }
    }

    fn scalar(&mut self, current: Option<&Value>, sample: &Value) -> Value {
        let now = current.unwrap_or(sample);
        match self.rng.below(10) {
            0..5 => sample.clone(),
            5..8 => now.clone(),
            _ => match sample {
                Value::String(_) => {
                    self.pick(&["", "x", "True", "False", "Unknown"]).copied().unwrap_or_default().into()
                }
                Value::Number(number) => {
                    number.as_i64().map_or(json!(0.5), |number| json!(number.wrapping_add(1)))
                }
                Value::Bool(truth) => (!truth).into(),
                other => other.clone(),
            },
        }
    }

    /// Some of the elements, each as it is or a little changed.
    fn whole_list(&mut self, sample: &[Value]) -> Value {
        let mut list = Vec::new();
        for element in sample {
            if self.rng.chance(65) {
                let changed = match element {
                    Value::Object(members) if !members.is_empty() && self.rng.chance(30) => {
                        let Some((name, value)) = members.iter().nth(self.rng.index(members.len())) else {
                            continue;
                        };
                        let mut members = members.clone();
                        let value = self.scalar(None, value);
                        members.insert(name.clone(), value);
                        Value::Object(members)
                    }
                    element => element.clone(),
                };
                list.push(changed);
            }
        }
        if self.rng.chance(self.faults) {
            list.push(Value::Null);
        }
        if self.rng.chance(20) {
            self.rng.shuffle(&mut list);
        }
        list.into()
    }

    /// A list that is merged, with all that can go with one.
    fn list(
        &mut self,
        patch: &mut Map<String, Value>,
        name: &str,
        current: Option<&Value>,
        sample: &[Value],
        field: Field,
    ) {
        let now = current.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let pool: Vec<&Value> = sample.iter().chain(now).collect();
        let mut list = Vec::new();
        for element in sample.iter().chain(now.iter().filter(|element| !sample.contains(element))) {
            if self.rng.chance(45) {
                let element = match field.merge_key() {
                    Some(key) => self.element(element, key, field),
                    None => element.clone(),
                };
                list.push(element);
            }
        }
        if self.rng.chance(25) {
            self.rng.shuffle(&mut list);
        }
        if self.rng.chance(self.faults) {
            let faults = [json!(null), json!("x"), json!([]), json!({}), json!({"$patch": "merge"})];
            list.extend(self.pick(&faults).cloned());
        }
        if self.rng.chance(6) && field.merge_key().is_some() {
            list.push(json!({"$patch": "replace"}));
        }
        if self.rng.chance(40) {
            let order = self.order(&list, &pool, field);
            patch.insert(format!("$setElementOrder/{name}"), order);
        }
        if field.merge_key().is_none() && !now.is_empty() && self.rng.chance(35) {
            // What is both added and deleted, or deleted from a list that is not there, ends as the API server's map of members happens to be ordered.
            let mut gone = self.whole_list(sample);
            if let Some(gone) = gone.as_array_mut() {
                gone.retain(|value| !list.contains(value));
            }
            patch.insert(format!("$deleteFromPrimitiveList/{name}"), gone);
        }
        if self.rng.chance(85) {
            patch.insert(name.to_owned(), list.into());
        }
    }

    /// An element of a patch's list: a part of it with its key, or its deletion.
    fn element(&mut self, sample: &Value, key: &str, field: Field) -> Value {
        let name = sample.get(key).cloned().unwrap_or_default();
        if self.rng.chance(25) {
            return json!({"$patch": "delete", key: name});
        }
        let mut element = match self.rng.below(2) {
            0 => sample.clone(),
            _ => self.object(Some(sample), sample, field.message()),
        };
        if let Some(members) = element.as_object_mut().filter(|_| !self.rng.chance(self.faults)) {
            members.insert(key.to_owned(), name);
        }
        element
    }

    /// The value of `$setElementOrder`: what the patch has, in its order, with others between.
    fn order(&mut self, list: &[Value], pool: &[&Value], field: Field) -> Value {
        let named = |value: &Value| match field.merge_key() {
            Some(key) => json!({ key: value.get(key).cloned().unwrap_or_default() }),
            None => value.clone(),
        };
        let stays = |element: &&Value| element.get("$patch").is_none();
        let mut order: Vec<Value> = list.iter().filter(stays).map(named).collect();
        for other in pool {
            let other = named(other);
            if self.rng.chance(40) && !order.contains(&other) {
                let at = self.rng.index(order.len() + 1);
                order.insert(at, other);
            }
        }
        if self.rng.chance(self.faults) {
            self.rng.shuffle(&mut order);
        }
        if self.rng.chance(self.faults) {
            let faults = [json!([]), json!({}), json!([{}]), json!(["x"]), json!([7])];
            return self.pick(&faults).cloned().unwrap_or_default();
        }
        order.into()
    }

    /// A JSON patch.
    fn operations(&mut self, current: &Value, sample: &Value) -> Value {
        let mut paths = Vec::new();
        walk(current, "", &mut paths);
        walk(sample, "", &mut paths);
        paths.retain(|path| !RARE.iter().any(|rare| path.contains(rare)) || self.rng.chance(8));
        let mut operations = Vec::new();
        for _ in 0..1 + self.rng.below(3) {
            let path = self.pick(&paths).cloned().unwrap_or_default();
            let from = self.pick(&paths).cloned().unwrap_or_default();
            let value = sample.pointer(&path).or(current.pointer(&path)).cloned().unwrap_or_default();
            let path = self.altered(path);
            let words = ["add", "add", "remove", "replace", "replace", "move", "copy", "test", "test"];
            let op = self.pick(&words).copied().unwrap_or_default();
            let op = if self.rng.chance(self.faults) { "invented" } else { op };
            let mut operation = json!({"op": op, "path": path});
            if let Some(members) = operation.as_object_mut() {
                match op {
                    "move" | "copy" => {
                        members.insert("from".to_owned(), from.into());
                    }
                    "test" => {
                        let now = current.pointer(&path).cloned().unwrap_or_default();
                        members.insert("value".to_owned(), if self.rng.chance(70) { now } else { value });
                    }
                    _ => {
                        members.insert("value".to_owned(), value);
                    }
                }
            }
            operations.push(operation);
        }
        operations.into()
    }

    /// A path, mostly as it is.
    fn altered(&mut self, path: String) -> String {
        match self.rng.below(20) {
            0 => format!("{path}/new"),
            1 => format!("{path}/-"),
            2 => format!("{path}/0"),
            3 => path.trim_start_matches('/').to_owned(),
            _ => path,
        }
    }
}

/// Every path into a value.
fn walk(value: &Value, path: &str, paths: &mut Vec<String>) {
    if !path.is_empty() {
        paths.push(path.to_owned());
    }
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                walk(value, &format!("{path}/{}", name.replace('~', "~0").replace('/', "~1")), paths);
            }
        }
        Value::Array(elements) => {
            for (at, value) in elements.iter().enumerate() {
                walk(value, &format!("{path}/{at}"), paths);
            }
        }
        _ => {}
    }
}
