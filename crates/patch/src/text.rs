//! JSON values as Go's `%v` writes them, because error messages quote them.

use serde_json::Value;

/// The value in Go's words: `map[a:1 b:[x y]]`.
pub(crate) fn go(value: &Value) -> String {
    let mut out = String::new();
    push(&mut out, value);
    out
}

/// The array in Go's words: `[a b]`.
pub(crate) fn go_list(list: &[Value]) -> String {
    let mut out = String::new();
    push_list(&mut out, list);
    out
}

fn push(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("<nil>"),
        Value::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&go_number(number)),
        Value::String(text) => out.push_str(text),
        Value::Array(list) => push_list(out, list),
        Value::Object(map) => {
            out.push_str("map[");
            for (at, (key, value)) in map.iter().enumerate() {
                out.push_str(if at > 0 { " " } else { "" });
                out.push_str(key);
                out.push(':');
                push(out, value);
            }
            out.push(']');
        }
    }
}

fn push_list(out: &mut String, list: &[Value]) {
    out.push('[');
    for (at, value) in list.iter().enumerate() {
        out.push_str(if at > 0 { " " } else { "" });
        push(out, value);
    }
    out.push(']');
}

/// Go's `%v` of a float: the shortest form, with an exponent of two digits below -4 and from 21 on.
fn go_number(number: &serde_json::Number) -> String {
    let Some(float) = number.as_f64().filter(|_| number.is_f64()) else { return number.to_string() };
    let scientific = format!("{float:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    match exponent.parse::<i32>() {
        Ok(power) if float != 0.0 && !(-4..21).contains(&power) => {
            let sign = if power < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", power.unsigned_abs())
        }
        _ => format!("{float}"),
    }
}

/// The type of a decoded JSON value in Go's words.
pub(crate) fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "%!s(<nil>)",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_written_as_go_prints_them() {
        let value = json!({"b": [1, "x y", null, true, {}], "a": {"c": -1.5}});
        assert_eq!(go(&value), "map[a:map[c:-1.5] b:[1 x y <nil> true map[]]]");
        assert_eq!(
            go(&json!([1.0, 1e21, 1e-7, 123456789.125, 0.0001, 1e20])),
            "[1 1e+21 1e-07 123456789.125 0.0001 100000000000000000000]"
        );
        assert_eq!(go_type(&json!([])), "[]interface {}");
    }
}
