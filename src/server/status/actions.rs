//! What an operator may do from the page, where `server.actions` allows it: with the token, in each form.
//!
//! The token comes from the form itself, never from a cookie, so no other site can make a browser act.

use std::time::Duration;

use axum::Form;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use secrecy::ExposeSecret as _;
use serde::Deserialize;

use super::{Shown, guarded, layout, missing, page, unanswered};
use crate::status::Verb;
use crate::status::board::Unanswered;

/// Before a wrong token is told to be wrong.
const WRONG_TOKEN_PAUSE: Duration = Duration::from_secs(1);

#[derive(Deserialize)]
pub(super) struct Order {
    token: String,
}

pub(super) fn form(action: &str, words: &str) -> Markup {
    html! {
        form.action method="post" action=(action) {
            label { span { "Token" } input type="password" name="token" required autocomplete="current-password"; }
            button type="submit" { (words) }
        }
    }
}

pub(super) async fn retry_window(
    State(shown): State<Shown>,
    Path(id): Path<i64>,
    Form(order): Form<Order>,
) -> Response {
    if let Some(refusal) = refusal(&shown, &order).await {
        return refusal;
    }
    match shown.board.retry_window(id).await {
        Ok(true) => back(&format!("/windows/{id}"), "window", &id.to_string()),
        Ok(false) => missing(&format!("Window {id} does not wait: it is done, under way, or was merged into another.")),
        Err(error) => unanswered(&error),
    }
}

pub(super) async fn retry_stream(
    State(shown): State<Shown>,
    Path(name): Path<String>,
    Form(order): Form<Order>,
) -> Response {
    if let Some(refusal) = refusal(&shown, &order).await {
        return refusal;
    }
    match shown.board.retry_stream(&name).await {
        Ok(()) => back("/", "stream", &name),
        Err(error) => unanswered(&error),
    }
}

pub(super) async fn steer_backfill(
    State(shown): State<Shown>,
    Path((id, verb)): Path<(i64, String)>,
    Form(order): Form<Order>,
) -> Response {
    let verb = match verb.as_str() {
        "pause" => Verb::Pause,
        "resume" => Verb::Resume,
        _ => return missing("A backfill is paused or resumed here."),
    };
    if let Some(refusal) = refusal(&shown, &order).await {
        return refusal;
    }
    match shown.board.steer_backfill(id, verb).await {
        Ok(()) => back("/#backfills", "backfill", &id.to_string()),
        // It was paused already, or is over.
        Err(Unanswered::Refused(error)) => page(StatusCode::CONFLICT, layout::notice("Not done", &error.to_string())),
        Err(error) => unanswered(&error),
    }
}

fn back(to: &str, what: &str, which: &str) -> Response {
    tracing::info!(what, which, "An operator acted from the status page.");
    guarded(Redirect::to(to).into_response())
}

/// For who does not know the token, which is read anew, as it may be a file that changes.
async fn refusal(shown: &Shown, order: &Order) -> Option<Response> {
    let told = |words: &str| Some(page(StatusCode::FORBIDDEN, layout::notice("Refused", words)));
    let Some(secret) = &shown.board.settings().server.token else { return told("No token is configured.") };
    let token = match secret.read() {
        Ok(token) => token,
        Err(error) => {
            tracing::warn!(%error, "The token of the status page cannot be read.");
            return told("The configured token cannot be read; the log tells why.");
        }
    };
    // In a time that tells nothing of where they differ.
    let (given, due) = (order.token.trim().as_bytes(), token.expose_secret().as_bytes());
    if aws_lc_rs::constant_time::verify_slices_are_equal(given, due).is_ok() {
        return None;
    }
    tracing::warn!("A wrong token was given on the status page.");
    tokio::time::sleep(WRONG_TOKEN_PAUSE).await;
    told("This is not the token of server.token or server.token_file.")
}
