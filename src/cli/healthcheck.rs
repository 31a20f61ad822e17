//! `mqttstack healthcheck`: asks a running emulator once whether it is ready, for container images
//! that hold nothing but this program.

use std::process::ExitCode;

use super::probe::{TIMEOUT, Target, configured};
use super::{refuse, say};
use crate::config::Config;

pub(super) fn run(config: &Config, url: Option<&str>) -> ExitCode {
    let url = match url.map_or_else(|| configured(config), |url| Ok(url.to_owned())) {
        Ok(url) => url,
        Err(why) => return refuse(&why),
    };
    let target = match Target::parse(&url) {
        Ok(target) => target,
        Err(why) => return refuse(&why),
    };
    match target.ask(TIMEOUT) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            say(&format!("{url} is not ready: {why}"));
            ExitCode::FAILURE
        }
    }
}
