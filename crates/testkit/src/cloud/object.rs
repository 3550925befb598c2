//! Objects as trees, and the few places in them that every kind has.

use serde_json::{Map, Value, json};

/// The text at a dotted path (`metadata.name`); empty where there is none. Numbers and truth values are written out.
pub fn text(object: &Value, path: &str) -> String {
    match at(object, path) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    }
}

/// What stands at a dotted path. Keys that hold dots themselves cannot be reached so.
pub fn at<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(object, |value, key| value.get(key))
}

/// The object's own map.
pub fn map(object: &mut Value) -> &mut Map<String, Value> {
    if !object.is_object() {
        *object = json!({});
    }
    object.as_object_mut().expect("it was made one")
}

/// The map under a key of the object, made if it is not there.
pub fn member<'a>(object: &'a mut Value, key: &str) -> &'a mut Map<String, Value> {
    map(map(object).entry(key).or_insert_with(|| json!({})))
}

/// The object's metadata.
pub fn meta(object: &mut Value) -> &mut Map<String, Value> {
    member(object, "metadata")
}

/// The object with another resourceVersion.
pub fn at_revision(object: &Value, revision: u64) -> Value {
    let mut object = object.clone();
    meta(&mut object).insert("resourceVersion".into(), revision.to_string().into());
    object
}

/// A moment as Kubernetes writes it, from seconds since 1970 (Hinnant, "chrono-compatible low-level date algorithms").
pub fn timestamp(seconds: i64) -> String {
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}
