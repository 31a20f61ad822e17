//! Installs what the scripts need into `target/sdk/`: virtual environments for Python and Node
//! packages, every version pinned. It happens once, however many tests and test processes ask at
//! a time, and again when the pins or the interpreter change.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// What runs a script, with the packages of one list of pins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    /// `sdk/python/requirements.txt`.
    Python,
    /// `sdk/python/requirements-newest.txt`.
    PythonNewest,
    /// `sdk/python/requirements-tencent-device.txt`.
    PythonTencentDevice,
    /// `sdk/python/requirements-tencent-tdmq.txt`.
    PythonTencentTdmq,
    /// `sdk/azure/requirements.txt`.
    PythonAzure,
    /// `sdk/node/package-lock.json`.
    Node,
    /// `sdk/azure/package-lock.json`.
    NodeAzure,
}

/// Where mosquitto's command line clients are, unless they are in the search path.
pub struct Mosquitto(Option<PathBuf>);

impl Mosquitto {
    /// Those in the search path, else Debian's package, which apt brings and unpacks without being
    /// root. Elsewhere there are none: says why.
    pub fn find() -> Result<Self, String> {
        static UNPACKED: OnceLock<Result<PathBuf, String>> = OnceLock::new();
        let installed = Self(None);
        if installed.runs().is_ok() {
            return Ok(installed);
        }
        let home = UNPACKED.get_or_init(|| once("mosquitto", "apt", &[], unpack));
        let found = Self(Some(home.clone()?));
        found.runs()?;
        Ok(found)
    }

    /// Whether they are there, and what they need too.
    fn runs(&self) -> Result<(), String> {
        // The exit code of its help is 1.
        let help = self.command("mosquitto_sub").arg("--help").output();
        let help = help.map_err(|error| format!("mosquitto_sub: {error}"))?;
        if help.stdout.is_empty() {
            return Err(String::from_utf8_lossy(&help.stderr).into_owned());
        }
        Ok(())
    }

    /// One of them.
    pub fn command(&self, program: &str) -> Command {
        let Some(home) = &self.0 else {
            return Command::new(program);
        };
        let mut command = Command::new(home.join("usr/bin").join(program));
        let folders = fs::read_dir(home.join("usr/lib")).into_iter().flatten();
        let folders = folders.flatten().map(|folder| folder.path());
        command.env("LD_LIBRARY_PATH", std::env::join_paths(folders).unwrap());
        command
    }
}

/// Unpacks the clients and the libraries that nothing else brings along.
fn unpack(home: &Path) -> Result<String, String> {
    const PACKAGES: [&str; 3] = ["mosquitto-clients", "libmosquitto1", "libcjson1"];
    let state = home.join("apt");
    for folder in ["lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(state.join(folder)).map_err(|error| error.to_string())?;
    }
    let option = |key: &str, folder: &str| format!("{key}={}", state.join(folder).display());
    let own = |action: &[&str]| {
        run(Command::new("apt-get")
            .args(["-qq", "-o", "Acquire::Retries=3"])
            .args(["-o", &option("Dir::State::lists", "lists")])
            .args(["-o", &option("Dir::Cache", "cache")])
            .args(action)
            .current_dir(home))
    };
    let download = [&["download"][..], &PACKAGES].concat();
    // The machine's own lists may never have been fetched.
    if run(Command::new("apt-get").args(&download).current_dir(home)).is_err() {
        own(&["update"])?;
        own(&download)?;
    }
    let files = fs::read_dir(home).map_err(|error| error.to_string())?;
    for file in files.flatten().map(|file| file.path()) {
        if file.extension().is_some_and(|kind| kind == "deb") {
            run(Command::new("dpkg").arg("-x").arg(file).arg(home))?;
        }
    }
    fs::remove_dir_all(state).map_err(|error| error.to_string())?;
    Ok(String::new())
}

