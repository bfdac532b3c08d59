//! Keys, certificates and files of known hosts, in the operator's home directory.

use std::process::Command;
use std::time::Duration;

use stdbctl_tests::deadline::finish;
use stdbctl_tests::operator::Operator;

const LIMIT: Duration = Duration::from_secs(60);
pub(crate) const PASSPHRASE: &str = "open 'sesame'";
/// Who may log in with a certificate.
const USER: &str = "ubuntu";

/// Keys of every type that the host lets in, one that it does not, and certificates good and bad. `address` is the
/// host's, `key` the path of its public key without `.pub`.
pub(crate) fn make(operator: &Operator, address: &str) {
    let accepted = [
        ("id_ed25519", "ed25519", "256"),
        ("id_ecdsa_256", "ecdsa", "256"),
        ("id_ecdsa_384", "ecdsa", "384"),
        ("id_ecdsa_521", "ecdsa", "521"),
        ("id_rsa", "rsa", "3072"),
    ];
    let authorized: String = accepted.map(|(name, kind, bits)| generate(operator, name, kind, bits)).concat();
    keygen(operator, &["-q", "-t", "ed25519", "-N", PASSPHRASE, "-C", "id_locked", "-f", "id_locked"]);
    operator.write("authorized_keys", &(authorized + &public(operator, "id_locked")));
    for name in ["stranger", "authority", "id_certified", "id_expired", "id_misnamed"] {
        generate(operator, name, "ed25519", "256");
    }
    certify(operator, "id_certified", &["-n", USER, "-V", "-1h:+1h"]);
    certify(operator, "id_expired", &["-n", USER, "-V", "-2h:-1h"]);
    certify(operator, "id_misnamed", &["-n", "somebody", "-V", "-1h:+1h"]);
    for (name, host, validity) in [
        ("certified", address, "-1h:+1h"),
        ("expired", address, "-2h:-1h"),
        ("misnamed", "elsewhere.example", "-1h:+1h"),
    ] {
        std::fs::copy(operator.home().join("host.pub"), operator.home().join(format!("{name}.pub"))).unwrap();
        certify(operator, name, &["-h", "-n", host, "-V", validity]);
    }
}

/// Makes a key pair and returns its public half, a line.
fn generate(operator: &Operator, name: &str, kind: &str, bits: &str) -> String {
    keygen(operator, &["-q", "-t", kind, "-b", bits, "-N", "", "-C", name, "-f", name]);
    public(operator, name)
}

/// The public half of a key, a line.
pub(crate) fn public(operator: &Operator, name: &str) -> String {
    std::fs::read_to_string(operator.home().join(format!("{name}.pub"))).unwrap()
}

fn certify(operator: &Operator, name: &str, arguments: &[&str]) {
    keygen(
        operator,
        &[&["-q", "-s", "authority", "-I", name], arguments, &[&format!("{name}.pub")]].concat(),
    );
}

/// Runs `ssh-keygen` in the home directory.
pub(crate) fn keygen(operator: &Operator, arguments: &[&str]) {
    let mut command = Command::new("ssh-keygen");
    let finished = finish(command.args(arguments).current_dir(operator.home()), LIMIT);
    assert!(finished.status.success(), "ssh-keygen {arguments:?}: {}", finished.stderr);
}
