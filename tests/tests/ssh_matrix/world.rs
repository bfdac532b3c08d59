//! What is tried: a host with a server for each configuration, a chain of two hops to one of them, and an operator.

use std::fmt::Write as _;
use std::fs::Permissions;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use stdbctl_tests::lab::{LabHost, flags, line};
use stdbctl_tests::operator::Operator;
use stdbctl_tests::proxy::{Options, Proxy};

use crate::CELLS;
use crate::cell::Cell;
use crate::keys;

/// Name and port of each sshd on the host, and what its configuration has that others have not. Files of it are in
/// `DIR`.
const SERVERS: [(&str, u16, &str); 10] = [
    ("keys", 2201, ""),
    ("user-authority", 2202, "TrustedUserCAKeys DIR/authority.pub\nAuthorizedKeysFile none"),
    ("certified", 2203, "HostCertificate DIR/certified-cert.pub"),
    ("expired", 2204, "HostCertificate DIR/expired-cert.pub"),
    ("misnamed", 2205, "HostCertificate DIR/misnamed-cert.pub"),
    ("root", 2206, "PermitRootLogin prohibit-password\nAllowUsers root"),
    ("password", 2207, "AuthenticationMethods password\nPasswordAuthentication yes"),
    ("interactive", 2208, "AuthenticationMethods keyboard-interactive\nKbdInteractiveAuthentication yes"),
    ("two-factors", 2209, "AuthenticationMethods publickey,password\nPasswordAuthentication yes"),
    ("behind", BEHIND, ""),
];
/// The first value of a keyword counts, so this comes last.
const ANY_SERVER: &str = "HostKey /etc/ssh/ssh_host_ed25519_key\nAuthorizedKeysFile DIR/authorized_keys\nUsePAM yes\n\
                          PermitRootLogin no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPidFile none\n";
const UNIT: &str = "[Service]\nType=notify\nExecStart=/usr/sbin/sshd -D -f DIR/%i.conf\n";
const SERVER_DIR: &str = "/etc/ssh/matrix";
/// Only the second hop gets here.
const BEHIND: u16 = 2210;
/// Of the host's own sshd, as the distribution has it.
const OWN: u16 = 22;

/// Of the user, who has one for servers that take it.
pub(crate) const PASSWORD: &str = "it's \"$(reboot)\"";
const SUDO_PASSWORD: &str = "and; another' $1";

pub(crate) struct World {
    pub(crate) operator: Operator,
    pub(crate) web: LabHost,
    pub(crate) outer: LabHost,
    pub(crate) inner: LabHost,
    /// What stands on this machine's own IPv6 address and leads to the host's own sshd.
    six: Proxy,
}

impl World {
    /// Everything, with the host deployed.
    pub(crate) fn new() -> Self {
        let hosts = LabHost::up_all(&["matrix", "outer", "inner"]);
        let [web, outer, inner] = <[LabHost; 3]>::try_from(hosts).unwrap();
        let listen = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
        let six = Options { listen, to: web.ssh_socket(), rtt: Duration::ZERO, cut: None };
        let six = Proxy::start(&six).unwrap();
        let world = Self { operator: Operator::new(), web, outer, inner, six };
        world.write_keys();
        world.write_config();
        let deploy = line(&[&world.web.reach(), &world.web.wish_private()], &["deploy", "--yes"]);
        world.operator.succeed(&deploy);
        world.start_servers();
        world.add_users();
        world.close_doors();
        world
    }

    fn home(&self) -> String {
        self.operator.home().display().to_string()
    }

