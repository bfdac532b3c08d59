//! Which algorithms are used: what this side can do, less what the configuration keeps out.

use std::borrow::Cow;

use russh::keys::{Algorithm, HashAlg};
use russh::{Preferred, cipher, kex, mac};

use crate::known_hosts::wildcard_matches;

/// Markers among the key exchanges: without them there is no strict key exchange, whatever else is agreed on.
const MARKERS: [kex::Name; 4] = [
    kex::EXTENSION_SUPPORT_AS_CLIENT,
    kex::EXTENSION_SUPPORT_AS_SERVER,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
];
/// Used only where the configuration asks for them by name, as rules of some organisations do.
const MORE_KEX: [kex::Name; 3] = [kex::ECDH_SHA2_NISTP256, kex::ECDH_SHA2_NISTP384, kex::ECDH_SHA2_NISTP521];
const MORE_CIPHERS: [cipher::Name; 1] = [cipher::AES_128_GCM];
/// They need no MAC beside them.
const AUTHENTICATED: [cipher::Name; 3] =
    [cipher::CHACHA20_POLY1305, cipher::AES_256_GCM, cipher::AES_128_GCM];

/// Names as russh wants them.
type List<T> = Cow<'static, [T]>;

/// What the configuration says of algorithms, each list as it stands in it. None: nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlgorithmRules {
    /// `HostKeyAlgorithms`. An order that is not the usual one counts.
    pub host_key: Option<AlgorithmList>,
    /// What the operator's `ssh` has in its place where nothing is configured: the usual order.
    pub usual_host_key: Option<AlgorithmList>,
    /// `CASignatureAlgorithms`: what authorities may have signed host certificates with.
    pub ca_signature: Option<AlgorithmList>,
    /// `KexAlgorithms`.
    pub kex: Option<AlgorithmList>,
    /// `Ciphers`.
    pub cipher: Option<AlgorithmList>,
    /// `MACs`.
    pub mac: Option<AlgorithmList>,
    /// `PubkeyAcceptedAlgorithms`: what the user's keys may sign with.
    pub public_key: Option<AlgorithmList>,
}

/// A list of algorithms as `ssh_config(5)` has it: names and wildcards between commas, behind `+` (these too), `-`
/// (all but these), `^` (these first) or nothing (only these). The order counts for host keys alone: of what both
/// sides can do, the rest is taken in the order that is best.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlgorithmList(String);

/// The configuration leaves nothing of what this side can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} lists nothing that stdbctl can do")]
pub struct NoneLeft(pub &'static str);

impl AlgorithmList {
    /// The list with this text.
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Whether it lets something be used that is used without it.
    pub(crate) fn allows(&self, name: &str) -> bool {
        let is_named = is_named(self.names(), name);
        match self.sign() {
            Some(b'-') => !is_named,
            Some(_) => true,
            None => is_named,
        }
    }

    /// What is left of what is `usual`, with those of `more` that are named, in this order.
    fn choose<T: Clone>(&self, usual: &[T], more: &[T], name: impl Fn(&T) -> String) -> Vec<T> {
        let more = more.iter().filter(|item| is_named(self.names(), &name(item)));
        usual.iter().chain(more).filter(|item| self.allows(&name(item))).cloned().collect()
    }

    /// Puts names in the order in which the list has them, if that is one.
    fn sort<T>(&self, items: &mut [T], name: impl Fn(&T) -> String) {
        if matches!(self.sign(), None | Some(b'^')) {
            let place = |item: &T| self.names().position(|pattern| wildcard_matches(pattern, &name(item)));
            items.sort_by_key(|item| place(item).unwrap_or(usize::MAX));
        }
    }

    fn sign(&self) -> Option<u8> {
        self.0.bytes().next().filter(|first| matches!(first, b'+' | b'-' | b'^'))
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        let names = if self.sign().is_some() { self.0.get(1..).unwrap_or_default() } else { &self.0 };
        names.split(',').filter(|name| !name.is_empty())
    }
}

fn is_named<'n>(mut patterns: impl Iterator<Item = &'n str>, name: &str) -> bool {
    patterns.any(|pattern| wildcard_matches(pattern, name))
}

