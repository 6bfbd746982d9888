//! Where the configuration comes from: a file, the command line, or neither.

use std::path::{Path, PathBuf};

use ottla_config::{BrokerConfig, PACKAGED, Warning, refuse_unsafe};

use crate::error::StartError;

/// What the command line says.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `server.properties`. Without one the node is a cluster of its own on port 9092.
    pub config: Option<PathBuf>,
    /// Settings that win over the file, as key and value.
    pub overrides: Vec<(String, String)>,
    /// Wins over `log.dirs`, also of the overrides.
    pub data_dir: Option<PathBuf>,
    /// Format the directories that are not formatted, also with a file.
    pub format: bool,
}

/// A configuration ready to start with.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: BrokerConfig,
    /// To be logged once there is a log.
    pub warnings: Vec<Warning>,
    /// Whether directories that are not formatted are formatted at the start: asked for, or no
    /// configuration file that could have named the wrong disk.
    pub formats: bool,
    /// Whether clients are told the address they reached the node at: nobody configured one.
    pub advertises_reached: bool,
}

impl Options {
    /// Reads the configuration.
    ///
    /// # Errors
    /// The file cannot be read, or its settings cannot be used or would be less safe here.
    pub fn load(&self) -> Result<Loaded, StartError> {
        let mut overrides = self.overrides.clone();
        if let Some(dir) = &self.data_dir {
            overrides.push(("log.dirs".to_owned(), text_of(dir)?));
        }
        let text = match &self.config {
            Some(path) => Some(read(path)?),
            None => {
                packaged_overrides(&mut overrides)?;
                None
            }
        };
        let pairs: Vec<_> = overrides.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let (config, warnings) = BrokerConfig::load(text.as_deref(), &pairs)
            .map_err(|error| StartError::config(self.config.as_deref(), error))?;
        refuse_unsafe(&config)
            .map_err(|error| StartError::config(self.config.as_deref(), error))?;
        let is_named = |name: &str| self.overrides.iter().any(|(key, _)| key == name);
        Ok(Loaded {
            advertises_reached: match self.config {
                Some(_) => !config.is_set("advertised.listeners"),
                None => !is_named("advertised.listeners"),
            },
            config,
            warnings,
            formats: self.format || self.config.is_none(),
        })
    }
}

/// Where a node without file listens: as in the file that Kafka is shipped with, but that the controller
/// is reached from this machine only. Whoever reaches it decides about the cluster.
const LISTENERS: &str = "PLAINTEXT://:9092,CONTROLLER://localhost:9093";

/// Completes what a node without file starts with: a data directory, and for listeners given on the
/// command line the controller's one and advertised addresses. Who chose another port than 9092 may
/// well run several nodes on this machine, so the system chooses the controller's.
fn packaged_overrides(overrides: &mut Vec<(String, String)>) -> Result<(), StartError> {
    let find = |name: &str| overrides.iter().rev().find(|(key, _)| key == name);
    let dirs = find("log.dirs").or_else(|| find("log.dir"));
    let dirs = dirs
        .map_or_else(|| default_data_dir().and_then(|dir| text_of(&dir)), |_| Ok(String::new()))?;
    let listeners = find("listeners").map(|(_, listeners)| listeners.clone());
    let names_controller = find("controller.listener.names").is_some();
    let has_advertised = find("advertised.listeners").is_some();
    if let Some(mut listeners) = listeners {
        if !names_controller && !listeners.to_ascii_uppercase().contains("CONTROLLER://") {
            listeners.push_str(",CONTROLLER://localhost:0");
            overrides.push(("listeners".to_owned(), listeners.clone()));
        }
        if !has_advertised {
            overrides.push(("advertised.listeners".to_owned(), reachable(&listeners)));
        }
    } else {
        overrides.push(("listeners".to_owned(), LISTENERS.to_owned()));
    }
    if !dirs.is_empty() {
        overrides.push(("log.dirs".to_owned(), dirs));
    }
    debug_assert!(PACKAGED.iter().all(|(name, _)| *name != "log.dirs"));
    Ok(())
}

/// Listeners on all interfaces are told to clients as `localhost`.
fn reachable(listeners: &str) -> String {
    let one = |listener: &str| {
        let listener = listener.trim();
        for everywhere in ["://:", "://0.0.0.0:", "://[::]:"] {
            if let Some((name, port)) = listener.split_once(everywhere) {
                return format!("{name}://localhost:{port}");
            }
        }
        listener.to_owned()
    };
    listeners.split(',').map(one).collect::<Vec<_>>().join(",")
}

/// `$XDG_DATA_HOME/ottla`, else `~/.local/share/ottla`.
fn default_data_dir() -> Result<PathBuf, StartError> {
    let dir_of = |name: &str| {
        let path = PathBuf::from(std::env::var_os(name)?);
        path.is_absolute().then_some(path)
    };
    let data = dir_of("XDG_DATA_HOME").or_else(|| Some(dir_of("HOME")?.join(".local/share")));
    data.map(|data| data.join("ottla")).ok_or(StartError::NoDataDir)
}

fn read(path: &Path) -> Result<String, StartError> {
    std::fs::read_to_string(path)
        .map_err(|error| StartError::ConfigFile { path: path.to_path_buf(), error })
}

fn text_of(path: &Path) -> Result<String, StartError> {
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| StartError::PathNotText(path.to_path_buf()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_of_the_command_line_are_advertised_on_their_port() {
        for (listeners, want) in [
            ("PLAINTEXT://:1", "PLAINTEXT://localhost:1"),
            ("A://0.0.0.0:1, B://h:2", "A://localhost:1,B://h:2"),
            ("A://[::]:1,B://[::1]:2", "A://localhost:1,B://[::1]:2"),
        ] {
            assert_eq!(reachable(listeners), want);
        }
    }

    #[test]
    fn the_command_line_need_not_name_a_controller_listener() {
        let pair = ("listeners".to_owned(), "PLAINTEXT://:1".to_owned());
        let data_dir = Some(PathBuf::from("/d"));
        let options = Options { overrides: vec![pair], data_dir, ..Options::default() };
        let config = options.load().unwrap().config;
        let texts = |all: &[ottla_config::Listener]| {
            all.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
        };
        assert_eq!(texts(config.broker_listeners()), "PLAINTEXT://:1");
        assert_eq!(texts(config.advertised_listeners()), "PLAINTEXT://localhost:1");
        assert_eq!(texts(config.controller_listeners()), "CONTROLLER://localhost:0");
        let config = Options { data_dir: Some(PathBuf::from("/d")), ..Options::default() };
        let config = config.load().unwrap().config;
        assert_eq!(texts(config.controller_listeners()), "CONTROLLER://localhost:9093");
    }

    #[test]
    fn without_a_file_a_node_formats_and_with_one_only_on_demand() {
        let dir = std::env::temp_dir().join(format!("ottla-load-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let file = dir.join("server.properties");
        let text: String = PACKAGED.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
        std::fs::write(&file, text).unwrap();
        let options = Options { data_dir: Some(dir.join("data")), ..Options::default() };
        let loaded = options.load().unwrap();
        assert!(loaded.formats && loaded.advertises_reached);
        assert_eq!(loaded.config.log_dirs(), [dir.join("data").to_str().unwrap()]);
        let options = Options { config: Some(file), ..options };
        let loaded = options.load().unwrap();
        assert!(!loaded.formats && !loaded.advertises_reached);
        assert!(Options { format: true, ..options }.load().unwrap().formats);
        std::fs::remove_dir_all(dir).unwrap();
    }
}
