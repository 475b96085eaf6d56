//! What a URL in the configuration must be.

use std::net::IpAddr;

use reqwest::Url;

/// An address of the vendor: `https`, or `http` on this machine; without a slash at the end.
pub(super) fn base_url(text: &str) -> Result<String, String> {
    let right = "write the vendor's address with its scheme, as \"https://platform.kore.ai\"";
    let url = Url::parse(text.trim()).map_err(|_| right)?;
    let host = url.host_str().ok_or(right)?;
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(host) => {}
        "http" => return Err("use https:// (http:// is for this machine alone)".into()),
        _ => return Err(right.into()),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("write the address without a user name or password".into());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("write the address without ? and #".into());
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// The path before the vendor's API: a slash in front, none at the end; empty for none.
pub(super) fn path_prefix(text: &str) -> Result<String, String> {
    let path = text.trim().trim_matches('/');
    let fits = path.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '?' | '#' | '%' | '\\'));
    match (path, fits) {
        (_, false) => Err("write a path, as \"/qualityai\"".into()),
        ("", true) => Ok(String::new()),
        (path, true) => Ok(format!("/{path}")),
    }
}

/// A warehouse's address, with what the TLS rule needs to know of it.
pub(super) struct DatabaseUrl {
    /// For people: no password, no parameters.
    pub shown: String,
    /// On this machine, or a socket.
    pub is_local: bool,
    pub sslmode: Option<String>,
}

impl DatabaseUrl {
    /// An error never holds any part of the text, which may hold a password.
    pub fn parse(text: &str) -> Result<Self, String> {
        let right = "write the database as \"postgres://user@host:5432/database\"";
        let mut url = Url::parse(text.trim()).map_err(|_| right)?;
        if !matches!(url.scheme(), "postgres" | "postgresql") {
            return Err(right.into());
        }
        // The parameters win over the authority, as they do for every PostgreSQL client.
        let parameter = |wanted: &[&str]| {
            url.query_pairs()
                .filter(|(name, _)| wanted.contains(&name.as_ref()))
                .last()
                .map(|(_, value)| value.into_owned())
        };
        let sslmode = parameter(&["sslmode", "ssl-mode"]);
        let host = parameter(&["hostaddr"])
            .or_else(|| parameter(&["host"]))
            .or_else(|| url.host_str().filter(|host| !host.is_empty()).map(str::to_owned))
            .ok_or("name the host: \"postgres://user@host/database\", or \"?host=/run/postgresql\" for a socket")?;
        let is_local = is_loopback(&host) || host.starts_with('/') || host.to_ascii_lowercase().starts_with("%2f");
        if url.password().is_some() {
            url.set_password(Some("redacted")).map_err(|()| right)?;
        }
        url.set_query(None);
        url.set_fragment(None);
        Ok(Self { shown: url.to_string(), is_local, sslmode })
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_loses_its_last_slash_and_plain_http_stays_on_this_machine() {
        assert_eq!(base_url("https://platform.kore.ai/").as_deref(), Ok("https://platform.kore.ai"));
        assert_eq!(base_url("http://127.0.0.1:8080").as_deref(), Ok("http://127.0.0.1:8080"));
        assert_eq!(base_url("http://[::1]:8080/x/").as_deref(), Ok("http://[::1]:8080/x"));
        for wrong in ["http://platform.kore.ai", "platform.kore.ai", "ftp://h", "https://u:p@h", "https://h/?a=1", ""] {
            assert!(base_url(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_path_prefix_has_one_slash_in_front() {
        for (given, expected) in
            [("/qualityai", "/qualityai"), ("qualityai/", "/qualityai"), ("", ""), ("/", ""), ("a/b", "/a/b")]
        {
            assert_eq!(path_prefix(given).as_deref(), Ok(expected));
        }
        assert!(path_prefix("/quality ai").is_err());
    }

    #[test]
    fn a_database_is_local_by_loopback_or_socket() {
        for (url, is_local) in [
            ("postgres://u@localhost/w", true),
            ("postgres://u@127.0.0.1:5432/w", true),
            ("postgres://u@[::1]/w", true),
            ("postgres:///w?host=/run/postgresql", true),
            ("postgres://u@%2Frun%2Fpostgresql/w", true),
            ("postgres://u@db/w", false),
            ("postgres://u@localhost/w?host=db.example.com", false),
            ("postgresql://u@10.0.0.1/w", false),
        ] {
            assert_eq!(DatabaseUrl::parse(url).map(|url| url.is_local), Ok(is_local), "{url}");
        }
        assert!(DatabaseUrl::parse("mysql://u@h/w").is_err());
        assert!(DatabaseUrl::parse("postgres:///w").is_err());
    }

    #[test]
    fn a_shown_database_has_no_password() {
        let url = DatabaseUrl::parse("postgres://u:hunter2@db/w?password=hunter2&sslmode=disable").expect("a URL");
        assert!(!url.shown.contains("hunter2"), "{}", url.shown);
        assert_eq!(url.sslmode.as_deref(), Some("disable"));
    }
}
