//! `mqttstack wait`: waits until an emulator that another process starts is ready.

use std::path::Path;
use std::process::ExitCode;
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::probe::{TIMEOUT, Target, announced, configured};
use super::{finish, print, refuse, say};
use crate::config::{Config, Port};

/// Between two questions. There is nothing to be woken by: the other process may not be there yet.
const PAUSE: Duration = Duration::from_millis(20);
/// The longest that can be waited for: a day.
const LONGEST: f64 = 86_400.0;

/// How long to wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience(Duration);

/// Why a text is not a [`Patience`].
#[derive(Debug, thiserror::Error)]
#[error("expected a number of seconds from 0 to 86400, such as 30 or 0.5")]
pub(super) struct NotAPatience;

impl FromStr for Patience {
    type Err = NotAPatience;

    fn from_str(text: &str) -> Result<Self, NotAPatience> {
        let seconds: f64 = text.parse().map_err(|_| NotAPatience)?;
        if !(0.0..=LONGEST).contains(&seconds) {
            return Err(NotAPatience);
        }
        Ok(Self(Duration::from_secs_f64(seconds)))
    }
}

/// Where the address is from.
enum Place<'a> {
    Url(String),
    /// A file that may not be there yet, and holds another address after a restart.
    File(&'a Path),
}

pub(super) fn run(
    config: &Config,
    url: Option<String>,
    patience: Patience,
    json: bool,
) -> ExitCode {
    let place = match place(config, url) {
        Ok(place) => place,
        Err(why) => return refuse(&why),
    };
    if let Place::Url(url) = &place
        && let Err(why) = Target::parse(url)
    {
        return refuse(&why);
    }
    let begun = Instant::now();
    let deadline = begun + patience.0;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let (url, why) = match ask(&place, left) {
            (Some(url), Ok(())) => {
                let waited = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
                let told = json!({ "ready": true, "url": url, "waited_ms": waited });
                return tell(json, &told, ExitCode::SUCCESS);
            }
            (url, Ok(())) => (url, String::new()),
            (url, Err(why)) => (url, why),
        };
        if Instant::now() + PAUSE >= deadline {
            let name = url.as_deref().unwrap_or("the emulator");
            let seconds = patience.0.as_secs_f64();
            say(&format!("{name} is not ready after {seconds} s: {why}"));
            let told = json!({ "ready": false, "url": url, "why": why });
            return tell(json, &told, ExitCode::FAILURE);
        }
        thread::sleep(PAUSE);
    }
}

/// A URL that is given, the ready file that is given, the configured address.
fn place(config: &Config, url: Option<String>) -> Result<Place<'_>, String> {
    match (url, &config.ready_file, config.http_port) {
        (Some(url), ..) => Ok(Place::Url(url)),
        (None, Some(path), _) => Ok(Place::File(path)),
        (None, None, Port::Off | Port::Number(_)) => configured(config).map(Place::Url),
    }
}

/// Asks once: where, if that is known, and why it is not ready.
fn ask(place: &Place<'_>, left: Duration) -> (Option<String>, Result<(), String>) {
    let url = match place {
        Place::Url(url) => url.clone(),
        Place::File(path) => match announced(path) {
            Ok(url) => url,
            Err(why) => return (None, Err(why)),
        },
    };
    let within = left.clamp(PAUSE, TIMEOUT);
    let answer = Target::parse(&url).and_then(|target| target.ask(within));
    (Some(url), answer)
}

fn tell(json: bool, told: &Value, code: ExitCode) -> ExitCode {
    if json {
        let printed = print(&format!("{told}\n"));
        if printed.is_err() {
            return finish(printed);
        }
    }
    code
}
