//! Hosts that are odd and yet fine: noisy logins, strange shells, another language, a /tmp nobody may execute in.

use stdbctl_tests::lab::{LabHost, line};
use stdbctl_tests::operator::Operator;

const ODD: &str = r#"set -e
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq >/dev/null && apt-get install -y -qq --no-install-recommends tcsh fish locales >/dev/null 2>&1
localedef -i de_DE -f UTF-8 de_DE.UTF-8
printf 'LANG=de_DE.UTF-8\nLC_ALL=de_DE.UTF-8\n' >>/etc/environment
echo 'Welcome! @0 found 3 {"event":"run_finished"}' >/etc/motd
for file in .bashrc .profile .cshrc .tcshrc .zshenv; do
  printf 'echo noise on stdout\nsh -c "echo noise on stderr >&2"\n' >/home/ubuntu/$file
done
sed -i '1i echo noise before anything' /home/ubuntu/.bashrc
mkdir -p /home/ubuntu/.config/fish && echo 'echo noise of fish' >/home/ubuntu/.config/fish/config.fish
chown -R ubuntu /home/ubuntu
mount -o remount,noexec /tmp
"#;

#[test]
fn odd_hosts_are_deployed_to_as_others_are() {
    let host = LabHost::up("environment");
    let operator = Operator::new();
    host.sh(ODD);
    assert!(!host.holds("cp /bin/true /tmp/true && /tmp/true"), "nothing can be executed in /tmp");
    host.sh("rm -f /tmp/true; usermod -s /bin/tcsh ubuntu");
    host.deploy(&operator);
    assert_eq!(host.status("GET", "/v1/ping"), 200);

    for shell in ["/bin/bash", "/bin/tcsh", "/usr/bin/fish", "/bin/sh"] {
        host.sh(&format!("usermod -s {shell} ubuntu"));
        let again = host.deploy(&operator);
        assert!(again.tasks("changed").is_empty(), "{shell}\n{again}");
        let said = operator.run(&line(
            &[&host.reach()],
            &["exec", "--output", "json", "--", "printf", "%s", "it's \"$HOME\""],
        ));
        said.exited(0);
        assert!(said.stdout.contains(r#"it's \"$HOME\""#), "{shell}: arguments arrive as they are\n{said}");
    }
}
