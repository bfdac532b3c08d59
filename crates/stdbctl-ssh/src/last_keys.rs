//! Which key a host took the last time, so that it is offered first: fewer refusals, and none too many.
//!
//! A key is only preferred to keys that the host has refused before. Whoever puts another key in front, with a flag,
//! in the configuration or in the agent, has it offered before, as with `ssh`: which key is used may matter.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use russh::keys::{HashAlg, PublicKey};
use sha2::{Digest as _, Sha256};

use crate::connect::{ConnectOptions, random};
use crate::identity::Offer;

/// How many hosts are remembered. Of more, those that were learnt longest ago are forgotten.
const MOST_LINES: usize = 1000;
/// The file is never longer than that many lines of three fingerprints.
const LONGEST_FILE: u64 = 256 * 1024;

/// The record of all hosts, in a file of three fingerprints a line: of user and host, of the keys that the host
/// refused, and of the key that it took. Best effort: a file that cannot be read or written is no record.
#[derive(Debug, Clone)]
pub(crate) struct LastKeys {
    file: PathBuf,
    /// One connection at a time writes; another run may, and then the last one's record stays.
    turn: Arc<Mutex<()>>,
}

/// What is on record of one host, and how its keys stood before that was taken into account.
#[derive(Debug, Default)]
pub(crate) struct Known {
    account: String,
    /// The marks of all keys, in their own order.
    order: Vec<String>,
    /// The one that was put first.
    first: Option<String>,
}

/// What a key is put on record as.
pub(crate) fn mark_of_key(key: &PublicKey, has_certificate: bool) -> String {
    let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
    if has_certificate { format!("{fingerprint} certificate") } else { fingerprint }
}

/// What a file is put on record as that cannot be read before its turn.
pub(crate) fn mark_of_file(file: &Path) -> String {
    format!("file {}", file.display())
}

/// Nobody can tell from the file which hosts there are, as with hashed names in `known_hosts`.
fn fingerprint<T: AsRef<str>>(parts: &[T]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_ref().as_bytes());
        hash.update([0]);
    }
    STANDARD_NO_PAD.encode(hash.finalize())
}

/// Of a set of keys, whatever their order.
fn fingerprint_of_set(marks: &[String]) -> String {
    let mut sorted = marks.to_vec();
    sorted.sort();
    fingerprint(&sorted)
}

impl LastKeys {
    pub(crate) fn new(file: PathBuf) -> Self {
        Self { file, turn: Arc::default() }
    }

    /// Puts the key that is on record first, if all that would come before it have been refused.
    pub(crate) fn look(&self, options: &ConnectOptions, user: &str, offers: &mut [Offer]) -> Known {
        let port = options.target.port().to_string();
        let account = fingerprint(&[user, &options.place(), options.host_name(), &port]);
        let order: Vec<_> = offers.iter().map(Offer::mark).collect();
        let line = self.lines().into_iter().find(|line| line.account == account);
        let position = line.and_then(|line| {
            let position = order.iter().position(|mark| fingerprint(&[mark]) == line.taken)?;
            let ahead = order.get(..position)?;
            (position > 0 && fingerprint_of_set(ahead) == line.refused).then_some(position)
        });
        let first = position.and_then(|position| order.get(position).cloned());
        if let Some(moved) = position.and_then(|position| offers.get_mut(..=position)) {
            moved.rotate_right(1);
        }
        Known { account, order, first }
    }

    /// Puts the key on record that was taken, unless it would be the first one anyhow.
    pub(crate) async fn learn(&self, known: &Known, taken: String) {
        if known.first.as_ref() == Some(&taken)
            || (known.first.is_none() && known.order.first() == Some(&taken))
        {
            return;
        }
        let ahead: Vec<_> = known.order.iter().take_while(|mark| **mark != taken).cloned().collect();
        let line = Line {
            account: known.account.clone(),
            refused: fingerprint_of_set(&ahead),
            taken: fingerprint(&[taken]),
        };
        let record = self.clone();
        let written = tokio::task::spawn_blocking(move || record.write(line)).await;
        if let Ok(Err(error)) = written {
            tracing::debug!(%error, "which key was taken is not on record");
        }
    }

