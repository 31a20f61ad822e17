//! The habits that keep the code readable, checked: imports go downward only, and each file opens
//! with what it answers.

use std::path::{Path, PathBuf};

/// Layer and room of every top-level module; rooms of one layer marked `alone` never import
/// one another. The order is that of `src/lib.rs`.
const ROOMS: &[(&str, u8)] = &[
    ("main", 4),
    ("cli", 4),
    ("emulator", 4),
    ("reset", 4),
    ("server", 4),
    ("edge", 4),
    ("config", 4),
    ("admin", 4),
    // A leaf over exchange, below server: nothing beside it may know it but the top.
    ("http1", 3),
    ("vendor", 3),
    ("pipeline", 2),
    ("app", 2),
    ("journal", 1),
    ("quota", 1),
    ("broker", 1),
    ("tls", 1),
    ("clock", 0),
    ("ids", 0),
    ("secret", 0),
    ("exchange", 0),
    ("handshake", 0),
    // Values that rooms of layer 1 share.
    ("broker::message", 0),
];

struct Source {
    /// Path below `src/`, with forward slashes.
    path: String,
    text: String,
}

impl Source {
    /// What is compiled into the program: everything before the file's test module.
    fn code(&self) -> &str {
        self.text
            .find("#[cfg(test)]\nmod ")
            .map_or(&self.text, |tests| &self.text[..tests])
    }

