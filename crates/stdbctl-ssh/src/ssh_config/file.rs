//! Own reading of `ssh_config(5)`, for machines without an `ssh` that could be asked.

use std::io;
use std::io::ErrorKind::{NotADirectory, NotFound};
use std::net::IpAddr;
use std::path::{Component, Path, PathBuf};

use super::settings::Settings;
use super::values::{TIMES, fault, typed_value};
use super::words::Line;
use super::{ConfigError, HostConfig};
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
            Err(error) if matches!(error.kind(), NotFound | NotADirectory) => return Ok(()),
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
        let pair = if keyword == PAIR { arguments.join(" ") } else { first.clone() };
        if let Some(fault) = fault(keyword, &typed_value(keyword, &pair)) {
            return Err(fault);
        }
        if self.is_decided(keyword) || (TIMES.contains(&keyword) && first == "none") {
            return Ok(());
        }
        let all = if LISTS.contains(&keyword) { arguments } else { std::slice::from_ref(&pair) };
        for value in all {
            self.settings.add(keyword, &typed_value(keyword, value));
        }
        Ok(())
    }

    /// Whether what comes now counts for nothing. The first of `ProxyJump` and `ProxyCommand` turns the other off, but for
    /// `ProxyJump none`, which leaves a later `ProxyCommand` as it is.
    fn is_decided(&self, keyword: &str) -> bool {
        let has = |keyword| self.settings.has(keyword);
        match keyword {
            "proxyjump" => has("proxyjump") || has("proxycommand"),
            "proxycommand" => {
                let is_none = |hops: &str| hops.eq_ignore_ascii_case("none");
                has("proxycommand") || self.settings.first("proxyjump").is_some_and(|hops| !is_none(hops))
            }
            keyword => has(keyword) && !COLLECTED.contains(&keyword),
        }
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
            None => typed.clone(),
            Some(name) => {
                let name_parts = name.replace("%%", "\0");
                if name_parts.replace("%h", "").contains('%') {
                    return Err(ConfigError::Setting {
                        keyword: "HostName",
                        value: name.to_owned(),
                        why: "has a % token that stdbctl does not know",
                    });
                }
                name_parts.replace("%h", typed).replace('\0', "%")
            }
        };
        // The zone of an address is the name of an interface.
        let address = name.split('%').next().unwrap_or_default();
        let name = if address.parse::<IpAddr>().is_ok() { name } else { name.to_lowercase() };
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
    // By their bytes: `conf.d/a` comes before `conf/a`.
    found.sort_by(|one, other| one.as_os_str().cmp(other.as_os_str()));
    found
}

fn entries(directory: &Path, pattern: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let fits =
        |name: &str| wildcard_matches(pattern, name) && (!name.starts_with('.') || pattern.starts_with('.'));
    entries
        .filter_map(|entry| Some(entry.ok()?.file_name()))
        .filter(|name| name.to_str().is_some_and(fits))
        .map(|name| directory.join(name))
        .collect()
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
