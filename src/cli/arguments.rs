//! Reading the command line and the `MQTTSTACK_*` environment, and saying in one line what is
//! wrong with them.

use std::ffi::{OsStr, OsString};

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, CommandFactory, FromArgMatches};
use mqttstack_kit::wording;

use super::{Cli, exec};
use crate::config::{self, Variable};

const PREFIX: &str = "MQTTSTACK_";

/// Why there is nothing to run.
#[derive(Debug)]
pub(super) enum Unusable {
    /// Asked for help or the version: not a fault, and printed by clap.
    Help(clap::Error),
    /// What is wrong, in one line.
    Wrong(String),
}

/// Reads what the program was called with, and the variables that set keys of the configuration.
pub(super) fn read(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<(Cli, Vec<Variable>), Unusable> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let environment: Vec<_> = environment
        .into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| name.starts_with(PREFIX))
        .collect();
    let mut command = Cli::command();
    command.build();
    let (keys, environment): (Vec<_>, Vec<_>) = environment
        .into_iter()
        .partition(|(name, _)| name.starts_with(config::PREFIX));
    let variables = of_keys(keys).map_err(Unusable::Wrong)?;
    check_names(&command, &environment).map_err(Unusable::Wrong)?;
    let told = |error: clap::Error| {
        if error.use_stderr() {
            Unusable::Wrong(in_one_line(&error, &command, &arguments))
        } else {
            Unusable::Help(error)
        }
    };
    let read = Cli::command()
        .mut_args(without_empty)
        .mut_subcommand("healthcheck", |one| one.mut_args(without_empty))
        .mut_subcommand("wait", |one| one.mut_args(without_empty))
        .try_get_matches_from(&arguments);
    read.and_then(|matches| Cli::from_arg_matches(&matches))
        .map(|cli| (cli, variables))
        .map_err(told)
}

/// The variables that set keys, those of outer tables first. An empty one counts as one that is
/// not there.
fn of_keys(found: Vec<(String, OsString)>) -> Result<Vec<Variable>, String> {
    let mut variables = Vec::new();
    for (name, value) in found {
        let Some(value) = value.to_str() else {
            return Err(format!("{name}: expected UTF-8"));
        };
        let variable = Variable::new(&name, value).map_err(|error| error.to_string())?;
        if !value.is_empty() {
            variables.push((name.matches("__").count(), name, variable));
        }
    }
    variables.sort_by(|(a, one, _), (b, other, _)| (a, one).cmp(&(b, other)));
    Ok(variables
        .into_iter()
        .map(|(.., variable)| variable)
        .collect())
}

/// A variable that is empty counts as one that is not there, as is usual in CI.
fn without_empty(argument: Arg) -> Arg {
    let empty = argument
        .get_env()
        .and_then(std::env::var_os)
        .is_some_and(|value| value.is_empty());
    if empty {
        argument.env(Resettable::Reset)
    } else {
        argument
    }
}

