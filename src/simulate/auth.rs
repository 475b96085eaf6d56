//! Who may ask: the token that a client signs, or one that was given to it.

use std::collections::HashMap;

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;

use super::dice::key_of;
use super::options::Options;

const HOUR: i64 = 3_600;
/// How many used tokens are remembered, the ones that end last.
const REMEMBERED: usize = 100_000;

#[derive(Debug, Deserialize)]
struct Claims {
    #[serde(rename = "appId")]
    app_id: Option<String>,
    exp: Option<f64>,
    jti: Option<String>,
}

/// The tokens that were used, where each is valid once.
#[derive(Debug, Default)]
pub struct Tokens {
    /// A key of the id to when the token ends, seconds since the epoch.
    used: HashMap<u64, i64>,
}

impl Tokens {
    /// Whether `token` is valid at `now`, seconds since the epoch. A clock that runs fast makes minutes
    /// of milliseconds: with `leeway` a token is still valid so many seconds after its end.
    pub fn accept(&mut self, options: &Options, token: &str, now: i64, leeway: i64) -> bool {
        if options.token.as_deref().is_some_and(|known| known == token) {
            return true;
        }
        let Some(secret) = &options.client_secret else {
            return options.token.is_none() && !token.is_empty();
        };
        let mut validation = Validation::new(Algorithm::HS256);
        validation.required_spec_claims.clear();
        // The end is compared with the simulator's own clock, below.
        validation.validate_exp = false;
        validation.validate_aud = false;
        let key = DecodingKey::from_secret(secret.as_bytes());
        let Ok(data) = jsonwebtoken::decode::<Claims>(token, &key, &validation) else { return false };
        let claims = data.claims;
        if options.client_id.is_some() && claims.app_id != options.client_id {
            return false;
        }
        let end = claims.exp.map(whole_seconds);
        if end.is_some_and(|end| end + leeway <= now) {
            return false;
        }
        !options.enforce_jti || self.is_first_use(claims.jti.as_deref(), end, now, leeway)
    }

    fn is_first_use(&mut self, jti: Option<&str>, end: Option<i64>, now: i64, leeway: i64) -> bool {
        let (Some(jti), Some(end)) = (jti.filter(|jti| !jti.is_empty()), end) else { return false };
        if end > now + HOUR + leeway {
            return false;
        }
        if self.used.len() >= REMEMBERED {
            self.used.retain(|_, end| *end + leeway > now);
        }
        if self.used.len() >= REMEMBERED {
            let mut ends: Vec<i64> = self.used.values().copied().collect();
            let (_, middle, _) = ends.select_nth_unstable(REMEMBERED / 2);
            let middle = *middle;
            self.used.retain(|_, end| *end > middle);
        }
        self.used.insert(key_of(jti), end).is_none()
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a cast of a fraction saturates, and any far end is as good as another"
)]
fn whole_seconds(seconds: f64) -> i64 {
    (seconds as i64).clamp(i64::MIN / 4, i64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{EncodingKey, Header};
    use serde_json::{Value, json};

    use super::*;

    fn signed(secret: &str, claims: &Value) -> String {
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(secret.as_bytes()))
            .expect("a token")
    }

    fn options() -> Options {
        Options { client_id: Some("cs-1".into()), client_secret: Some("s3cret".into()), ..Options::default() }
    }

    #[test]
    fn a_token_needs_the_secret_the_app_and_a_future_end() {
        let mut tokens = Tokens::default();
        for (secret, claims, expected) in [
            ("s3cret", json!({"appId": "cs-1"}), true),
            ("s3cret", json!({"appId": "cs-1", "exp": 1_001, "aud": "x", "iss": "cs-1"}), true),
            ("s3cret", json!({"appId": "cs-1", "exp": 1_000}), false),
            ("s3cret", json!({"appId": "cs-2"}), false),
            ("s3cret", json!({}), false),
            ("other", json!({"appId": "cs-1"}), false),
        ] {
            assert_eq!(tokens.accept(&options(), &signed(secret, &claims), 1_000, 0), expected, "{claims}");
        }
        assert!(!tokens.accept(&options(), "not.a.token", 1_000, 0));
        assert!(!tokens.accept(&options(), "", 1_000, 0));
    }

    #[test]
    fn an_enforced_jti_is_needed_short_and_used_once() {
        let mut tokens = Tokens::default();
        let options = Options { enforce_jti: true, ..options() };
        let token = |claims: Value| signed("s3cret", &claims);
        let good = token(json!({"appId": "cs-1", "jti": "j1", "exp": 1_000 + 3_600}));
        assert!(tokens.accept(&options, &good, 1_000, 0));
        assert!(!tokens.accept(&options, &good, 1_001, 0), "the second use");
        assert!(!tokens.accept(&options, &token(json!({"appId": "cs-1", "exp": 1_100})), 1_000, 0), "no jti");
        assert!(!tokens.accept(&options, &token(json!({"appId": "cs-1", "jti": "j2"})), 1_000, 0), "no exp");
        let long = token(json!({"appId": "cs-1", "jti": "j3", "exp": 1_000 + 3_601}));
        assert!(!tokens.accept(&options, &long, 1_000, 0), "more than an hour");
    }

    #[test]
    fn a_ready_made_token_is_compared_and_without_any_all_are_valid() {
        let mut tokens = Tokens::default();
        let fixed = Options { token: Some("ready.made.token".into()), ..Options::default() };
        assert!(tokens.accept(&fixed, "ready.made.token", 0, 0));
        assert!(!tokens.accept(&fixed, "another", 0, 0));
        assert!(tokens.accept(&Options::default(), "anything", 0, 0));
        assert!(!tokens.accept(&Options::default(), "", 0, 0));
    }
}