    fn write_keys(&self) {
        let host_key = |kind: &str| {
            let known = std::fs::read_to_string(&self.web.known_hosts).unwrap();
            let key = known.lines().find(|line| line.contains(kind)).unwrap();
            key.split_once(' ').unwrap().1.to_owned()
        };
        let (operator, address) = (&self.operator, self.web.address.to_string());
        let ed25519 = host_key("ssh-ed25519");
        operator.write("host.pub", &ed25519);
        keys::make(operator, &address);

        let places = SERVERS.map(|(_, port, _)| format!("[{address}]:{port}"));
        let six = format!("[::1]:{}", self.six.address().port());
        let mut known = format!("{address},{six},{} {ed25519}\n", places.join(","));
        for hop in [&self.outer, &self.inner] {
            let keys = std::fs::read_to_string(&hop.known_hosts).unwrap();
            known.extend(keys.lines().map(|key| format!("{},{key}\n", hop.address)));
        }
        let stranger = keys::public(operator, "stranger");
        let authority = keys::public(operator, "authority");
        operator.write("known_hosts", &known);
        operator.write("hashed", &known);
        keys::keygen(operator, &["-q", "-H", "-f", "hashed"]);
        operator.write("empty", "");
        operator.write("known_ecdsa", &format!("{address} {}\n", host_key("ecdsa")));
        operator.write("known_rsa", &format!("{address} {}\n", host_key("ssh-rsa")));
        operator.write("aliased", &format!("web {ed25519}\n"));
        operator.write("changed", &format!("{},{} {stranger}", places.join(","), self.inner.address));
        operator.write("revoked", &format!("{known}@revoked * {ed25519}\n"));
        operator.write("authority", &format!("@cert-authority {address} {authority}"));
        operator.write(
            "revoked_authority",
            &format!("@cert-authority * {authority}@revoked * {authority}{known}"),
        );
        let password = operator.write("sudo-password", &format!("{SUDO_PASSWORD}\n"));
        std::fs::set_permissions(password, Permissions::from_mode(0o600)).unwrap();
    }

    /// One file with everything, as it grows in ten years.
    fn write_config(&self) {
        let (outer, inner) = (self.outer.ip(), self.inner.address);
        let mut text = "Include DIR/more\n".to_owned();
        for cell in &CELLS {
            let lines = cell.lines.replace("KEY ", "IdentityFile DIR/");
            let lines = lines.replace("KNOWN ", "UserKnownHostsFile DIR/");
            let key = if lines.contains("IdentityFile") { "" } else { "IdentityFile DIR/id_ed25519" };
            let batch = if cell.typed.is_some() { "BatchMode no" } else { "BatchMode yes" };
            write!(text, "\nHost {}\n{lines}\n{key}\n{batch}\n{}", cell.host(), self.place(cell.server))
                .unwrap();
        }
        let lab_key = self.web.identity.display();
        write!(
            text,
            "\nHost outer\nHostName {outer}\nHost inner inner-by-outer impostor\nHostName {inner}\n\
             Host inner-by-outer\nProxyJump outer\nHost impostor\nUserKnownHostsFile DIR/changed\n\
             Host outer inner inner-by-outer impostor\nIdentityFile {lab_key}\n\
             Host *\nUser ubuntu\nIdentitiesOnly yes\nIdentityAgent none\nConnectTimeout 20\n\
             UserKnownHostsFile DIR/known_hosts\nGlobalKnownHostsFile none\n"
        )
        .unwrap();
        let more = format!(
            "Match originalhost include-and-match exec \"test %n = include-and-match\"\n{}",
            self.place("keys")
        );
        self.operator.write("config", &text.replace("DIR", &self.home()));
        self.operator.write("more", &more.replace("DIR", &self.home()));
    }

    /// The lines of `ssh_config` that lead to a server.
    fn place(&self, server: &str) -> String {
        let address = self.web.address;
        match server {
            "own" => format!("HostName {address}\nPort {OWN}\n"),
            "six" => format!("HostName ::1\nPort {}\n", self.six.address().port()),
            // What is typed says it, or another file.
            "six-typed" | "matched" => String::new(),
            name => {
                let port = SERVERS.iter().find(|server| server.0 == name).map(|server| server.1);
                format!("HostName {address}\nPort {}\n", port.unwrap())
            }
        }
    }

    /// What is typed for a cell: after `--host`, and the arguments of `ssh`.
    pub(crate) fn destination(&self, cell: &Cell) -> (String, Vec<String>) {
        let host = cell.host();
        if cell.server != "six-typed" {
            return (host.clone(), vec![host]);
        }
        let port = self.six.address().port();
        (format!("[{host}]:{port}"), flags(&[("-p", &port.to_string())]).into_iter().chain([host]).collect())
    }