/// The variables that there are.
fn known(command: &Command) -> Vec<&str> {
    let all = std::iter::once(command).chain(command.get_subcommands());
    let mut names: Vec<&str> = all
        .flat_map(Command::get_arguments)
        .filter_map(Arg::get_env)
        .filter_map(OsStr::to_str)
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Whether a variable is one of those with which Kubernetes and container links tell of a service,
/// here of one whose name begins with `mqttstack`.
fn tells_of_a_service(name: &str, value: &OsStr) -> bool {
    let value = value.to_string_lossy();
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || ["_TCP", "_UDP", "_SCTP"]
            .iter()
            .any(|part| name.contains(part))
        || ["tcp://", "udp://", "sctp://"]
            .iter()
            .any(|start| value.starts_with(start))
}

/// A variable that nobody reads would promise what is not done.
fn check_names(command: &Command, environment: &[(String, OsString)]) -> Result<(), String> {
    let known = known(command);
    let unknown = environment
        .iter()
        .filter(|(name, value)| !exec::tells(name) && !tells_of_a_service(name, value))
        .map(|(name, _)| name.as_str())
        .find(|name| !known.contains(name));
    let Some(name) = unknown else {
        return Ok(());
    };
    Err(match wording::nearest(name, known.iter().copied()) {
        Some(near) => format!("{name}: there is no such variable; did you mean {near}?"),
        None => format!(
            "{name}: there is no such variable; a key inside a table is set with two underscores, \
             as in {}ALIYUN__AUTO_CREATE, and beside those there are {}",
            config::PREFIX,
            known.join(", ")
        ),
    })
}

/// What clap says on several lines, in one: the error and its tip, without usage.
fn in_one_line(error: &clap::Error, command: &Command, arguments: &[OsString]) -> String {
    let mut text = error
        .render()
        .to_string()
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
        .filter(|line| !line.is_empty())
        .map(|line| line.strip_prefix("error: ").unwrap_or(line))
        .collect::<Vec<_>>()
        .join("; ");
    let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg) else {
        return text;
    };
    let flag = argument.split([' ', '=']).next().unwrap_or_default();
    if error.kind() == ErrorKind::UnknownArgument {
        text.push_str(match flag {
            "--port" | "-p" => {
                "; tip: each listener has a port of its own: --http-port, --mqtt-port and others; \
                 see mqttstack --help"
            }
            _ => "; see mqttstack --help",
        });
        return text;
    }
    let written = arguments
        .iter()
        .any(|one| one.to_string_lossy().split('=').next() == Some(flag));
    let all = std::iter::once(command).chain(command.get_subcommands());
    let variable = all
        .flat_map(Command::get_arguments)
        .find(|one| flag.strip_prefix("--") == one.get_long())
        .and_then(Arg::get_env);
    match variable {
        Some(variable) if !written => format!("{}: {text}", variable.to_string_lossy()),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(arguments: &[&str], environment: &[(&str, &str)]) -> String {
        let arguments = std::iter::once(&"mqttstack").chain(arguments);
        let read = read(
            arguments.map(OsString::from),
            environment
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into())),
        );
        match read {
            Err(Unusable::Wrong(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_refused_command_line_is_told_in_one_line() {
        for (arguments, words) in [
            (&["--http-port", "x"][..], "--http-port"),
            (&["--http-prot", "1"], "--http-port"),
            (&["--seed"], "--seed"),
            (&["run"], "run"),
            (&["--port", "1"], "--mqtt-port"),
            (&["--nothing-like-it"], "--help"),
        ] {
            let text = refusal(arguments, &[]);
            assert!(text.contains(words) && !text.contains('\n'), "{text}");
        }
    }

    #[test]
    fn an_unknown_variable_is_refused_with_the_nearest() {
        let text = refusal(&[], &[("MQTTSTACK_HTTP_PROT", "1")]);
        assert_eq!(
            text,
            "MQTTSTACK_HTTP_PROT: there is no such variable; did you mean MQTTSTACK_HTTP_PORT?"
        );
        let text = refusal(&[], &[("MQTTSTACK_PORT", "4581")]);
        assert!(text.starts_with("MQTTSTACK_PORT: "), "{text}");
        let text = refusal(&["config"], &[("MQTTSTACK_AZURE_AUTO_CREATE", "")]);
        assert!(text.contains("no such variable"), "{text}");
    }

    #[test]
    fn variables_of_others_are_not_looked_at() {
        let others = [
            ("MQTTSTACK", "x"),
            ("PATH", "y"),
            ("MQTTSTACK_SERVICE_HOST", "10.0.0.1"),
            ("MQTTSTACK_SERVICE_PORT_HTTP", "4580"),
            ("MQTTSTACK_PORT", "tcp://10.0.0.1:4580"),
            ("MQTTSTACK_PORT_4580_TCP_ADDR", "10.0.0.1"),
        ];
        let others = others.map(|(name, value)| (name.into(), value.into()));
        assert!(read([OsString::from("mqttstack")], others).is_ok());
    }
}
