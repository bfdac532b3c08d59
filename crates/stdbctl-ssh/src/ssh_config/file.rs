//! Own reading of `ssh_config(5)`, for machines without an `ssh` that could be asked.

use std::io;
use std::path::{Component, Path, PathBuf};

use super::settings::Settings;
use super::words::Line;
use super::{ConfigError, HostConfig, authentication};
use crate::known_hosts::wildcard_matches;
use crate::target::Target;

/// As in OpenSSH.
const DEEPEST_INCLUDE: usize = 16;
const SYSTEM_DIRECTORY: &str = "/etc/ssh";
/// Keywords of which every value counts, and not only the first.
const COLLECTED: [&str; 2] = ["identityfile", "certificatefile"];
/// Keywords with several values on one line.
const LISTS: [&str; 2] = ["userknownhostsfile", "globalknownhostsfile"];
/// A keyword whose value has two parts.
const PAIR: &str = "rekeylimit";
/// Keywords whose values are words.
const WORDS: [&str; 12] = [
    "addressfamily",
    "batchmode",
    "checkhostip",
    "hashknownhosts",
    "identitiesonly",
    "kbdinteractiveauthentication",
    "passwordauthentication",
    "proxyusefdpass",
    "pubkeyauthentication",
    "stricthostkeychecking",
    "updatehostkeys",
    "verifyhostkeydns",
];

/// What the file says, or the usual files if none is named.
pub(super) fn read(target: &Target, file: Option<&Path>) -> Result<HostConfig, ConfigError> {
    let mut reading = Reading::new(target);
    let directory = std::env::home_dir().unwrap_or_default().join(".ssh");
    if let Some(file) = file {
        let text = std::fs::read_to_string(file)
            .map_err(|source| ConfigError::Unreadable { file: file.to_owned(), source })?;
        reading.take(file, &text, &Origin { directory, is_private: false, depth: 0 })?;
    } else {
        let (user, system) = (directory.join("config"), Path::new(SYSTEM_DIRECTORY).join("ssh_config"));
        reading.take_if_there(&user, &Origin { directory, is_private: true, depth: 0 })?;
        let origin = Origin { directory: SYSTEM_DIRECTORY.into(), is_private: false, depth: 0 };
        reading.take_if_there(&system, &origin)?;
    }
    reading.settings()?.host_config(target)
}

/// Where a file comes from.
struct Origin {
    /// Where the files are that it includes.
    directory: PathBuf,
    /// Nobody else may be able to write to it.
    is_private: bool,
    /// How many files have included each other to get there.
    depth: usize,
}

/// What has been read so far of what holds for one destination.
struct Reading<'t> {
    target: &'t Target,
    settings: Settings,
}

impl<'t> Reading<'t> {
    fn new(target: &'t Target) -> Self {
        let mut settings = Settings::default();
        // What was typed comes first, and so wins.
        if let Some(user) = &target.user {
            settings.add("user", user);
        }
        if let Some(port) = target.port {
            settings.add("port", &port.to_string());
        }
        Self { target, settings }
    }