impl Runtime {
    /// A command that runs a script, which lies beside the pins, with its packages. Installs them
    /// first.
    pub fn command(self, script: &str) -> Command {
        let mut command = match self {
            Self::Node | Self::NodeAzure => Command::new("node"),
            _ => Command::new(interpreter(self.home())),
        };
        command
            .arg(self.sources().join(script))
            .env("NODE_PATH", self.home().join("node_modules"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            // Nothing is called but the loopback.
            .env("NO_PROXY", "*")
            .env("no_proxy", "*");
        command
    }

    /// Where its packages are: a virtual environment, or the folder above `node_modules`. Installs
    /// them first.
    pub fn home(self) -> &'static Path {
        static HOMES: [OnceLock<Result<PathBuf, String>>; 7] = [const { OnceLock::new() }; 7];
        match HOMES[self as usize].get_or_init(|| self.install()) {
            Ok(home) => home,
            Err(problem) => panic!("{problem}"),
        }
    }

    /// The folder of its pins and its scripts.
    fn sources(self) -> PathBuf {
        let below = match self {
            Self::Python
            | Self::PythonNewest
            | Self::PythonTencentDevice
            | Self::PythonTencentTdmq => "python",
            Self::PythonAzure | Self::NodeAzure => "azure",
            Self::Node => "node",
        };
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/sdk")
            .join(below)
    }

    fn install(self) -> Result<PathBuf, String> {
        let pins = |file: &str| self.sources().join(file);
        let requirements = pins("requirements.txt");
        match self {
            Self::Python => python("python", &requirements, true),
            Self::PythonNewest => python("python-newest", &pins("requirements-newest.txt"), true),
            // Says itself why it does not pass the check.
            Self::PythonTencentDevice => python(
                "python-tencent-device",
                &pins("requirements-tencent-device.txt"),
                false,
            ),
            Self::PythonTencentTdmq => python(
                "python-tencent-tdmq",
                &pins("requirements-tencent-tdmq.txt"),
                true,
            ),
            Self::PythonAzure => python("python-azure", &requirements, true),
            Self::Node => node("node", &self.sources()),
            Self::NodeAzure => node("node-azure", &self.sources()),
        }
    }
}

fn interpreter(venv: &Path) -> PathBuf {
    let below = if cfg!(windows) {
        "Scripts/python.exe"
    } else {
        "bin/python"
    };
    venv.join(below)
}

fn python(name: &str, requirements: &Path, check: bool) -> Result<PathBuf, String> {
    const WANTED: &str = "install Python 3.10 or newer with its venv module (Debian and Ubuntu: \
                          apt install python3 python3-venv)";
    let probe = "import sys, venv, ensurepip; assert sys.version_info >= (3, 10), sys.version; \
                 print(sys.executable, sys.version)";
    let version = run(Command::new("python3").args(["-c", probe]))
        .map_err(|problem| format!("{WANTED}: {problem}"))?;
    once(name, &version, &[requirements], |home| {
        run(Command::new("python3").args(["-m", "venv"]).arg(home))?;
        run(Command::new(interpreter(home))
            .args(["-m", "pip", "install", "--quiet", "--no-input", "--no-deps"])
            .args(["--disable-pip-version-check", "--requirement"])
            .arg(requirements))?;
        if !check {
            return Ok(String::new());
        }
        run(Command::new(interpreter(home)).args(["-m", "pip", "check"]))
    })
}

fn node(name: &str, sources: &Path) -> Result<PathBuf, String> {
    const WANTED: &str = "install Node.js 18 or newer with npm (https://nodejs.org)";
    let probe = "const major = parseInt(process.versions.node); if (major < 18) throw \
                 process.version; console.log(process.execPath, process.version)";
    let version = run(Command::new("node").args(["-e", probe]))
        .map_err(|problem| format!("{WANTED}: {problem}"))?;
    run(Command::new("npm").arg("--version")).map_err(|problem| format!("{WANTED}: {problem}"))?;
    let pins = ["package.json", "package-lock.json"].map(|file| sources.join(file));
    once(name, &version, &[&pins[0], &pins[1]], |home| {
        for file in &pins {
            copy_into(file, home)?;
        }
        run(Command::new("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .current_dir(home))
    })
}

fn copy_into(file: &Path, folder: &Path) -> Result<(), String> {
    let name = file.file_name().expect("a file has a name");
    fs::create_dir_all(folder)
        .and_then(|()| fs::copy(file, folder.join(name)))
        .map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(())
}

/// Installs into `target/sdk/<name>` unless that holds just these pins for just this interpreter.
fn once(
    name: &str,
    interpreter: &str,
    pins: &[&Path],
    install: impl FnOnce(&Path) -> Result<String, String>,
) -> Result<PathBuf, String> {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("sdk");
    let home = root.join(name);
    let failed = |error: std::io::Error| format!("{}: {error}", home.display());
    fs::create_dir_all(&root).map_err(failed)?;
    // Other test processes wait here; the lock ends with the file's handle.
    let lock = File::create(root.join(format!("{name}.lock"))).map_err(failed)?;
    lock.lock().map_err(failed)?;
    // A virtual environment knows its own place, so a moved one is made anew.
    let mut wanted = format!("{}\n{interpreter}", home.display());
    for file in pins {
        wanted += &fs::read_to_string(file).map_err(failed)?;
    }
    let stamp = root.join(format!("{name}.installed"));
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(home);
    }
    if home.exists() {
        fs::remove_dir_all(&home).map_err(failed)?;
    }
    eprintln!("installing {} (once)", home.display());
    install(&home)?;
    fs::write(&stamp, wanted).map_err(failed)?;
    Ok(home)
}

/// Runs to the end; what it printed, or what went wrong.
pub fn run(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!(
        "{program}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    ))
}
