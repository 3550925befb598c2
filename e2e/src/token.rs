//! What a service account's token says of itself.

use anyhow::{Context, Result, anyhow};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// The claims of `token`, whoever signed them.
///
/// # Errors
///
/// It is no token.
pub fn claims(token: &str) -> Result<Value> {
    let middle = token.split('.').nth(1).ok_or_else(|| anyhow!("{token:?} is not a token"))?;
    let bytes = URL_SAFE_NO_PAD.decode(middle).context("the token's claims are not base64")?;
    Ok(serde_json::from_slice(&bytes)?)
}