    fn room(&self) -> &str {
        if self.path.starts_with("broker/message") {
            return "broker::message";
        }
        let first = self.path.split('/').next().unwrap();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// The second module of the path, `aliyun` of `vendor/aliyun/auth.rs`.
    fn inner(&self) -> Option<&str> {
        let second = self.path.split('/').nth(1)?;
        let name = second.strip_suffix(".rs").unwrap_or(second);
        (name != "mod").then_some(name)
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let below = path.strip_prefix(&root).unwrap();
                found.push(Source {
                    path: below.to_str().unwrap().replace('\\', "/"),
                    text: std::fs::read_to_string(&path).unwrap(),
                });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(found.len() > 20, "src/ was not found");
    found
}

/// Files that hold nothing but tests: `#[cfg(test)] mod x;` in their parent.
fn is_test_file(source: &Source) -> bool {
    let name = source.path.rsplit('/').next().unwrap();
    name == "tests.rs" || name.ends_with("_tests.rs") || source.path.contains("/tests/")
}

/// Every `crate::` path of the code, as module names: `["vendor", "aliyun", "Settings"]`.
/// Braces are unfolded one level: `crate::{app, broker::message}` is two paths.
fn crate_paths(code: &str) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    let code: String = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n");
    for (start, _) in code.match_indices("crate::") {
        let rest = &code[start + "crate::".len()..];
        if let Some(list) = rest.strip_prefix('{') {
            let mut depth = 0_usize;
            let mut item = String::new();
            for letter in list.chars() {
                match letter {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => {
                        paths.push(segments(&std::mem::take(&mut item)));
                        continue;
                    }
                    _ => {}
                }
                item.push(letter);
            }
            paths.push(segments(&item));
        } else {
            paths.push(segments(rest));
        }
    }
    paths.retain(|path| !path.is_empty());
    paths
}

fn segments(text: &str) -> Vec<String> {
    let text = text.trim_start();
    let end = text
        .find(|letter: char| !(letter.is_alphanumeric() || letter == '_' || letter == ':'))
        .unwrap_or(text.len());
    text[..end]
        .split("::")
        .filter(|segment| !segment.is_empty())
        .map(str::to_owned)
        .collect()
}

fn layer(room: &str) -> Option<u8> {
    ROOMS
        .iter()
        .find(|(name, _)| *name == room)
        .map(|(_, layer)| *layer)
}

/// What one path of one file breaks, if anything.
fn offence(source: &Source, path: &[String]) -> Option<String> {
    let own = source.room();
    let wanted = match path {
        [first, second, ..] if first == "broker" && second == "message" => "broker::message",
        [first, ..] => first,
        [] => return None,
    };
    // Re-exports of lib.rs and macros are no rooms; a misspelt room would not compile.
    let (Some(from), Some(to)) = (layer(own), layer(wanted)) else {
        return (layer(own).is_none()).then(|| format!("{own} has no layer"));
    };
    if own == wanted {
        let neighbour = own == "vendor"
            && source.inner().is_some()
            && path
                .get(1)
                .is_some_and(|name| name != "tencent_tc3" && Some(name.as_str()) != source.inner());
        return neighbour.then(|| "vendors never know one another".to_owned());
    }
    match (from, to) {
        (4, 4) if wanted == "main" || wanted == "cli" => Some("nothing knows the shell".to_owned()),
        // The top and the values may know their neighbours.
        (4, 4) | (0, 0) => None,
        // The walk takes the rooms along; they know nothing of it.
        (2, 2) if own == "pipeline" => None,
        (from, to) if to < from => None,
        _ => Some(format!(
            "{own} (layer {from}) imports {wanted} (layer {to})"
        )),
    }
}

#[test]
fn imports_go_downward_only() {
    let mut offences = Vec::new();
    for source in sources().iter().filter(|source| !is_test_file(source)) {
        if source.path == "lib.rs" {
            continue;
        }
        for path in crate_paths(source.code()) {
            if let Some(why) = offence(source, &path) {
                offences.push(format!(
                    "{}: crate::{}: {why}",
                    source.path,
                    path.join("::")
                ));
            }
        }
    }
    assert!(offences.is_empty(), "{offences:#?}");
}

#[test]
fn http1_is_a_leaf_over_exchange() {
    for source in sources().iter().filter(|source| source.room() == "http1") {
        for path in crate_paths(source.code()) {
            assert!(
                ["exchange", "http1"].contains(&path[0].as_str()),
                "{}: crate::{}",
                source.path,
                path.join("::")
            );
        }
    }
}

#[test]
fn only_the_engines_folder_names_the_engine() {
    for source in sources() {
        let at_home = source.path.starts_with("broker/engine");
        let named = source
            .code()
            .lines()
            .any(|line| !line.trim_start().starts_with("//") && line.contains("rmqtt::"));
        assert!(at_home || !named, "{} names rmqtt", source.path);
    }
}

#[test]
fn a_file_opens_with_what_it_answers() {
    for source in sources() {
        assert!(source.text.starts_with("//!"), "{}", source.path);
    }
}

#[test]
fn the_checks_see_what_they_should() {
    let source = |path: &str| Source {
        path: path.to_owned(),
        text: String::new(),
    };
    let breaks = |path: &str, code: &str| {
        crate_paths(code)
            .iter()
            .any(|import| offence(&source(path), import).is_some())
    };
    assert!(breaks("vendor/aliyun/api.rs", "use crate::config::Config;"));
    assert!(breaks("vendor/aliyun/api.rs", "use crate::vendor::nanomq;"));
    assert!(breaks("journal/mod.rs", "use crate::broker::Broker;"));
    assert!(breaks(
        "journal/mod.rs",
        "use crate::{clock::Clock, quota};"
    ));
    assert!(breaks("clock.rs", "fn f() { crate::app::g() }"));
    assert!(breaks("edge/mod.rs", "use crate::cli::main;"));
    assert!(breaks("brandnew.rs", "use crate::clock::Clock;"));
    assert!(!breaks(
        "journal/mod.rs",
        "use crate::broker::message::Message;"
    ));
    assert!(!breaks(
        "vendor/aliyun/api.rs",
        "use crate::vendor::aliyun::Error;"
    ));
    assert!(!breaks(
        "vendor/aliyun/api.rs",
        "use crate::vendor::tencent_tc3;"
    ));
    assert!(!breaks(
        "vendor/mod.rs",
        "use crate::{app::App, exchange::{Answer, Head}};"
    ));
    assert!(!breaks("clock.rs", "// crate::app is above\n"));
}
