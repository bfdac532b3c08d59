//! What a file is, by its first bytes: a WebAssembly module that is all there, or something with another name.

use std::path::Path;

use super::ModuleError;

const MAGIC: &[u8] = b"\0asm";

const UNPACK: &str = "unpack it and name the .wasm file inside";
const BUILD: &str = "a module is built with `spacetime build`, or with `cargo build --release --target \
                     wasm32-unknown-unknown` and crate-type `cdylib`";

/// Files by what they begin with.
const BEGINNINGS: [(&[u8], &str, &str); 12] = [
    (b"\x1f\x8b", "compressed with gzip", UNPACK),
    (b"PK\x03\x04", "a zip archive", UNPACK),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", UNPACK),
    (b"\xfd7zXZ", "compressed with xz", UNPACK),
    (b"BZh", "compressed with bzip2", UNPACK),
    (b"\x7fELF", "a program or library for Linux", BUILD),
    (b"\xcf\xfa\xed\xfe", "a program or library for macOS", BUILD),
    (b"\xca\xfe\xba\xbe", "a program or library for macOS", BUILD),
    (b"MZ", "a program or library for Windows", BUILD),
    (b"!<arch>", "a static library: crate-type must be `cdylib`", BUILD),
    (b"BC\xc0\xde", "LLVM bitcode", BUILD),
    (b"(module", "WebAssembly in its text form", "turn it into a .wasm file with `wat2wasm`"),
];

/// Refuses what is not WebAssembly, or has not all of its sections.
pub(super) fn ensure_module(path: &Path, bytes: &[u8]) -> Result<(), ModuleError> {
    let Some(rest) = bytes.strip_prefix(MAGIC) else {
        // The first bytes of the magic number and nothing else.
        if MAGIC.starts_with(bytes) {
            return Err(truncated(path, bytes, "before the number of its version"));
        }
        return Err(not_wasm(path, bytes));
    };
    match rest.first_chunk::<4>().map(|version| u32::from_le_bytes(*version)) {
        Some(1) => {}
        // The layer is in the upper half: 1 is the component model, whatever its own version is.
        Some(version) if version >> 16 == 1 => return Err(ModuleError::Component { path: path.to_owned() }),
        Some(version) => return Err(ModuleError::Version { path: path.to_owned(), version }),
        None => return Err(truncated(path, bytes, "before the number of its version")),
    }
    match first_gap(bytes) {
        Some(missing) => Err(truncated(path, bytes, &missing)),
        None => Ok(()),
    }
}

fn truncated(path: &Path, bytes: &[u8], missing: &str) -> ModuleError {
    ModuleError::Truncated { path: path.to_owned(), at: bytes.len(), missing: missing.to_owned() }
}

/// Walks from section to section; says where the file ends before a section does.
fn first_gap(bytes: &[u8]) -> Option<String> {
    let mut at = 8_usize;
    while at < bytes.len() {
        let section = bytes.get(at.saturating_add(1)..)?;
        let Some((length, taken)) = leb128(section) else {
            // Either the number ends with the file, or it is none: that is for the validator to say.
            let cut = section.len() < 5 && section.iter().all(|byte| byte & 0x80 != 0);
            return cut.then(|| "inside the head of a section".to_owned());
        };
        at = at.saturating_add(1).saturating_add(taken).saturating_add(length);
    }
    let missing = at.checked_sub(bytes.len()).filter(|missing| *missing > 0)?;
    Some(format!("{missing} bytes before the end of a section"))
}

fn leb128(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0_usize;
    for (nth, byte) in bytes.iter().take(5).enumerate() {
        value |= usize::from(byte & 0x7f).checked_shl(u32::try_from(nth).ok()?.saturating_mul(7))?;
        if byte & 0x80 == 0 {
            return Some((value, nth.saturating_add(1)));
        }
    }
    None
}

fn not_wasm(path: &Path, bytes: &[u8]) -> ModuleError {
    let path = path.to_owned();
    for (beginning, what, hint) in BEGINNINGS {
        if bytes.trim_ascii_start().starts_with(beginning) {
            return ModuleError::SomethingElse { path, what, hint };
        }
    }
    if bytes.get(257..262) == Some(b"ustar") {
        return ModuleError::SomethingElse { path, what: "a tar archive", hint: UNPACK };
    }
    let Some(text) = beginning_as_text(bytes) else {
        return ModuleError::SomethingElse { path, what: "data of another kind", hint: BUILD };
    };
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let what = match extension.to_ascii_lowercase().as_str() {
        "js" | "mjs" | "cjs" | "jsx" => return ModuleError::Script { path, language: "JavaScript" },
        "ts" | "mts" | "cts" | "tsx" => return ModuleError::Script { path, language: "TypeScript" },
        "rs" => "Rust source",
        "cs" => "C# source",
        "c" | "cc" | "cpp" | "cxx" | "h" | "hpp" => "C++ source",
        "toml" | "json" | "yaml" | "yml" => "a file of settings",
        _ if looks_like_script(text) => return ModuleError::Script { path, language: "JavaScript" },
        _ => "text",
    };
    ModuleError::SomethingElse { path, what, hint: BUILD }
}

/// The beginning, if it is text; a character that the cut goes through is no matter.
fn beginning_as_text(bytes: &[u8]) -> Option<&str> {
    let beginning = bytes.get(..64 << 10).unwrap_or(bytes);
    let text = match str::from_utf8(beginning) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            str::from_utf8(beginning.get(..error.valid_up_to())?).ok()?
        }
        Err(_) => return None,
    };
    (!text.contains('\0')).then_some(text)
}

fn looks_like_script(text: &str) -> bool {
    let signs =
        ["import ", "import{", "export ", "export{", "module.exports", "\"use strict\"", "=>", "function "];
    signs.iter().any(|sign| text.contains(sign))
}
