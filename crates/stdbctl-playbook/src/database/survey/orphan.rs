//! Frees the directories that nothing needs any more.

use serde::Serialize;
use stdbctl_engine::dialogue::{self, Changing, Record};
use stdbctl_engine::host::{Host, Stdin};

use super::{Orphan, Why, front};
use crate::database::DatabaseError;
use crate::settings::Settings;

/// What has become of one directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Freed {
    /// It is gone.
    Gone {
        /// The number it was called by.
        replica: u64,
        /// What it took on the disk.
        bytes: u64,
    },
    /// It is still there.
    Kept {
        /// The number it is called by.
        replica: u64,
        /// Why.
        why: String,
    },
}

/// Frees the orphans of an earlier look. Each is looked at once more right before it is removed, under the host's
/// lock.
///
/// # Errors
/// If the host cannot do that, or another run holds its lock.
pub async fn free(
    host: &dyn Host,
    settings: &Settings,
    who: Changing<'_>,
    orphans: &[Orphan],
) -> Result<Vec<Freed>, DatabaseError> {
    let script = format!("{}main() {{ free_orphans; }}\n", front(settings));
    let list = vec![Stdin::Bytes(list(orphans).into_bytes())];
    let records = dialogue::change(host, who, &script, list, |_| ()).await?;
    Ok(records.iter().filter_map(read).collect())
}

/// `REPLICA IDENTITY OTHER` for each. Those that are half removed are found by their names.
fn list(orphans: &[Orphan]) -> String {
    let line = |orphan: &Orphan| {
        let other = match orphan.why {
            Why::Deleted => "-".to_owned(),
            Why::Replaced { by } => by.to_string(),
            Why::HalfRemoved => return None,
        };
        Some(format!("{} {} {other}\n", orphan.replica, orphan.identity.as_ref()?))
    };
    orphans.iter().filter_map(line).collect()
}

fn read(record: &Record) -> Option<Freed> {
    let text = record.text();
    let (replica, rest) = text.split_once(' ')?;
    let replica = replica.parse().ok()?;
    match record.kind.as_str() {
        "freed" => {
            Some(Freed::Gone { replica, bytes: rest.trim().parse::<u64>().ok()?.saturating_mul(1024) })
        }
        "kept" => Some(Freed::Kept { replica, why: rest.to_owned() }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::owner::owner;

    fn orphan(replica: u64, why: Why) -> Orphan {
        Orphan { replica, identity: Some(owner()), bytes: 0, why }
    }

    #[test]
    fn the_host_is_told_what_makes_each_an_orphan() {
        let orphans =
            [orphan(3, Why::Deleted), orphan(5, Why::Replaced { by: 7 }), orphan(9, Why::HalfRemoved)];
        assert_eq!(list(&orphans), format!("3 {id} -\n5 {id} 7\n", id = owner()));
    }

    #[test]
    fn it_says_what_became_of_each() {
        let read = |kind: &str, text: &str| read(&Record { kind: kind.to_owned(), data: text.into() });
        assert_eq!(read("freed", "3 716\n"), Some(Freed::Gone { replica: 3, bytes: 733_184 }));
        let kept = Freed::Kept { replica: 5, why: "the server has it open".to_owned() };
        assert_eq!(read("kept", "5 the server has it open"), Some(kept));
        assert_eq!(read("tick", ""), None);
        assert_eq!(read("freed", "x"), None);
    }
}