impl AlgorithmRules {
    /// What is offered to a server, but for its keys.
    ///
    /// # Errors
    /// If nothing is left of something that there must be.
    pub(crate) fn offered(&self) -> Result<Preferred, NoneLeft> {
        let (cipher, mac) = self.ciphers_and_macs()?;
        Ok(Preferred { kex: self.kex()?, cipher, mac, ..Preferred::DEFAULT })
    }

    fn kex(&self) -> Result<List<kex::Name>, NoneLeft> {
        let Some(list) = &self.kex else { return Ok(Preferred::DEFAULT.kex) };
        let (markers, usual): (Vec<_>, Vec<_>) =
            Preferred::DEFAULT.kex.iter().copied().partition(|name| MARKERS.contains(name));
        let mut chosen = list.choose(&usual, &MORE_KEX, text);
        if chosen.is_empty() {
            return Err(NoneLeft("KexAlgorithms"));
        }
        chosen.extend(markers);
        Ok(chosen.into())
    }

    /// A list of MACs that has none of ours does not matter to ciphers that need none.
    fn ciphers_and_macs(&self) -> Result<(List<cipher::Name>, List<mac::Name>), NoneLeft> {
        let usual = crate::cipher::preferred();
        let mut ciphers = match &self.cipher {
            None => usual.to_vec(),
            Some(list) => list.choose(&usual, &MORE_CIPHERS, text),
        };
        if ciphers.is_empty() {
            return Err(NoneLeft("Ciphers"));
        }
        let Some(list) = &self.mac else { return Ok((ciphers.into(), Preferred::DEFAULT.mac)) };
        let macs = list.choose(&Preferred::DEFAULT.mac, &[], text);
        if !macs.is_empty() {
            return Ok((ciphers.into(), macs.into()));
        }
        ciphers.retain(|name| AUTHENTICATED.contains(name));
        if ciphers.is_empty() {
            return Err(NoneLeft("MACs"));
        }
        Ok((ciphers.into(), Preferred::DEFAULT.mac))
    }

    /// The kinds of host keys and of host certificates that may be shown, in the order in which they are wanted.
    ///
    /// # Errors
    /// If there are none of either.
    pub(crate) fn host_keys(&self) -> Result<HostKeys, NoneLeft> {
        let usual: Vec<_> = Preferred::DEFAULT.key.iter().filter(|a| !is_sha1(a)).cloned().collect();
        let Some(list) = &self.host_key else {
            return Ok(HostKeys { plain: usual.clone(), certified: usual, is_ordered: false });
        };
        let mut plain = list.choose(&usual, &[], ToString::to_string);
        let mut certified = list.choose(&usual, &[], Algorithm::to_certificate_type);
        list.sort(&mut plain, ToString::to_string);
        list.sort(&mut certified, Algorithm::to_certificate_type);
        if plain.is_empty() && certified.is_empty() {
            return Err(NoneLeft("HostKeyAlgorithms"));
        }
        let printed: Vec<_> = self.usual_host_key.iter().flat_map(AlgorithmList::names).collect();
        let place = |wanted: &Algorithm| {
            let place = match printed.as_slice() {
                [] => usual.iter().position(|known| known == wanted),
                printed => printed.iter().position(|known| *known == wanted.as_str()),
            };
            place.unwrap_or(usize::MAX)
        };
        // `ssh -G` does not tell a list that somebody has made from the usual one with some taken out. One in the
        // usual order is taken for such a one: the types on record for a host may then come first.
        let is_ordered = !plain.iter().map(place).is_sorted() || !certified.iter().map(place).is_sorted();
        Ok(HostKeys { plain, certified, is_ordered })
    }

