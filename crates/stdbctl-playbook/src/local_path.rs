//! A path on the operator's machine behind which nothing can be read, and what may have been meant.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::yaml::nearest;

/// What to try where a file cannot be read, and `why` not.
pub fn hint(path: &Path, why: &io::Error) -> String {
    match why.kind() {
        ErrorKind::NotFound => match similar(path) {
            Some(meant) => format!("did you mean `{}`?", meant.display()),
            None => format!("`ls '{}'` shows what is there", folder(path).display()),
        },
        ErrorKind::PermissionDenied => format!("`ls -ld '{}'` shows who may read it", path.display()),
        _ => "give another file".to_owned(),
    }
}

/// What is there under almost the same name: of the path, or of the first of its folders that is not there.
fn similar(path: &Path) -> Option<PathBuf> {
    let missing = path.ancestors().find(|path| or_here(path.parent()).is_dir())?;
    let given = missing.file_name()?.to_str()?;
    let entries = std::fs::read_dir(or_here(missing.parent())).ok()?.flatten();
    let names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    // A link that leads nowhere has the very name.
    let others = names.iter().map(String::as_str).filter(|name| *name != given);
    Some(missing.with_file_name(nearest(given, others)?))
}

/// The last folder on the way that is there, from the root: whoever stands in the wrong one sees that.
fn folder(path: &Path) -> PathBuf {
    let folder = path.ancestors().skip(1).map(|folder| or_here(Some(folder))).find(|folder| folder.is_dir());
    let folder = or_here(folder);
    folder.canonicalize().unwrap_or_else(|_| folder.to_owned())
}

fn or_here(folder: Option<&Path>) -> &Path {
    folder.filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn of(path: &Path) -> String {
        hint(path, &fs::read(path).unwrap_err())
    }

    #[test]
    fn what_may_have_been_meant_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir(at("release")).unwrap();
        fs::write(at("release/module.wasm"), "").unwrap();
        fs::write(at("release/notes.txt"), "").unwrap();
        for (given, meant) in
            [("release/modul.wasm", "release/module.wasm"), ("relaese/module.wasm", "release")]
        {
            assert_eq!(of(&at(given)), format!("did you mean `{}`?", at(meant).display()));
        }
        std::os::unix::fs::symlink("nowhere", at("release/zzz")).unwrap();
        let folder = at("release").canonicalize().unwrap();
        assert_eq!(of(&at("release/zzz")), format!("`ls '{}'` shows what is there", folder.display()));
        assert_eq!(of(&at("release")), "give another file");
    }

    #[test]
    fn a_bare_name_is_looked_for_where_one_stands() {
        assert_eq!(of(Path::new("Cargo.tmol")), "did you mean `Cargo.toml`?");
        let here = std::env::current_dir().unwrap().canonicalize().unwrap();
        assert_eq!(of(Path::new("zzz/y")), format!("`ls '{}'` shows what is there", here.display()));
        let denied = io::Error::from(ErrorKind::PermissionDenied);
        assert_eq!(hint(Path::new("key"), &denied), "`ls -ld 'key'` shows who may read it");
    }
}