    fn take_if_there(&mut self, file: &Path, origin: &Origin) -> Result<(), ConfigError> {
        let unreadable = |source| ConfigError::Unreadable { file: file.to_owned(), source };
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(unreadable(error)),
        };
        if origin.is_private && others_may_write(file).map_err(unreadable)? {
            return Err(ConfigError::Writable { file: file.to_owned() });
        }
        self.take(file, &text, origin)
    }

    fn take(&mut self, file: &Path, text: &str, origin: &Origin) -> Result<(), ConfigError> {
        let mut holds = true;
        for (index, text) in text.lines().enumerate() {
            let wrong = |what: String| ConfigError::Line { file: file.to_owned(), line: index + 1, what };
            let line = Line::read(text).map_err(|what| wrong(format!("the line {what}")))?;
            let Some(Line { keyword, arguments }) = line else { continue };
            match keyword.as_str() {
                "host" => holds = self.is_meant(&arguments),
                "match" if arguments.iter().map(|word| word.to_ascii_lowercase()).eq(["all".to_owned()]) => {
                    holds = true;
                }
                "match" => return Err(wrong("only ssh itself can tell what `Match` covers".to_owned())),
                _ if !holds => {}
                "include" => {
                    for pattern in &arguments {
                        self.include(pattern, origin, &wrong)?;
                    }
                }
                "canonicalizehostname" if !is_word(&arguments, "no") => {
                    return Err(wrong(
                        "only ssh itself can do what `CanonicalizeHostname` asks for".to_owned(),
                    ));
                }
                keyword => self.set(usual_name(keyword), &arguments).map_err(wrong)?,
            }
        }
        Ok(())
    }

    /// Whether a `Host` line with these patterns covers the destination.
    fn is_meant(&self, patterns: &[String]) -> bool {
        let fits = |pattern: &str| wildcard_matches(pattern, &self.target.host);
        let excluded = patterns.iter().filter_map(|pattern| pattern.strip_prefix('!')).any(fits);
        !excluded && patterns.iter().any(|pattern| !pattern.starts_with('!') && fits(pattern))
    }

    fn set(&mut self, keyword: &str, arguments: &[String]) -> Result<(), String> {
        let Some(first) = arguments.first().filter(|first| !first.is_empty()) else {
            return Err(format!("`{keyword}` has no value"));
        };
        if keyword == "port" && !first.parse::<u16>().is_ok_and(|port| port > 0) {
            return Err(format!("{first:?} is not a port"));
        }
        if let Some(fault) = authentication::fault(keyword, &typed_value(keyword, first)) {
            return Err(fault);
        }
        // `ProxyJump none` turns a later ProxyCommand off, and the other way round.
        let is_proxy = |keyword: &str| matches!(keyword, "proxyjump" | "proxycommand");
        let is_decided =
            is_proxy(keyword) && (self.settings.has("proxyjump") || self.settings.has("proxycommand"));
        if is_decided || (self.settings.has(keyword) && !COLLECTED.contains(&keyword)) {
            return Ok(());
        }
        let pair = if keyword == PAIR { arguments.join(" ") } else { first.clone() };
        let all = if LISTS.contains(&keyword) { arguments } else { std::slice::from_ref(&pair) };
        for value in all {
            self.settings.add(keyword, &typed_value(keyword, value));
        }
        Ok(())
    }

    fn include(
        &mut self,
        pattern: &str,
        origin: &Origin,
        wrong: &impl Fn(String) -> ConfigError,
    ) -> Result<(), ConfigError> {
        if origin.depth + 1 >= DEEPEST_INCLUDE {
            return Err(wrong("files include each other without end".to_owned()));
        }
        if pattern.contains(['[', '{', '$', '%']) {
            return Err(wrong(format!("only ssh itself can tell which files {pattern:?} stands for")));
        }
        let path = match pattern.strip_prefix("~/") {
            Some(rest) => std::env::home_dir().unwrap_or_default().join(rest),
            None => origin.directory.join(pattern),
        };
        for file in matching_files(&path) {
            let Origin { directory, is_private, depth } = origin;
            let origin = Origin { directory: directory.clone(), is_private: *is_private, depth: depth + 1 };
            self.take_if_there(&file, &origin)?;
        }
        Ok(())
    }

    /// All that was said, with the host's name as it is to be connected to.
    fn settings(mut self) -> Result<Settings, ConfigError> {
        let typed = &self.target.host;
        let name = match self.settings.first("hostname") {
            None => typed.to_lowercase(),
            Some(name) => {
                let expanded = name.replace("%%", "\0").replace("%h", typed);
                if expanded.contains('%') {
                    return Err(ConfigError::Setting {
                        keyword: "HostName",
                        value: name.to_owned(),
                        why: "has a % token that stdbctl does not know",
                    });
                }
                expanded.replace('\0', "%")
            }
        };
        self.settings.put_first("hostname", &name);
        Ok(self.settings)
    }
}

fn is_word(arguments: &[String], word: &str) -> bool {
    arguments.first().is_some_and(|argument| argument.eq_ignore_ascii_case(word))
}

/// Keywords that have had other names.
fn usual_name(keyword: &str) -> &str {
    match keyword {
        "challengeresponseauthentication" | "skeyauthentication" | "tisauthentication" => {
            "kbdinteractiveauthentication"
        }
        "dsaauthentication" => "pubkeyauthentication",
        keyword => keyword,
    }
}

/// Values that are words are understood in any case.
fn typed_value(keyword: &str, value: &str) -> String {
    if WORDS.contains(&keyword) { value.to_ascii_lowercase() } else { value.to_owned() }
}

/// The files that a path with `*` and `?` in it stands for, in order.
fn matching_files(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for component in pattern.components() {
        let text = component.as_os_str().to_string_lossy();
        let has_wildcard = matches!(component, Component::Normal(_)) && text.contains(['*', '?']);
        found = if has_wildcard {
            found.iter().flat_map(|directory| entries(directory, &text)).collect()
        } else {
            found.into_iter().map(|path| path.join(component)).collect()
        };
    }
    found
}

fn entries(directory: &Path, pattern: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let fits =
        |name: &str| wildcard_matches(pattern, name) && (!name.starts_with('.') || pattern.starts_with('.'));
    let mut found: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.file_name()))
        .filter(|name| name.to_str().is_some_and(fits))
        .map(|name| directory.join(name))
        .collect();
    found.sort();
    found
}

#[cfg(unix)]
fn others_may_write(file: &Path) -> io::Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    Ok(std::fs::metadata(file)?.permissions().mode() & 0o022 != 0)
}

#[cfg(not(unix))]
fn others_may_write(_: &Path) -> io::Result<bool> {
    Ok(false)
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
