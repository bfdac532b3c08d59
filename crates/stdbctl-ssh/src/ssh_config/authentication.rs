//! How this side may prove who it is, and whether a person may be asked to help.

use super::settings::Settings;

/// As in OpenSSH.
const USUAL_PROMPTS: u32 = 3;

/// A way to prove who one is that both sides know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// A key.
    PublicKey,
    /// Answers to whatever the server asks.
    KeyboardInteractive,
    /// A password.
    Password,
}

/// `PreferredAuthentications` and the keywords that turn methods off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authentication {
    /// The methods that may be tried, the preferred one first.
    pub methods: Vec<Method>,
    /// `BatchMode`: nobody is asked anything.
    pub batch: bool,
    /// `NumberOfPasswordPrompts`: how often a passphrase may be mistyped. A password is tried once, and with none
    /// allowed neither is asked for.
    pub prompts: u32,
}

impl Method {
    /// In OpenSSH's order.
    pub const ALL: [Self; 3] = [Self::PublicKey, Self::KeyboardInteractive, Self::Password];

    /// As the protocol calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::PublicKey => "publickey",
            Self::KeyboardInteractive => "keyboard-interactive",
            Self::Password => "password",
        }
    }

    /// What it wants, in a sentence.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::PublicKey => "key",
            Self::KeyboardInteractive => "typed answer",
            Self::Password => "password",
        }
    }

    /// The keyword that turns it off.
    fn keyword(self) -> &'static str {
        match self {
            Self::PublicKey => "pubkeyauthentication",
            Self::KeyboardInteractive => "kbdinteractiveauthentication",
            Self::Password => "passwordauthentication",
        }
    }
}

impl Default for Authentication {
    fn default() -> Self {
        Self { methods: Method::ALL.to_vec(), batch: false, prompts: USUAL_PROMPTS }
    }
}

impl Authentication {
    /// What was said. Methods that are unknown here are passed over, as `ssh` does.
    pub(super) fn read(settings: &Settings) -> Self {
        let is = |keyword, values: [&str; 2]| settings.first(keyword).is_some_and(|v| values.contains(&v));
        let preferred = settings.first("preferredauthentications").map_or(Method::ALL.to_vec(), |list| {
            let named = |name: &str| Method::ALL.into_iter().find(|method| method.name() == name.trim());
            list.split(',').filter_map(named).collect()
        });
        let is_on = |method: &Method| !is(method.keyword(), ["no", "false"]);
        Self {
            methods: preferred.into_iter().filter(is_on).collect(),
            batch: is("batchmode", ["yes", "true"]),
            prompts: settings
                .first("numberofpasswordprompts")
                .and_then(|number| number.parse().ok())
                .unwrap_or(USUAL_PROMPTS),
        }
    }

    /// Whether a person may be asked for passphrases and passwords.
    pub(crate) fn may_ask(&self) -> bool {
        !self.batch && self.prompts > 0
    }

    pub(crate) fn allows(&self, method: Method) -> bool {
        self.methods.contains(&method)
    }
}

/// What is wrong with a value, for keywords of this file. None for all others, and for values that are right.
pub(super) fn fault(keyword: &str, value: &str) -> Option<String> {
    let is_right = match keyword {
        "pubkeyauthentication" => ["yes", "no", "true", "false", "unbound", "host-bound"].contains(&value),
        "kbdinteractiveauthentication" | "passwordauthentication" | "batchmode" => {
            ["yes", "no", "true", "false"].contains(&value)
        }
        "numberofpasswordprompts" => value.parse::<u32>().is_ok(),
        _ => true,
    };
    (!is_right).then(|| format!("`{keyword}` cannot be {value:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(text: &str) -> Authentication {
        Authentication::read(&Settings::printed(text))
    }

    #[test]
    fn nothing_said_is_openssh_s_own_order() {
        assert_eq!(reads(""), Authentication::default());
        let methods = [Method::PublicKey, Method::KeyboardInteractive, Method::Password];
        assert_eq!(reads("pubkeyauthentication host-bound\nbatchmode no\n").methods, methods);
    }

    #[test]
    fn methods_are_taken_in_the_preferred_order_if_they_are_on() {
        let text = "preferredauthentications gssapi-with-mic,password,publickey,password-not\n";
        assert_eq!(reads(text).methods, [Method::Password, Method::PublicKey]);
        let off = format!("{text}pubkeyauthentication false\n");
        assert_eq!(reads(&off).methods, [Method::Password]);
        assert_eq!(reads("preferredauthentications gssapi-with-mic\n").methods, []);
        let off = "kbdinteractiveauthentication no\npasswordauthentication no\n";
        assert_eq!(reads(off).methods, [Method::PublicKey]);
    }

    #[test]
    fn who_wants_no_prompts_gets_none() {
        assert!(reads("numberofpasswordprompts 1\n").may_ask());
        assert!(!reads("numberofpasswordprompts 0\n").may_ask());
        assert!(!reads("batchmode yes\n").may_ask());
    }
}
