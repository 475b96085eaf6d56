//! The JWT of a request.

use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::dangerous::insecure_decode_claims;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

/// Half of the hour that the vendor allows at most: a clock that is wrong by up to half an hour,
/// either way, still makes tokens that are accepted.
const LIFETIME: TimeDelta = TimeDelta::minutes(30);

#[derive(Serialize)]
struct Claims<'a> {
    #[serde(rename = "appId")]
    app_id: &'a str,
    sub: &'a str,
    iss: &'a str,
    iat: i64,
    exp: i64,
    jti: String,
}

/// Signs a token with HS256. Each has its own `jti`: where the app enforces it, one is accepted once.
pub(super) fn mint(
    client_id: &str,
    secret: &SecretString,
    now: DateTime<Utc>,
) -> Result<String, jsonwebtoken::errors::Error> {
    let claims = Claims {
        app_id: client_id,
        sub: client_id,
        iss: client_id,
        iat: now.timestamp(),
        exp: (now + LIFETIME).timestamp(),
        jti: Uuid::new_v4().to_string(),
    };
    let key = EncodingKey::from_secret(secret.expose_secret().as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key)
}

/// What a token says of itself. Nobody has checked its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenClaims {
    pub app_id: Option<String>,
    pub issued_at: Option<DateTime<Utc>>,
    pub expires_at: Option<DateTime<Utc>>,
    /// Whether it may be accepted only once.
    pub has_jti: bool,
}

/// The text is no JWT. Never holds a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the token is not a JWT: three parts of base64url, the second of them a JSON object")]
pub struct NotAToken;

/// Reads a token's claims without verifying it.
pub fn decode_claims(token: &str) -> Result<TokenClaims, NotAToken> {
    let claims: Map<String, Value> = insecure_decode_claims(token.trim()).map_err(|_| NotAToken)?;
    Ok(TokenClaims {
        app_id: claims.get("appId").and_then(Value::as_str).map(str::to_owned),
        issued_at: claims.get("iat").and_then(moment),
        expires_at: claims.get("exp").and_then(moment),
        has_jti: claims.contains_key("jti"),
    })
}

/// Seconds since 1970, perhaps with a fraction or as text, as tokens are found to have them.
fn moment(value: &Value) -> Option<DateTime<Utc>> {
    let seconds = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    #[expect(clippy::cast_possible_truncation, reason = "a float saturates; out of range is no time")]
    DateTime::from_timestamp(seconds.floor() as i64, 0)
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{DecodingKey, Validation};

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).expect("a time")
    }

    #[test]
    fn a_minted_token_verifies_and_says_what_the_vendor_asks_for() {
        let now = at(1_774_261_123);
        let token = mint("cs-1", &SecretString::from("hunter2"), now).expect("a token");
        let mut validation = Validation::new(Algorithm::HS256);
        validation.validate_exp = false;
        let read =
            jsonwebtoken::decode::<Map<String, Value>>(&token, &DecodingKey::from_secret(b"hunter2"), &validation)
                .expect("it verifies");
        assert_eq!(read.header.typ.as_deref(), Some("JWT"));
        for name in ["appId", "sub", "iss"] {
            assert_eq!(read.claims[name], "cs-1");
        }
        let claims = decode_claims(&token).expect("a token");
        assert_eq!(claims.app_id.as_deref(), Some("cs-1"));
        assert_eq!((claims.issued_at, claims.expires_at), (Some(now), Some(now + LIFETIME)));
        assert!(claims.has_jti && LIFETIME <= TimeDelta::hours(1));
    }

    #[test]
    fn tokens_of_others_are_read_leniently_and_other_texts_are_refused() {
        // {"alg":"none"} . {"exp":"1774261123.9"}
        let claims = decode_claims("eyJhbGciOiJub25lIn0.eyJleHAiOiIxNzc0MjYxMTIzLjkifQ.x").expect("a token");
        assert_eq!(claims.expires_at, Some(at(1_774_261_123)));
        assert_eq!((claims.app_id, claims.issued_at, claims.has_jti), (None, None, false));
        for text in ["", "hunter2", "a.b.c", "a.b"] {
            let error = decode_claims(text).expect_err("no token");
            assert!(!error.to_string().contains("hunter2"));
        }
    }
}
