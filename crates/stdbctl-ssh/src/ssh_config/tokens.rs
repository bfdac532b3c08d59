//! What stands for something else in values of `ssh_config(5)`: `~`, `%h` and `${NAME}`.

use std::path::PathBuf;

/// What the tokens stand for.
pub(crate) struct Tokens {
    /// `%d` and `~`.
    pub(crate) home: PathBuf,
    /// `%h`: the name after `HostName`.
    pub(crate) host_name: String,
    /// `%n`: the name as typed.
    pub(crate) typed: String,
    /// `%p`.
    pub(crate) port: u16,
    /// `%r`.
    pub(crate) remote_user: String,
    /// `%u`.
    pub(crate) local_user: String,
    /// `%l`.
    pub(crate) local_host: String,
    /// `%k`: `HostKeyAlias`, or the name as typed.
    pub(crate) alias: String,
}

/// Why a value cannot be expanded; completes a sentence that begins with the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoValue {
    Token,
    Variable,
    Home,
}

impl NoValue {
    pub(crate) fn why(self) -> &'static str {
        match self {
            Self::Token => "has a % token that stdbctl does not know",
            Self::Variable => "names an environment variable that is not set",
            Self::Home => "is at somebody's who is not in /etc/passwd; write the path out",
        }
    }
}

impl Tokens {
    /// The text with its tokens replaced.
    pub(crate) fn expand(&self, text: &str) -> Result<String, NoValue> {
        let mut expanded = String::with_capacity(text.len());
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            if character != '%' {
                expanded.push(character);
                continue;
            }
            match characters.next().ok_or(NoValue::Token)? {
                '%' => expanded.push('%'),
                'd' => expanded.push_str(&self.home.to_string_lossy()),
                'h' => expanded.push_str(&self.host_name),
                'k' => expanded.push_str(&self.alias),
                'l' => expanded.push_str(&self.local_host),
                'L' => expanded.push_str(self.local_host.split('.').next().unwrap_or_default()),
                'n' => expanded.push_str(&self.typed),
                'p' => expanded.push_str(&self.port.to_string()),
                'r' => expanded.push_str(&self.remote_user),
                'u' => expanded.push_str(&self.local_user),
                _ => return Err(NoValue::Token),
            }
        }
        Ok(expanded)
    }

    /// The same for the name of a file, which may begin with `~/` and hold `${NAME}`.
    pub(crate) fn path(&self, text: &str) -> Result<PathBuf, NoValue> {
        let text = self.expand(&variables(text, |name| std::env::var(name).ok())?)?;
        let Some(owner) = text.strip_prefix('~') else { return Ok(PathBuf::from(text)) };
        let (owner, rest) = owner.split_once('/').unwrap_or((owner, ""));
        let home = if owner.is_empty() { self.home.clone() } else { home_of(owner, &users())? };
        Ok(if rest.is_empty() { home } else { home.join(rest) })
    }
}

fn users() -> String {
    std::fs::read_to_string("/etc/passwd").unwrap_or_default()
}

/// Where somebody else of this machine is at home, by its `passwd(5)`.
fn home_of(owner: &str, users: &str) -> Result<PathBuf, NoValue> {
    let user = users.lines().map(|line| line.split(':')).find(|user| user.clone().next() == Some(owner));
    user.and_then(|mut user| user.nth(5)).map(PathBuf::from).ok_or(NoValue::Home)
}

fn variables(text: &str, value: impl Fn(&str) -> Option<String>) -> Result<String, NoValue> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) = after.split_once('}').ok_or(NoValue::Variable)?;
        expanded.push_str(before);
        expanded.push_str(&value(name).ok_or(NoValue::Variable)?);
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

pub(crate) fn local_user() -> String {
    let variable = |name: &&str| std::env::var(name).ok().filter(|value| !value.is_empty());
    ["USER", "LOGNAME"].iter().find_map(variable).unwrap_or_default()
}

pub(crate) fn local_host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> Tokens {
        Tokens {
            home: "/home/ada".into(),
            host_name: "10.0.0.5".to_owned(),
            typed: "web1".to_owned(),
            port: 2222,
            remote_user: "deploy".to_owned(),
            local_user: "ada".to_owned(),
            local_host: "laptop.example".to_owned(),
            alias: "web".to_owned(),
        }
    }

    #[test]
    fn each_stands_for_what_it_does_in_openssh() {
        let expanded = tokens().expand("%h %n %p %r %u %l %L %k %d %%h").unwrap();
        assert_eq!(expanded, "10.0.0.5 web1 2222 deploy ada laptop.example laptop web /home/ada %h");
        assert_eq!(tokens().path("~/.ssh/%h_key"), Ok("/home/ada/.ssh/10.0.0.5_key".into()));
        assert_eq!(tokens().path("/etc/~"), Ok("/etc/~".into()));
        assert_eq!(tokens().path("~"), Ok("/home/ada".into()));
        let users = "bobby:x:1:1::/srv/bobby:/bin/sh\nbob:x:2:2:Bob:/srv/bob:/bin/sh\n";
        assert_eq!(home_of("bob", users), Ok("/srv/bob".into()));
        let root = home_of("root", &super::users()).unwrap();
        assert_eq!(tokens().path("~root/key"), Ok(root.join("key")));
        assert_eq!(tokens().path("~nobody at all/key"), Err(NoValue::Home));
    }

    #[test]
    fn variables_are_replaced_once() {
        let value = |name: &str| (name == "A").then(|| "${B}".to_owned());
        assert_eq!(variables("x${A}y${A}", value), Ok("x${B}y${B}".to_owned()));
        assert_eq!(variables("$A %h", value), Ok("$A %h".to_owned()));
        assert_eq!(variables("${NONE}", value), Err(NoValue::Variable));
        assert_eq!(variables("${A", value), Err(NoValue::Variable));
    }

    #[test]
    fn what_means_nothing_here_is_no_text() {
        assert_eq!(tokens().expand("%C"), Err(NoValue::Token));
        assert_eq!(tokens().expand("100%"), Err(NoValue::Token));
    }
}