    /// Whatever is no line is passed over.
    fn lines(&self) -> Vec<Line> {
        let mut bytes = Vec::new();
        let read =
            fs::File::open(&self.file).and_then(|file| file.take(LONGEST_FILE).read_to_end(&mut bytes));
        match read {
            Ok(_) => {
                String::from_utf8_lossy(&bytes).lines().filter_map(Line::read).take(MOST_LINES).collect()
            }
            Err(_) => Vec::new(),
        }
    }

    /// The newest line first, in a new file that takes the place of the old one.
    fn write(&self, line: Line) -> io::Result<()> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines = self.lines();
        lines.retain(|old| old.account != line.account);
        lines.insert(0, line);
        lines.truncate(MOST_LINES);
        let text: String = lines.iter().map(Line::text).collect();
        if let Some(directory) = self.file.parent() {
            create_private(directory)?;
        }
        let mut name = self.file.clone().into_os_string();
        name.push(format!(".{:x}", random()));
        let beside = PathBuf::from(name);
        let written = private_file(&beside).and_then(|mut file| file.write_all(text.as_bytes()));
        written.and_then(|()| fs::rename(&beside, &self.file)).inspect_err(|_| drop(fs::remove_file(&beside)))
    }
}

#[cfg(unix)]
fn create_private(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

#[cfg(not(unix))]
fn create_private(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)
}

fn private_file(path: &Path) -> io::Result<fs::File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[derive(Debug, PartialEq, Eq)]
struct Line {
    account: String,
    refused: String,
    taken: String,
}

impl Line {
    fn read(text: &str) -> Option<Self> {
        let mut fields = text.split(' ').map(str::to_owned);
        let line = Self { account: fields.next()?, refused: fields.next()?, taken: fields.next()? };
        let is_whole = |field: &String| STANDARD_NO_PAD.decode(field).is_ok_and(|hash| hash.len() == 32);
        let is_right = [&line.account, &line.refused, &line.taken].into_iter().all(is_whole);
        (is_right && fields.next().is_none()).then_some(line)
    }

