//! Until when a token counts.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::pod::text;
use crate::date;

/// Until when the token in the answer to a TokenRequest counts, in seconds since 1970: as it says itself, for the API
/// server signs many for a year and tells kubelet of an hour, so that it asks for a new one in time.
pub fn until(answer: &Value) -> Option<u64> {
    let claimed = claims(text(answer, "/status/token"));
    let claimed = claimed.and_then(|claims| claims.get("exp")?.as_u64());
    claimed.or_else(|| date::parse(text(answer, "/status/expirationTimestamp")))
}

/// The claims of a JSON web token; nothing is checked.
fn claims(token: &str) -> Option<Value> {
    let bytes = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_token_counts_as_long_as_it_says_itself_else_as_the_answer_says() {
        let token = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(r#"{"exp":1900000000}"#));
        let answer = |token: &str| {
            until(&json!({ "status": { "token": token, "expirationTimestamp": "2026-11-24T13:15:58Z" } }))
        };
        assert_eq!(answer(&token), Some(1_900_000_000));
        for odd in ["", "opaque", "a.b.c", "e30.e30.x"] {
            assert_eq!(answer(odd), Some(1_795_526_158), "{odd}");
        }
        assert_eq!(until(&json!({})), None);
    }
}
