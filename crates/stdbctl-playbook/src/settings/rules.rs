//! What a type cannot say. Every text that ends up in a unit, an nginx file or a file name is held to a safe set
//! of characters here, so that no template has to quote.

use std::path::Path;

use super::{Settings, Source, TlsMode};

/// A rule that a setting breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) key: &'static str,
    pub(super) message: String,
}

type Verdict = Result<(), String>;

pub(super) fn check(settings: &Settings) -> Result<(), Broken> {
    let verdicts = [
        ("domain", optional(settings.domain.as_deref(), domain)),
        ("tls.email", optional(settings.tls.email.as_deref(), email)),
        ("tls.acme_directory", optional(settings.tls.acme_directory.as_deref(), url)),
        ("tls.acme_ca", optional(settings.tls.acme_ca.as_deref(), local_path)),
        ("tls.certificate", certificate(settings)),
        ("tls.key", key(settings)),
        ("spacetimedb.version", version(&settings.spacetimedb.version)),
        ("spacetimedb.mirror", mirror(settings)),
        ("spacetimedb.archive", archive(settings)),
        ("spacetimedb.sha256", optional(settings.spacetimedb.sha256.as_deref(), sha256)),
        ("spacetimedb.root_dir", root_dir(&settings.spacetimedb.root_dir)),
        ("spacetimedb.listen", listen(settings)),
    ];
    for (key, verdict) in verdicts {
        verdict.map_err(|message| Broken { key, message })?;
    }
    Ok(())
}

fn optional(value: Option<&str>, rule: fn(&str) -> Verdict) -> Verdict {
    value.map_or(Ok(()), rule)
}

fn ensure(holds: bool, otherwise: impl Into<String>) -> Verdict {
    if holds { Ok(()) } else { Err(otherwise.into()) }
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn domain(name: &str) -> Verdict {
    let labels: Vec<&str> = name.split('.').collect();
    let last_is_a_number = labels.last().is_some_and(|l| l.bytes().all(|b| b.is_ascii_digit()));
    ensure(!last_is_a_number, format!("`{name}` is an address: a certificate needs a name"))?;
    ensure(
        labels.len() >= 2 && name.len() <= 253 && labels.iter().all(|label| is_label(label)),
        format!("`{name}` is not a domain name: lower-case letters, digits and `-` between dots"),
    )
}

fn email(address: &str) -> Verdict {
    let said = || format!("`{address}` is not an e-mail address");
    let (name, host) = address.split_once('@').ok_or_else(said)?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._+-".contains(&b);
    ensure(!name.is_empty() && name.bytes().all(plain) && !name.starts_with('-'), said())?;
    ensure(host.contains('.') && host.to_lowercase().split('.').all(is_label), said())
}

fn url(address: &str) -> Verdict {
    let rest = address.strip_prefix("https://").or_else(|| address.strip_prefix("http://"));
    let rest = rest.ok_or_else(|| format!("`{address}` does not begin with https:// or http://"))?;
    ensure(!rest.contains('@'), "a URL here may not hold a name or password")?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._~:/?=-".contains(&b);
    ensure(
        rest.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric()) && rest.bytes().all(plain),
        format!("`{address}` is not a URL of plain characters"),
    )
}

fn local_path(path: &str) -> Verdict {
    ensure(
        !path.is_empty() && !path.chars().any(char::is_control),
        "the path is empty or holds control characters",
    )
}

fn certificate(settings: &Settings) -> Verdict {
    file_for_mode(settings, settings.tls.certificate.as_deref(), "the file with the certificate")
}

fn key(settings: &Settings) -> Verdict {
    file_for_mode(settings, settings.tls.key.as_deref(), "the file with its private key")
}

fn file_for_mode(settings: &Settings, path: Option<&str>, what: &str) -> Verdict {
    match path {
        Some(path) => local_path(path),
        None => ensure(
            settings.tls.mode != TlsMode::Files || settings.domain.is_none(),
            format!("`tls.mode: files` needs {what}"),
        ),
    }
}

fn version(version: &str) -> Verdict {
    let (numbers, suffix) = version.split_once('-').unwrap_or((version, "0"));
    let is_number = |part: &str| (1..=6).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    let plain = |b: u8| b.is_ascii_alphanumeric() || b".-".contains(&b);
    ensure(
        numbers.split('.').count() == 3
            && numbers.split('.').all(is_number)
            && !suffix.is_empty()
            && suffix.bytes().all(plain)
            && !suffix.contains(".."),
        format!("`{version}` is not a release: three numbers as in 2.8.3, without a v"),
    )
}

fn mirror(settings: &Settings) -> Verdict {
    match settings.spacetimedb.mirror.as_deref() {
        Some(mirror) => url(mirror),
        None => ensure(
            settings.spacetimedb.source != Source::Mirror,
            "`spacetimedb.source: mirror` needs the mirror's URL",
        ),
    }
}

fn archive(settings: &Settings) -> Verdict {
    match settings.spacetimedb.archive.as_deref() {
        Some(path) => local_path(path),
        None => ensure(
            settings.spacetimedb.source != Source::Archive,
            "`spacetimedb.source: archive` needs the path of the archive",
        ),
    }
}

fn sha256(digest: &str) -> Verdict {
    ensure(
        digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)),
        "a sha256 is 64 lower-case hexadecimal digits",
    )
}

/// Directories that other things live in, or that systemd's sandbox hides from the server.
const TAKEN: [&str; 8] = ["/", "/media", "/mnt", "/opt", "/srv", "/var", "/var/lib", "/var/local"];
const TAKEN_WITH_ALL_BELOW: [&str; 14] = [
    "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib64", "/proc", "/root", "/run", "/sbin", "/sys",
    "/tmp", "/usr",
];

fn root_dir(path: &str) -> Verdict {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._/-".contains(&b);
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let is_part = |part: &str| !matches!(part, "" | "." | "..");
    ensure(
        path == "/"
            || (path.starts_with('/') && path.bytes().all(plain) && parts.iter().copied().all(is_part)),
        format!(
            "`{path}` is not an absolute path of letters, digits, `.`, `_`, `-` without a slash at its end"
        ),
    )?;
    ensure(
        !TAKEN.contains(&path)
            && !TAKEN_WITH_ALL_BELOW.iter().any(|taken| Path::new(path).starts_with(taken)),
        format!("`{path}` is the system's: give SpacetimeDB a directory of its own"),
    )
}

fn listen(settings: &Settings) -> Verdict {
    let port = settings.spacetimedb.listen.port();
    ensure(
        port >= 1024,
        format!(
            "port {port} is reserved for services of the system: take one from 1024 up, nginx has 80 and 443"
        ),
    )
}
