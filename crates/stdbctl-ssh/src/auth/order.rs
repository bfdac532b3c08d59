//! In which order a login tries what it has.

use crate::connect::ConnectOptions;
use crate::identity::{MOST_OFFERED, Offer};
use crate::ssh_config::Method;

/// What is tried.
#[derive(Debug, Clone, Copy)]
pub(super) enum Try<'i> {
    /// Nothing at all, to hear what the server would take.
    Nothing,
    Key(&'i Offer),
    Answers,
    Password,
}

/// What has not been tried yet.
pub(super) struct Order<'i> {
    preferred: Vec<Method>,
    offers: &'i [Offer],
    offered: usize,
    most_offered: usize,
}

impl Try<'_> {
    /// For logs.
    pub(super) fn name(self) -> String {
        match self {
            Self::Nothing => "none".to_owned(),
            Self::Key(offer) => offer.name(),
            Self::Answers => Method::KeyboardInteractive.name().to_owned(),
            Self::Password => Method::Password.name().to_owned(),
        }
    }

    /// What a key is put on record as.
    pub(super) fn mark(self) -> Option<String> {
        match self {
            Self::Key(offer) => Some(offer.mark()),
            _ => None,
        }
    }
}

impl<'i> Order<'i> {
    pub(super) fn new(options: &ConnectOptions, offers: &'i [Offer]) -> Self {
        let is_possible = |method: &Method| *method == Method::PublicKey || options.can_ask();
        let preferred = options.authentication.methods.iter().copied().filter(is_possible).collect();
        Self { preferred, offers, offered: 0, most_offered: MOST_OFFERED }
    }

    /// The next try, given what the server takes; None if it has not said yet. A key may be offered without
    /// asking what it takes, which saves a round trip; a person is not disturbed without.
    pub(super) fn next(&mut self, taken: Option<&[String]>) -> Option<Try<'i>> {
        let is_taken =
            |method: Method| taken.is_none_or(|taken| taken.iter().any(|name| name == method.name()));
        // Where both ways to type are taken, one of them may fail at once, and a server hang up before the other.
        let is_left = |method| taken.is_some() && is_taken(method) && self.preferred.contains(&method);
        let both = is_left(Method::Password) && is_left(Method::KeyboardInteractive);
        if both {
            self.most_offered = MOST_OFFERED - 1;
        }
        for (index, &method) in self.preferred.iter().enumerate().filter(|(_, method)| is_taken(**method)) {
            if method == Method::PublicKey {
                let offer = self.offers.get(self.offered).filter(|_| self.offered < self.most_offered);
                if let Some(offer) = offer {
                    self.offered += 1;
                    return Some(Try::Key(offer));
                }
                continue;
            }
            if taken.is_none() {
                return Some(Try::Nothing);
            }
            self.preferred.remove(index);
            return Some(if method == Method::Password { Try::Password } else { Try::Answers });
        }
        None
    }

    /// Keys that were not offered for the sake of a password, in words.
    pub(super) fn held_back(&self) -> impl Iterator<Item = String> {
        let held_back = self.offers.iter().skip(self.most_offered.max(self.offered));
        held_back.map(|offer| {
            format!("{} was not offered: the server's last try was for a password", offer.name())
        })
    }

    /// The last key was refused because the server wants another proof first, and may be taken then.
    pub(super) fn put_back(&mut self) {
        self.offered = self.offered.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyring::Keyring;
    use crate::target::Target;

    fn options(methods: &[Method], somebody: bool) -> ConnectOptions {
        let target: Target = "me@web1".parse().unwrap();
        let mut options = ConnectOptions::new(target);
        options.authentication.methods = methods.to_vec();
        if somebody {
            options.keyring =
                Keyring::new(Some(std::sync::Arc::new(|_| Box::pin(std::future::pending()))), None);
        }
        options
    }

    fn tries(options: &ConnectOptions, keys: usize, taken: Option<&[&str]>) -> String {
        let offers: Vec<_> = (0..keys).map(|number| Offer::Sealed(format!("key{number}").into())).collect();
        let taken: Option<Vec<String>> = taken.map(|names| names.iter().map(ToString::to_string).collect());
        let mut order = Order::new(options, &offers);
        let mut names = Vec::new();
        while let Some(next) = order.next(taken.as_deref()) {
            names.push(next.name());
            if matches!(next, Try::Nothing) {
                break;
            }
        }
        names.join(" ")
    }

    #[test]
    fn keys_come_first_and_the_server_is_asked_before_a_person() {
        let options = options(&Method::ALL, true);
        assert_eq!(tries(&options, 2, None), "key0 key1 none");
        assert_eq!(tries(&options, 0, None), "none");
        assert_eq!(tries(&options, 1, Some(&["password", "publickey"])), "key0 password");
        let all = ["publickey", "password", "keyboard-interactive"];
        assert_eq!(tries(&options, 1, Some(&all)), "key0 keyboard-interactive password");
        assert_eq!(tries(&options, 1, Some(&["hostbased"])), "");
    }

    #[test]
    fn a_server_that_hangs_up_after_six_tries_is_asked_in_both_ways() {
        let options = options(&Method::ALL, true);
        let all = ["publickey", "password", "keyboard-interactive"];
        assert_eq!(tries(&options, 5, Some(&all)), "key0 key1 key2 key3 keyboard-interactive password");
        assert_eq!(tries(&options, 5, Some(&all[..2])), "key0 key1 key2 key3 key4 password");
    }

    #[test]
    fn the_preferred_method_is_the_first() {
        let options = options(&[Method::Password, Method::PublicKey], true);
        assert_eq!(tries(&options, 1, None), "none");
        assert_eq!(tries(&options, 1, Some(&["publickey", "password"])), "password key0");
    }

    #[test]
    fn where_nobody_is_there_only_keys_are_tried() {
        assert_eq!(tries(&options(&Method::ALL, false), 2, None), "key0 key1");
        let mut silent = options(&Method::ALL, true);
        silent.authentication.batch = true;
        assert_eq!(tries(&silent, 1, Some(&["publickey", "password"])), "key0");
    }
}
