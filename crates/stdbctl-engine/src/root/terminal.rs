//! A controlling terminal for a sudo that works on none else (`Defaults requiretty`), beside which standard input and
//! output stay the pipes that they are.
//!
//! perl makes it, which Debian and Ubuntu cannot be without (perl-base): sh cannot, and `script` would pass all
//! bytes through it and hide which signal ended what it ran. Both programs are understood alike by sh, bash, fish and
//! csh.

/// In front of a line: runs it with a terminal, which it becomes a session's leader for.
///
/// A second process keeps the other end open, reads what sudo may say there, and holds nothing of ours. It is in the
/// terminal's foreground, so the kernel ends it by a SIGHUP when the leader has ended.
pub(super) const TERMINAL: &str = concat!(
    r#"env PERL_BADLANG=0 perl -e 'use POSIX; sub none { POSIX::perror("stdbctl: no terminal"); exit 1 } "#,
    r#"setsid; $n = pack("i", 0); "#,
    // TIOCSPTLCK and TIOCGPTN, which every system has that SpacetimeDB is made for.
    r#"open(M, "+<", "/dev/ptmx") && ioctl(M, 0x40045431, $n) && ioctl(M, 0x80045430, $n) && "#,
    r#"open(S, "+<", "/dev/pts/" . unpack("i", $n)) && open(T, "<", "/dev/tty") && defined($p = fork) or none; "#,
    r#"if ($p == 0) { $SIG{HUP} = "DEFAULT"; close $_ for STDIN, STDOUT, STDERR; "#,
    r"1 while sysread(M, $_, 4096); exit } exec @ARGV; none'",
);

/// Runs a command as root in a session without a terminal, and ends as that does: by the same status or signal.
///
/// So what runs finds no terminal to ask questions on, and when that goes away, with the connection or with sudo,
/// nothing that runs or was left running gets a SIGHUP. One that sudo passes on ends here.
pub(super) const SHEPHERD: &str = concat!(
    r#"'use POSIX; $SIG{HUP} = "IGNORE"; defined($p = fork) or exit 1; "#,
    r#"if ($p == 0) { $SIG{HUP} = "DEFAULT"; setsid; exec @ARGV } "#,
    r"$SIG{$_} = sub { kill shift, $p } for INT, QUIT, TERM; ",
    r#"waitpid $p, 0; $s = $?; if ($s & 127) { $SIG{$_} = "DEFAULT" for HUP, INT, QUIT, TERM; kill $s & 127, $$ } exit $s >> 8'"#,
);