    fn text(&self) -> String {
        format!("{} {} {}\n", self.account, self.refused, self.taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(directory: &tempfile::TempDir) -> LastKeys {
        LastKeys::new(directory.path().join("state/stdbctl/last-keys"))
    }

    fn options(host: &str) -> ConnectOptions {
        ConnectOptions::new(format!("me@{host}").parse().unwrap())
    }

    fn keys(names: &str) -> Vec<Offer> {
        names.split_whitespace().map(|name| Offer::Sealed(name.into())).collect()
    }

    /// In which order the keys are offered to a host, and that this one is taken.
    async fn visit(record: &LastKeys, host: &str, names: &str, taken: &str) -> String {
        let mut offers = keys(names);
        let known = record.look(&options(host), "me", &mut offers);
        record.learn(&known, mark_of_file(Path::new(taken))).await;
        offers.iter().map(Offer::name).collect::<Vec<_>>().join(" ")
    }

    #[tokio::test]
    async fn the_key_that_was_taken_comes_before_those_that_were_refused() {
        let directory = tempfile::tempdir().unwrap();
        let record = record(&directory);
        assert_eq!(visit(&record, "web1", "a b c d", "c").await, "a b c d");
        assert_eq!(visit(&record, "web1", "a b c d", "c").await, "c a b d");
        // In whatever order the agent holds those that were refused.
        assert_eq!(visit(&record, "web1", "b a c", "c").await, "c b a");
        assert_eq!(visit(&record, "web2", "a b c d", "a").await, "a b c d", "another host");
        assert_eq!(visit(&record, "web1:99", "a b c d", "a").await, "a b c d", "another port");
    }

    #[tokio::test]
    async fn a_key_that_was_put_in_front_stays_there() {
        let directory = tempfile::tempdir().unwrap();
        let record = record(&directory);
        visit(&record, "web1", "a b c", "c").await;
        assert_eq!(visit(&record, "web1", "new a b c", "new").await, "new a b c");
        assert_eq!(visit(&record, "web1", "b c", "b").await, "b c", "its place tells nothing of others");
        assert_eq!(visit(&record, "web1", "a b", "b").await, "a b", "and it is not there any more");
    }

    #[tokio::test]
    async fn what_has_become_wrong_is_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let record = record(&directory);
        visit(&record, "web1", "a b c", "c").await;
        assert_eq!(visit(&record, "web1", "a b c", "a").await, "c a b");
        assert_eq!(visit(&record, "web1", "a b c", "a").await, "a b c");
    }

    #[tokio::test]
    async fn nothing_is_written_of_the_usual_case_and_no_name_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let record = record(&directory);
        visit(&record, "web1", "a b", "a").await;
        visit(&record, "web1", "a", "a").await;
        assert!(!record.file.exists());
        visit(&record, "web1", "a b", "b").await;
        let text = fs::read_to_string(&record.file).unwrap();
        assert_eq!(text.lines().count(), 1);
        assert!(!text.contains("web1") && !text.contains("me"), "{text}");
        let written = fs::metadata(&record.file).unwrap();
        visit(&record, "web1", "a b", "b").await;
        let mode = std::os::unix::fs::PermissionsExt::mode(&written.permissions());
        let inode = |metadata: &fs::Metadata| std::os::unix::fs::MetadataExt::ino(metadata);
        assert_eq!((mode & 0o777, inode(&written)), (0o600, inode(&fs::metadata(&record.file).unwrap())));
        let names = fs::read_dir(record.file.parent().unwrap()).unwrap().count();
        assert_eq!(names, 1, "something was left beside it");
    }

    #[tokio::test]
    async fn garbage_is_no_record_and_the_file_stays_small() {
        let directory = tempfile::tempdir().unwrap();
        let record = record(&directory);
        fs::create_dir_all(record.file.parent().unwrap()).unwrap();
        for garbage in
            [&b"\xff\xfe\n\0\n  \n"[..], &b"A".repeat(1 << 20), b"a b c\n", &b"= = =\n".repeat(100_000)]
        {
            fs::write(&record.file, garbage).unwrap();
            assert_eq!(visit(&record, "web1", "a b", "b").await, "a b");
            assert_eq!(visit(&record, "web1", "a b", "b").await, "b a");
        }
        let line = |number: usize| {
            let field = fingerprint(&[number.to_string()]);
            format!("{field} {field} {field}\n")
        };
        let many: Vec<_> = (0..MOST_LINES + 500).map(line).collect();
        fs::write(&record.file, many.concat()).unwrap();
        visit(&record, "web1", "a b", "b").await;
        let text = fs::read_to_string(&record.file).unwrap();
        assert_eq!(text.lines().count(), MOST_LINES);
        assert!(text.len() < usize::try_from(LONGEST_FILE).unwrap());
        assert_eq!(visit(&record, "web1", "a b", "b").await, "b a", "the newest is kept");
    }

    #[tokio::test]
    async fn a_place_that_cannot_be_written_stops_nobody() {
        let record = LastKeys::new("/proc/no/such/place".into());
        assert_eq!(visit(&record, "web1", "a b", "b").await, "a b");
    }

    #[test]
    fn runs_side_by_side_leave_a_whole_file() {
        let directory = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for number in 0..8 {
                let record = record(&directory);
                scope.spawn(move || {
                    for round in 0..20 {
                        let field = |text: &str| fingerprint(&[text]);
                        let line = Line {
                            account: field(&format!("{number} {round}")),
                            refused: field("refused"),
                            taken: field("taken"),
                        };
                        record.write(line).unwrap();
                    }
                });
            }
        });
        let text = fs::read_to_string(record(&directory).file).unwrap();
        assert!(!text.is_empty() && text.lines().all(|line| Line::read(line).is_some()), "{text}");
    }
}