    /// Whether a key of the user's may be offered.
    pub(crate) fn allows_user_key(&self, algorithm: &Algorithm, is_certified: bool) -> bool {
        if matches!(algorithm, Algorithm::Rsa { .. }) {
            return self.user_key_hash(HashAlg::Sha512, is_certified).is_some();
        }
        self.allows_signing(algorithm, is_certified)
    }

    /// With which hash an RSA key of the user's signs, if the server would rather have this one.
    pub(crate) fn user_key_hash(&self, best: HashAlg, is_certified: bool) -> Option<HashAlg> {
        let hashes = [best, HashAlg::Sha512, HashAlg::Sha256];
        let allows =
            |hash: &HashAlg| self.allows_signing(&Algorithm::Rsa { hash: Some(*hash) }, is_certified);
        hashes.into_iter().find(allows)
    }

    fn allows_signing(&self, algorithm: &Algorithm, is_certified: bool) -> bool {
        let Some(list) = &self.public_key else { return true };
        if is_certified {
            list.allows(&algorithm.to_certificate_type())
        } else {
            list.allows(algorithm.as_ref())
        }
    }

    /// Whether a host key of this type may be used.
    pub(crate) fn allows_host_key(&self, algorithm: &Algorithm) -> bool {
        let Some(list) = &self.host_key else { return true };
        // A key of RSA has three names, by the hash that is signed with.
        let names: &[&str] = if matches!(algorithm, Algorithm::Rsa { .. }) {
            &["rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"]
        } else {
            &[]
        };
        names.iter().any(|name| list.allows(name)) || (names.is_empty() && list.allows(algorithm.as_ref()))
    }
}

/// What a list of this keyword could hold to be of use.
pub(crate) fn known_to_stdbctl(keyword: &str) -> Vec<String> {
    let usual = Preferred::DEFAULT;
    match keyword {
        "KexAlgorithms" => usual.kex.iter().filter(|n| !MARKERS.contains(n)).map(text).collect(),
        "Ciphers" => usual.cipher.iter().map(text).collect(),
        "MACs" => usual.mac.iter().map(text).collect(),
        _ => usual.key.iter().filter(|a| !is_sha1(a)).map(ToString::to_string).collect(),
    }
}

fn text(name: &impl AsRef<str>) -> String {
    name.as_ref().to_owned()
}

fn is_sha1(algorithm: &Algorithm) -> bool {
    matches!(algorithm, Algorithm::Rsa { hash: None })
}

/// The kinds of host keys that are asked for.
#[derive(Debug)]
pub(crate) struct HostKeys {
    pub(crate) plain: Vec<Algorithm>,
    pub(crate) certified: Vec<Algorithm>,
    /// Somebody wants them in this order, whatever is on record.
    pub(crate) is_ordered: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names<T: AsRef<str>>(list: &[T]) -> Vec<&str> {
        list.iter()
            .map(AsRef::as_ref)
            .filter(|name| !name.contains("ext-info") && !name.contains("strict"))
            .collect()
    }

    fn with(set: impl Fn(&mut AlgorithmRules, AlgorithmList), text: &str) -> AlgorithmRules {
        let mut algorithms = AlgorithmRules::default();
        set(&mut algorithms, AlgorithmList::new(text));
        algorithms
    }

    fn kex_of(text: &str) -> Result<Preferred, NoneLeft> {
        with(|algorithms, list| algorithms.kex = Some(list), text).offered()
    }

    fn host_keys_of(text: &str) -> Result<HostKeys, NoneLeft> {
        with(|algorithms, list| algorithms.host_key = Some(list), text).host_keys()
    }