    /// The program that gives `ssh` the answer of a cell.
    pub(crate) fn answering(&self, cell: &Cell) -> PathBuf {
        let (host, answer) = (cell.host(), cell.typed.unwrap().1);
        self.operator.write(&format!("{host}.answer"), &format!("{answer}\n"));
        let program =
            self.operator.write(&format!("{host}.askpass"), "#!/bin/sh\nexec cat \"${0%askpass}answer\"\n");
        std::fs::set_permissions(&program, Permissions::from_mode(0o700)).unwrap();
        program
    }

    fn start_servers(&self) {
        let folder = self.operator.home().join("servers");
        std::fs::create_dir(&folder).unwrap();
        for (name, port, lines) in SERVERS {
            let text = format!("{lines}\nPort {port}\n{ANY_SERVER}").replace("DIR", SERVER_DIR);
            std::fs::write(folder.join(format!("{name}.conf")), text).unwrap();
        }
        for name in [
            "authorized_keys",
            "authority.pub",
            "certified-cert.pub",
            "expired-cert.pub",
            "misnamed-cert.pub",
        ] {
            std::fs::copy(self.operator.home().join(name), folder.join(name)).unwrap();
        }
        std::fs::write(folder.join("matrix@.service"), UNIT.replace("DIR", SERVER_DIR)).unwrap();
        self.web.copy_in(&folder, SERVER_DIR);
        let units = SERVERS.map(|(name, ..)| format!("matrix@{name}")).join(" ");
        let ports = SERVERS.map(|(_, port, _)| port.to_string()).join(" ");
        self.web.sh(&format!(
            "set -eu; chown -R root:root {SERVER_DIR}; mv {SERVER_DIR}/matrix@.service /etc/systemd/system
             install -d -m 700 -o ubuntu -g ubuntu /home/ubuntu/.ssh
             cat {SERVER_DIR}/authorized_keys >>/home/ubuntu/.ssh/authorized_keys
             for port in {ports}; do ufw allow $port/tcp; done
             systemctl daemon-reload; systemctl start {units}"
        ));
    }

    /// Those for whom root is further away, and passwords.
    fn add_users(&self) {
        let passwords = format!("ubuntu:{PASSWORD}\ncareful:{SUDO_PASSWORD}\n");
        self.web.copy_in(&self.operator.write("passwords", &passwords), "/root/passwords");
        self.web.sh(
            "set -eu; useradd --create-home --shell /bin/bash careful
             useradd --create-home --shell /bin/bash seated
             chpasswd </root/passwords; rm /root/passwords
             { echo 'careful ALL=(ALL) ALL'; echo 'Defaults:careful timestamp_timeout=0'
             echo 'seated ALL=(ALL) NOPASSWD:ALL'; echo 'Defaults:seated requiretty'; } >/etc/sudoers.d/matrix",
        );
    }

    /// From now on the second hop takes connections of the first alone, and the server behind it only of the second.
    fn close_doors(&self) {
        let only = |host: &LabHost, port: u16, from: &LabHost| {
            let from = from.address;
            host.sh(&format!(
                "iptables -I INPUT -p tcp --dport {port} ! -s {from} -j REJECT --reject-with tcp-reset"
            ));
        };
        only(&self.inner, OWN, &self.outer);
        only(&self.web, BEHIND, &self.inner);
    }

    /// Without its hops, nobody gets to where they lead.
    pub(crate) fn only_hops_lead_inside(&self) {
        let (inner, behind) = ((self.inner.address, OWN), (self.web.address, BEHIND));
        for place in [inner, behind] {
            assert!(TcpStream::connect(place).is_err(), "{place:?} is reached from this machine");
        }
        let reaches = |from: &LabHost, (address, port): (IpAddr, u16)| {
            from.holds(&format!("timeout 10 bash -c '</dev/tcp/{address}/{port}'"))
        };
        assert!(reaches(&self.outer, inner) && reaches(&self.inner, behind));
        assert!(!reaches(&self.outer, behind), "the first hop reaches what only the second should");
    }
}
