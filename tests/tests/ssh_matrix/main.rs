//! What the system's `ssh` can reach, stdbctl can reach, and what `ssh` refuses, stdbctl refuses: real
//! configurations of real servers, each tried with the same file, keys and known hosts by `ssh`, by `exec` and by a
//! deployment that has nothing to do.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

mod cell;
mod keys;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use self::cell::Verdict::{In, OnlySsh, Refused};
use self::cell::{Cell, Root, Verdict, cell};
use self::keys::PASSPHRASE;
use self::world::{PASSWORD, World};

/// Cells tried at a time; each keeps a login on both sides busy.
const SIDE_BY_SIDE: usize = 4;

const NO_KEY: Verdict = Refused(4, "refused the key");
const NO_KEYS: Verdict = Refused(4, "refused all 2 keys");
const UNKNOWN: Verdict = Refused(5, "is not known");
const CHANGED: Verdict = Refused(5, "has changed");
const REVOKED: Verdict = Refused(5, "is revoked");

/// What is tried, at which of the servers in `world`, lines of `ssh_config` for it, and what must come of it. `KEY` and
/// `KNOWN` stand for an `IdentityFile` and a `UserKnownHostsFile` in `DIR`, where they are made by `keys` and `world`.
const CELLS: [Cell; 56] = [
    // Keys.
    cell("Ed25519", "keys", "KEY id_ed25519", In),
    cell("ECDSA 256", "keys", "KEY id_ecdsa_256", In),
    cell("ECDSA 384", "keys", "KEY id_ecdsa_384", In),
    cell("ECDSA 521", "keys", "KEY id_ecdsa_521", In),
    cell("RSA 3072", "keys", "KEY id_rsa", In),
    cell("the last of several keys", "keys", "KEY missing\nKEY stranger\nKEY id_ecdsa_521", In),
    cell("no key that is accepted", "keys", "KEY stranger", NO_KEY),
    cell("another user", "keys", "User nobody-at-all", Refused(4, "nobody-at-all@another-user refused")),
    // Certificates of users.
    cell("a certificate", "user-authority", "KEY id_certified", In),
    cell("a key without its certificate", "user-authority", "KEY id_ed25519", NO_KEY),
    cell("an expired certificate", "user-authority", "KEY id_expired", NO_KEYS),
    cell("a certificate for another principal", "user-authority", "KEY id_misnamed", NO_KEYS),
    // What is typed.
    cell("a passphrase", "keys", "KEY id_locked", In).typing("Passphrase of the key", PASSPHRASE),
    cell(
        "a wrong passphrase",
        "keys",
        "KEY id_locked\nNumberOfPasswordPrompts 1",
        Refused(4, "refused the login"),
    )
    .typing("Passphrase of the key", "guessed"),
    cell("a passphrase and nobody to type it", "keys", "KEY id_locked", Refused(4, "no key")),
    cell("a password", "password", "", In).typing("Password of ubuntu on a-password:", PASSWORD),
    cell("a wrong password", "password", "NumberOfPasswordPrompts 1", Refused(4, "refused the password"))
        .typing("Password of ubuntu", "guessed"),
    cell("a password and nobody to type it", "password", "", Refused(4, "refused")),
    cell("an answer", "interactive", "", In).typing("an-answer asks ubuntu: Password:", PASSWORD),
    cell("a key and a password", "two-factors", "", In).typing("Password of ubuntu", PASSWORD),
    cell("a key and no password", "two-factors", "", Refused(4, "refused")),
    cell("no key and a password", "two-factors", "KEY stranger", Refused(4, "refused"))
        .typing("Password of ubuntu", PASSWORD),
    // What servers show.
    cell("an ECDSA host key", "own", "KNOWN known_ecdsa", In),
    cell("an RSA host key", "own", "KNOWN known_rsa", In),
    cell("the second file of known hosts", "keys", "KNOWN empty DIR/known_hosts", In),
    cell("a hashed host", "keys", "KNOWN hashed", In),
    cell("an alias", "keys", "HostKeyAlias web\nKNOWN aliased", In),
    cell("another alias", "keys", "HostKeyAlias other\nKNOWN aliased", UNKNOWN),
    cell("a changed host key", "keys", "KNOWN changed", CHANGED),
    cell(
        "a changed host key, accept-new",
        "keys",
        "KNOWN changed\nStrictHostKeyChecking accept-new",
        CHANGED,
    ),
    cell("a revoked host key", "keys", "KNOWN revoked", REVOKED),
    cell("an unknown host key", "keys", "KNOWN empty", UNKNOWN),
    cell("an unknown host key, yes", "keys", "KNOWN empty\nStrictHostKeyChecking yes", UNKNOWN),
    // It would log in to an impostor and hand it the data of a deployment: never, whoever has written `no` there.
    cell("no check of host keys", "keys", "KNOWN trusting\nStrictHostKeyChecking no", OnlySsh(3, "impostor")),
    cell("a host certificate", "certified", "KNOWN authority", In),
    cell("a host certificate of no authority", "certified", "KNOWN empty", UNKNOWN),
    cell("a host certificate of a revoked authority", "certified", "KNOWN revoked_authority", REVOKED),
    cell("an expired host certificate", "expired", "KNOWN authority", Refused(5, "expired")),
    cell("a host certificate for another name", "misnamed", "KNOWN authority", Refused(5, "not for")),
    // Ways.
    cell("the usual port", "own", "", In),
    cell("two hops", "behind", "ProxyJump outer,inner", In),
    cell("a hop behind its own hop", "behind", "ProxyJump inner-by-outer", In),
    cell("no hop", "behind", "", Refused(4, "refused")),
    cell("the first hop alone", "behind", "ProxyJump outer", Refused(4, "outer")),
    cell("the second hop alone", "behind", "ProxyJump inner", Refused(4, "inner")),
    cell("an impostor as second hop", "behind", "ProxyJump outer,impostor", CHANGED),
    cell("a command", "behind", "ProxyCommand ssh -F DIR/config -J outer -W %h:%p inner", In),
    cell(
        "a command that leads nowhere",
        "keys",
        "ProxyCommand ssh -F DIR/config -W 127.0.0.1:1 outer",
        Refused(4, "ProxyCommand"),
    ),
    cell("IPv6", "six", "AddressFamily inet6", In),
    cell("IPv6 typed", "six-typed", "", In),
    cell("no IPv6", "six", "AddressFamily inet", Refused(4, "no IPv4 address")),
    cell("Include and Match", "matched", "", In),
    // Roots.
    cell("sudo", "keys", "", In).by(Root::Sudo),
    cell("sudo with a password", "keys", "User careful", In).by(Root::Password),
    cell("sudo on a terminal only", "keys", "User seated\nRequestTTY force", In).by(Root::Sudo),
    cell("root alone", "root", "User root", In).by(Root::Login),
];

#[test]
fn ssh_and_stdbctl_come_to_the_same_verdict() {
    let world = World::new();
    world.only_hops_lead_inside();
    let before = world.web.snapshot();
    let wrong = wrong_cells(&world);
    assert!(wrong.is_empty(), "{} of {} cells:\n{}", wrong.len(), CELLS.len(), wrong.join("\n"));
    before.differences(&world.web.snapshot()).assert_none("deployments with nothing to do left traces");
}

/// What is wrong with each cell that is not as it must be.
fn wrong_cells(world: &World) -> Vec<String> {
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                while let Some(cell) = CELLS.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let fault = cell.fault(world);
                    wrong.lock().unwrap().extend(fault);
                }
            });
        }
    });
    wrong.into_inner().unwrap()
}