    fn plain(text: &str) -> Vec<String> {
        host_keys_of(text).unwrap().plain.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn nothing_said_is_as_usual() {
        let offered = AlgorithmRules::default().offered().unwrap();
        assert_eq!(offered.kex, Preferred::DEFAULT.kex);
        assert_eq!(offered.cipher, crate::cipher::preferred());
        assert_eq!(offered.mac, Preferred::DEFAULT.mac);
        assert!(!AlgorithmRules::default().host_keys().unwrap().is_ordered);
    }

    #[test]
    fn key_exchanges_are_restricted_and_stay_strict() {
        let table = [
            (
                "diffie-hellman-group14-sha256,curve25519-sha256",
                &["curve25519-sha256", "diffie-hellman-group14-sha256"][..],
            ),
            ("ecdh-sha2-nistp256", &["ecdh-sha2-nistp256"]),
            ("-mlkem*,diffie*", &["curve25519-sha256", "curve25519-sha256@libssh.org"]),
            ("curve25519-sha256*", &["curve25519-sha256", "curve25519-sha256@libssh.org"]),
        ];
        for (text, expected) in table {
            let offered = kex_of(text).unwrap();
            assert_eq!(names(&offered.kex), expected, "{text}");
            for marker in MARKERS {
                assert!(offered.kex.contains(&marker), "{text}");
            }
        }
        assert_eq!(kex_of("^diffie-hellman-group14-sha256").unwrap().kex, Preferred::DEFAULT.kex);
        assert_eq!(kex_of("+ecdh-sha2-nistp521").unwrap().kex.len(), Preferred::DEFAULT.kex.len() + 1);
        assert_eq!(kex_of("diffie-hellman-group1-sha1").unwrap_err(), NoneLeft("KexAlgorithms"));
        assert_eq!(kex_of("kex-strict-c-v00@openssh.com").unwrap_err(), NoneLeft("KexAlgorithms"));
    }

    #[test]
    fn a_list_of_macs_matters_only_to_ciphers_that_need_one() {
        let both = |ciphers: &str, macs: &str| {
            let lists = [ciphers, macs].map(|text| (!text.is_empty()).then(|| AlgorithmList::new(text)));
            let [cipher, mac] = lists;
            AlgorithmRules { cipher, mac, ..AlgorithmRules::default() }.offered()
        };
        let offered = both("", "umac-128@openssh.com").unwrap();
        assert!(offered.cipher.iter().all(|name| AUTHENTICATED.contains(name)));
        assert_eq!(both("aes256-ctr", "umac-128@openssh.com").unwrap_err(), NoneLeft("MACs"));
        assert_eq!(both("aes128-cbc", "").unwrap_err(), NoneLeft("Ciphers"));
        assert_eq!(names(&both("aes128-gcm@openssh.com", "").unwrap().cipher), ["aes128-gcm@openssh.com"]);
        let offered = both("aes256-ctr", "hmac-sha2-256,hmac-sha2-512").unwrap();
        assert_eq!(
            (names(&offered.cipher), names(&offered.mac)),
            (vec!["aes256-ctr"], vec!["hmac-sha2-512", "hmac-sha2-256"])
        );
    }

    #[test]
    fn host_keys_come_in_an_order_that_somebody_wants() {
        assert_eq!(plain("rsa-sha2-512,ssh-ed25519"), ["rsa-sha2-512", "ssh-ed25519"]);
        assert!(host_keys_of("rsa-sha2-512,ssh-ed25519").unwrap().is_ordered);
        assert!(host_keys_of("^rsa-sha2-256").unwrap().is_ordered);
        assert!(!host_keys_of("ssh-ed25519,rsa-sha2-512").unwrap().is_ordered);
        assert!(!host_keys_of("-ecdsa*").unwrap().is_ordered);
        assert_eq!(plain("-ecdsa*"), ["ssh-ed25519", "rsa-sha2-512", "rsa-sha2-256"]);
        // SHA-1 does not come back.
        assert_eq!(plain("+ssh-rsa").len(), 6);
        assert_eq!(host_keys_of("ssh-rsa").unwrap_err(), NoneLeft("HostKeyAlgorithms"));
    }

    #[test]
    fn keys_of_the_user_sign_with_what_is_listed() {
        let rules = |text: &str| with(|rules, list| rules.public_key = Some(list), text);
        let rsa = Algorithm::Rsa { hash: None };
        assert!(AlgorithmRules::default().allows_user_key(&rsa, false));
        assert!(rules("ssh-ed25519").allows_user_key(&Algorithm::Ed25519, false));
        assert!(!rules("ssh-ed25519").allows_user_key(&Algorithm::Ed25519, true));
        assert!(!rules("ssh-ed25519,ssh-rsa").allows_user_key(&rsa, false));
        assert!(rules("-ssh-ed25519").allows_user_key(&Algorithm::Ed25519, true));
        let of_256 = rules("rsa-sha2-256,rsa-sha2-512-cert-v01@openssh.com");
        assert_eq!(of_256.user_key_hash(HashAlg::Sha512, false), Some(HashAlg::Sha256));
        assert_eq!(of_256.user_key_hash(HashAlg::Sha256, true), Some(HashAlg::Sha512));
        assert_eq!(rules("ssh-rsa").user_key_hash(HashAlg::Sha512, false), None);
    }

    #[test]
    fn certificates_are_listed_by_names_of_their_own() {
        let only_plain = host_keys_of("ssh-ed25519").unwrap();
        assert!(only_plain.certified.is_empty());
        let only_certified = host_keys_of("*-cert-v01@openssh.com").unwrap();
        assert!(only_certified.plain.is_empty());
        assert_eq!(only_certified.certified.len(), 6);
    }

    #[test]
    fn the_usual_order_is_that_of_the_operators_ssh() {
        let plain = "ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,\
            sk-ecdsa-sha2-nistp256@openssh.com,ssh-ed25519,sk-ssh-ed25519@openssh.com,rsa-sha2-512,rsa-sha2-256";
        // As OpenSSH 8.4 prints it.
        let usual = format!(
            "ecdsa-sha2-nistp256-cert-v01@openssh.com,ssh-ed25519-cert-v01@openssh.com,{plain},ssh-rsa"
        );
        let is_ordered = |text: &str| {
            let mut rules = with(|rules, list| rules.host_key = Some(list), text);
            rules.usual_host_key = Some(AlgorithmList::new(&usual));
            rules.host_keys().unwrap().is_ordered
        };
        for harmless in [plain, "ecdsa-sha2-nistp256,ssh-ed25519", &usual.replace(",ssh-rsa", "")] {
            assert!(!is_ordered(harmless), "{harmless}");
        }
        assert!(is_ordered("ssh-ed25519,ecdsa-sha2-nistp256"));
    }

    /// All names that the system's `ssh` knows, so that lists hold such as are ours and such as are not.
    fn names_of_ssh() -> Vec<String> {
        let output = std::process::Command::new("ssh").args(["-Q", "kex"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    proptest! {
        #[test]
        fn what_is_offered_is_what_a_list_leaves(
            listed in prop::sample::subsequence(names_of_ssh(), 1..8),
            sign in prop::sample::select(vec!["", "-", "+", "^"]),
        ) {
            let usual = names(&Preferred::DEFAULT.kex);
            let more = MORE_KEX;
            let ours: Vec<_> = usual.iter().copied().chain(more.iter().map(AsRef::as_ref)).collect();
            let expected: Vec<_> = ours.into_iter().filter(|name| {
                let (is_usual, is_listed) = (usual.contains(name), listed.iter().any(|listed| listed == name));
                match sign {
                    "" => is_listed,
                    "-" => is_usual && !is_listed,
                    _ => is_usual || is_listed,
                }
            }).collect();
            match kex_of(&format!("{sign}{}", listed.join(","))) {
                Ok(offered) => {
                    prop_assert_eq!(names(&offered.kex), expected);
                    prop_assert!(MARKERS.iter().all(|marker| offered.kex.contains(marker)));
                }
                Err(_) => prop_assert!(expected.is_empty()),
            }
        }
    }
}
