//! What all pages have around them.

use maud::{DOCTYPE, Markup, html};

/// A page reads itself again after so long, where no script does.
const RELOAD_SECONDS: &str = "30";

/// Whether a page shows how things stand now, and is to be shown anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    Refreshed,
    /// What a form has said, and the like.
    Once,
}

pub(super) fn shell(title: &str, life: Life, main: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                link rel="icon" type="image/svg+xml" href="/assets/icon.svg";
                link rel="stylesheet" href="/assets/page.css";
                @if life == Life::Refreshed {
                    noscript { meta http-equiv="refresh" content=(RELOAD_SECONDS); }
                }
                script src="/assets/page.js" defer {}
            }
            body data-refresh[life == Life::Refreshed] {
                a.skip href="#main" { "Skip to what it says" }
                header {
                    a.home href="/" { "koresync" }
                    nav aria-label="Pages" {
                        a href="/#budget" { "Budget" } " "
                        a href="/#quarantine" { "Quarantine" } " "
                        a href="/#runs" { "Runs" } " "
                        a href="/readyz" { "Readiness" } " "
                        a href="/metrics" { "Metrics" }
                    }
                }
                main id="main" { (main) }
                footer {
                    "koresync " (env!("CARGO_PKG_VERSION")) ". All times are UTC. "
                    span id="refresh" {}
                }
            }
        }
    }
}

/// A page of one sentence.
pub(super) fn notice(title: &str, words: &str) -> Markup {
    let main = html! {
        h1 { (title) }
        p { (words) }
        p { a href="/" { "How things stand" } }
    };
    shell(&format!("{title} – koresync"), Life::Once, &main)
}
